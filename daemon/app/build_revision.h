// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"

namespace smartkey {

// The revision of the sources that this program was built from, as git names it.
absl::string_view BuildRevision();

}  // namespace smartkey
