// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/token/token_manager.h"
#include "smartkey/v1/token.pb.h"

namespace smartkey {

// `requested`: what the caller asked for, to say whether the server gave less. Fills every field.
void FillAccessToken(const TokenResult& result, const ScopeSet& requested,
                     v1::GetAccessTokenResponse& response);

}  // namespace smartkey
