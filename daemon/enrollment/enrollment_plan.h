// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/enrollment/enrollment_manager.h"
#include "daemon/model/app.h"
#include "daemon/model/catalog.h"
#include "daemon/model/registration.h"
#include "daemon/model/server.h"
#include "daemon/oauth/discovery.h"

namespace smartkey {

// A request checked against the configuration: what will be enrolled, with copies of all that is needed of
// the configuration, which may change meanwhile.
struct EnrollmentPlan {
  std::string app_id;
  std::string app_name;
  std::string initial_client_id;
  std::string software_id;
  Server server;
  std::string redirect_uri;
  ScopeSet scopes;
  Identifying name;
  bool name_was_given = false;
  absl::Duration access_for;  // zero: not said
};

// Errors: kUnknownApp (also an app without ids for that server), kUnknownServer, kRedirectUriUnknown,
// kInvalidArgument.
absl::StatusOr<EnrollmentPlan> PlanEnrollment(const Catalog& catalog,
                                              const EnrollmentRequest& request, bool with_browser);

// The algorithm of the new key: the first of ES384, RS384, ES256, RS256 (Epic: RS384, RS256) that the
// hardware has and, if the server publishes a list, the server names. That list speaks of client
// authentication and is only a hint, so that one asked for by name needs the hardware alone.
// Errors: kAlgorithmUnsupported naming what there is.
absl::StatusOr<SignatureAlgorithm> ChooseAlgorithm(
    const absl::optional<SignatureAlgorithm>& requested,
    const std::vector<SignatureAlgorithm>& hardware, const std::vector<std::string>& server,
    ServerProfile profile);

// The record as Begin writes it: one PENDING generation, without a key yet.
Generation MakePendingGeneration(const EnrollmentPlan& plan, const ServerEndpoints& endpoints,
                                 const std::string& enrollment_id, const std::string& request_id,
                                 SignatureAlgorithm algorithm, int number, absl::Time now);

}  // namespace smartkey
