// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/secret.h"

namespace smartkey {

// Everything but RFC 3986's unreserved characters as %XX: right in a query and in a form.
std::string PercentEncode(absl::string_view text);

// An application/x-www-form-urlencoded body, whose fields may be secret: built in one buffer of the
// right size, so that no copy is left behind. The views must live until Encode. Not thread-safe.
class Form {
 public:
  static constexpr char kContentType[] = "application/x-www-form-urlencoded";

  void Add(absl::string_view name, absl::string_view value) { fields_.emplace_back(name, value); }
  Secret Encode() const;

 private:
  std::vector<std::pair<absl::string_view, absl::string_view>> fields_;
};

}  // namespace smartkey
