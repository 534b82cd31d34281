// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/config_reload.h"

#include "absl/strings/str_cat.h"

namespace smartkey {

std::string ConfigProblem::ToString() const {
  if (line == 0) return absl::StrCat(file, ": ", message);
  return absl::StrCat(file, ":", line, ": ", message);
}

}  // namespace smartkey
