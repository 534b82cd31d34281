// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "nlohmann/json.hpp"

namespace smartkey {

// Parses what a server sent, strictly (RFC 8259): valid UTF-8, one value and nothing after it, no byte
// order mark, no member named twice in one object (two parsers could read it differently), at most
// `max_depth` levels. Never throws.
// Errors: InvalidArgument saying what is wrong and at which byte, never quoting the text.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, int max_depth = 32);

// The member `name` of `object` if it is there and a string; nullopt otherwise.
absl::optional<std::string> FindString(const nlohmann::json& object, absl::string_view name);

// Compact text, as signed or sent. Strings must be UTF-8; other bytes become U+FFFD.
std::string ToJsonText(const nlohmann::json& value);

}  // namespace smartkey
