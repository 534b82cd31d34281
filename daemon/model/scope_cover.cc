// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/scope_cover.h"

#include <algorithm>
#include <string>

#include "absl/types/optional.h"

namespace smartkey {
namespace {

constexpr absl::string_view kInteractions = "cruds";

struct ClinicalScope {
  absl::string_view context;   // "patient", "user", "system"
  absl::string_view resource;  // "Observation", "*"
  std::string interactions;    // some of "cruds", in that order
  absl::string_view search;    // what follows the question mark; may be empty
};

// "" if it is none.
std::string InteractionsOf(absl::string_view suffix) {
  if (suffix == "*") return std::string(kInteractions);
  if (suffix == "read") return "rs";
  if (suffix == "write") return "cud";
  size_t from = 0;  // each at most once, in the standard's order
  for (const char one : suffix) {
    const size_t at = kInteractions.find(one, from);
    if (at == absl::string_view::npos) return "";
    from = at + 1;
  }
  return std::string(suffix);
}

absl::optional<ClinicalScope> Parse(absl::string_view scope) {
  ClinicalScope parsed;
  const size_t question = scope.find('?');
  if (question != absl::string_view::npos) {
    parsed.search = scope.substr(question + 1);
    if (parsed.search.empty()) return absl::nullopt;
    scope = scope.substr(0, question);
  }
  const size_t slash = scope.find('/');
  const size_t dot = scope.rfind('.');
  if (slash == absl::string_view::npos || dot == absl::string_view::npos || dot < slash + 2) {
    return absl::nullopt;
  }
  parsed.context = scope.substr(0, slash);
  parsed.resource = scope.substr(slash + 1, dot - slash - 1);
  parsed.interactions = InteractionsOf(scope.substr(dot + 1));
  if (parsed.interactions.empty()) return absl::nullopt;
  if (parsed.context != "patient" && parsed.context != "user" && parsed.context != "system") {
    return absl::nullopt;
  }
  return parsed;
}

}  // namespace

bool Covers(absl::string_view wide, absl::string_view narrow) {
  if (wide == narrow) return true;
  const absl::optional<ClinicalScope> w = Parse(wide), n = Parse(narrow);
  if (!w.has_value() || !n.has_value()) return false;
  return w->context == n->context && (w->resource == "*" || w->resource == n->resource) &&
         (w->search.empty() || w->search == n->search) &&
         std::includes(w->interactions.begin(), w->interactions.end(), n->interactions.begin(),
                       n->interactions.end(), [](char a, char b) {
                         return kInteractions.find(a) < kInteractions.find(b);
                       });
}

bool Covers(const ScopeSet& wide, const ScopeSet& narrow) {
  return std::all_of(narrow.begin(), narrow.end(), [&](const std::string& one) {
    return std::any_of(wide.begin(), wide.end(),
                       [&](const std::string& scope) { return Covers(scope, one); });
  });
}

}  // namespace smartkey
