// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/secret.h"

namespace smartkey {

// A canonical scope set: order and repetition do not matter, case does (RFC 6749 section 3.3).
using ScopeSet = std::set<std::string>;
ScopeSet ParseScope(absl::string_view scope);  // space separated
std::string ToScopeString(const ScopeSet& scopes);

// An access token as the server granted it, with what the daemon knows of it. Shared read-only
// between the cache and answers under way (shared_ptr<const AccessToken>); wiped when the last
// holder lets go.
struct AccessToken {
  Secret value;
  std::string value_hash;  // names it in the audit log; see HashOfToken
  std::string token_type = "Bearer";
  std::string key_thumbprint;  // of the key that signed for it; set by whoever signs
  BootTime expires;            // counted from when the request was sent
  absl::Time expires_at;       // the same on the wall clock, for people and apps
  absl::Duration lifetime;     // from receipt to `expires`
  BootTime refresh_after;      // from here on a new one is fetched while this one still serves
  absl::Time refresh_after_at;
  bool cacheable = true;             // false: the server gave it no lifetime worth keeping
  absl::optional<ScopeSet> granted;  // nullopt: the answer did not say
  Identifying patient;
  Identifying fhir_user;
  Identifying
      launch_context_json;  // other context parameters as one JSON object text: encounter, ...
};

// What names a token where the token itself must not stand: the first half of SHA-256 over it, in
// base64url.
std::string HashOfToken(const Secret& value);

}  // namespace smartkey
