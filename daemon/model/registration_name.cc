// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/registration_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "base/error.h"

namespace smartkey {

namespace {
constexpr size_t kMaxName = 64;
constexpr size_t kMaxText = 200;

bool IsShortText(absl::string_view text) {
  return text.size() <= kMaxText && std::none_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_iscntrl(c);
         });
}

}  // namespace

absl::Status CheckName(absl::string_view name) {
  const bool good = !name.empty() && name.size() <= kMaxName && name[0] != '-' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
                    });
  if (good) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "a name has 1 to 64 letters, digits, dots, dashes or underscores, and does not "
                   "begin with a dash");
}

absl::Status CheckLabel(absl::string_view label) {
  if (IsShortText(label)) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "a label has at most 200 bytes and no control characters");
}

absl::Status CheckWhy(absl::string_view why) {
  if (IsShortText(why)) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "what is said of a suspension has at most 200 bytes and no control characters");
}

}  // namespace smartkey
