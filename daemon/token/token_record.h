// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/secret.h"
#include "daemon/model/access_token.h"
#include "daemon/token/token_cache.h"

namespace smartkey {

// A cached token as bytes, for TokenRegion: times as they are, so that one that is read back is as
// old as it was. Only for this version of smartkeyd on this machine (kVersion in token_region.cc).

struct TokenRecord {
  TokenKey key;
  AccessToken token;
};

Secret EncodeTokenRecord(const TokenKey& key, const AccessToken& token);

// Nothing if it is no record.
absl::optional<TokenRecord> DecodeTokenRecord(absl::string_view bytes);

}  // namespace smartkey
