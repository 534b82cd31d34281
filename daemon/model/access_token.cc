// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/access_token.h"

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/sha256.h"

namespace smartkey {

ScopeSet ParseScope(absl::string_view scope) {
  ScopeSet scopes;
  // RFC 6749 section 3.3 separates by one space; people and servers also write several.
  for (absl::string_view word :
       absl::StrSplit(scope, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
    scopes.emplace(word);
  }
  return scopes;
}

std::string ToScopeString(const ScopeSet& scopes) {
  return absl::StrJoin(scopes, " ");
}

std::string HashOfToken(const Secret& value) {
  return Base64UrlEncode(Sha256(value.RevealSecret()).substr(0, 16));
}

}  // namespace smartkey
