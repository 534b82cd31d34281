// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace smartkey::ctl {

// Puts words in the place of what names somebody or something of this machine, for a report that
// goes to others: the same word for the same thing throughout, so that a reader can follow it.
// What is known by name (Add) is replaced wherever it stands by itself; hosts, addresses, the parts
// of principals and who issued a certificate are replaced by how they look. Not thread-safe.
class Aliases {
 public:
  // `value`, and as it looks in a line of the log, will be "<kind-1>", "<kind-2>"... Nothing
  // shorter than two bytes is: it would be found inside of everything.
  void Add(const std::string& kind, const std::string& value);

  std::string Apply(absl::string_view text);
  // Every string in it, however deep; names of members stay.
  void Apply(nlohmann::json& value);

 private:
  const std::string& WordFor(const std::string& kind, const std::string& value);
  // A part of a text, and for what kind of thing it gets a word; none: it stays as it is.
  struct Match {
    const char* kind = nullptr;
    size_t begin = 0, end = 0;
  };
  template <typename Find>
  std::string Replace(absl::string_view text, Find find);
  std::string ReplaceKnown(absl::string_view text) const;
  std::string ReplacePrincipals(absl::string_view text);
  std::string ReplaceIssuers(absl::string_view text);
  std::string ReplaceHosts(absl::string_view text);

  std::map<std::string, std::string> words_;  // by value
  std::map<std::string, int> counts_;         // by kind
};

}  // namespace smartkey::ctl
