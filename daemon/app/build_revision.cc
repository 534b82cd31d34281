// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/build_revision.h"

namespace smartkey {

absl::string_view BuildRevision() {
  return SMARTKEY_REVISION;
}

}  // namespace smartkey
