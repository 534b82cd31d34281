// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_service.h"

namespace smartkey {

absl::string_view ProviderStateName(ProviderState state) {
  switch (state) {
    case ProviderState::kReady:
      return "READY";
    case ProviderState::kDegraded:
      return "DEGRADED";
    case ProviderState::kAbsent:
      return "ABSENT";
  }
  return "ABSENT";
}

}  // namespace smartkey
