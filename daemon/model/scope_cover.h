// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"
#include "daemon/model/access_token.h"

namespace smartkey {

// True if whoever may have `wide` may have `narrow`: the same scope, or a SMART clinical scope for
// the same context whose resource type, interactions and search parameters `wide` includes
// (SMART App Launch 2.2, "Scopes for requesting FHIR Resources": "patient/*.rs" covers
// "patient/Observation.r?category=laboratory"). Scopes of SMART 1 mean what the standard says they
// do in version 2: read is rs, write is cud, * is cruds.
bool Covers(absl::string_view wide, absl::string_view narrow);

// The same for sets: each of `narrow` is covered by one of `wide`.
bool Covers(const ScopeSet& wide, const ScopeSet& narrow);

}  // namespace smartkey
