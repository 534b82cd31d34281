// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/enrollment_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/model/expected_end.h"
#include "daemon/model/registration_name.h"
#include "daemon/oauth/authorization_request.h"

namespace smartkey {

namespace {

constexpr size_t kMostScopes = 64;

absl::StatusOr<const App*> ChooseApp(const Catalog& catalog, const std::string& id) {
  if (!id.empty()) return catalog.FindApp(id);
  if (catalog.apps.size() == 1) return &catalog.apps.front();
  return MakeError(
      Reason::kUnknownApp,
      catalog.apps.empty()
          ? "no app is configured"
          : absl::StrCat("which app? configured: ",
                         absl::StrJoin(catalog.apps, ", ", [](std::string* out, const App& app) {
                           absl::StrAppend(out, app.id);
                         })));
}

absl::StatusOr<const Server*> ChooseServer(const Catalog& catalog,
                                           const EnrollmentRequest& request) {
  if (request.server_name.empty() == request.fhir_base.empty()) {
    return MakeError(Reason::kInvalidArgument, "name the server or its FHIR base, one of the two");
  }
  if (!request.server_name.empty()) return catalog.FindServer(request.server_name);
  return catalog.FindServerByFhirBase(request.fhir_base);
}

absl::Status CheckScopes(const ScopeSet& scopes) {
  // RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E.
  const auto sound = [](const std::string& scope) {
    return !scope.empty() && scope.size() <= 256 &&
           std::all_of(scope.begin(), scope.end(), [](unsigned char c) {
             return c >= 0x21 && c <= 0x7E && c != '"' && c != '\\';
           });
  };
  if (scopes.size() <= kMostScopes && std::all_of(scopes.begin(), scopes.end(), sound)) {
    return absl::OkStatus();
  }
  return MakeError(Reason::kInvalidArgument, "a scope has characters that no scope may have");
}

std::string Names(const std::vector<SignatureAlgorithm>& algorithms) {
  return absl::StrJoin(algorithms, " ", [](std::string* out, SignatureAlgorithm one) {
    absl::StrAppend(out, AlgorithmName(one));
  });
}

template <typename T>
bool Contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

absl::StatusOr<EnrollmentPlan> PlanEnrollment(const Catalog& catalog,
                                              const EnrollmentRequest& request, bool with_browser) {
  const absl::StatusOr<const App*> app = ChooseApp(catalog, request.app_id);
  if (!app.ok()) return app.status();
  const absl::StatusOr<const Server*> server = ChooseServer(catalog, request);
  if (!server.ok()) return server.status();
  const AppClient* client = (*app)->FindClient((*server)->name);
  if (client == nullptr) {
    return MakeError(
        Reason::kUnknownApp,
        absl::StrCat("app ", (*app)->id, " has no client_id for server ", (*server)->name));
  }
  if (with_browser && !RedirectUriAllowed(request.redirect_uri, (*app)->redirect_uris)) {
    return MakeError(Reason::kRedirectUriUnknown,
                     absl::StrCat("redirect URI ", Printable(request.redirect_uri, 100),
                                  " is not registered for ", (*app)->id, " (registered: ",
                                  absl::StrJoin((*app)->redirect_uris, ", "), ")"));
  }
  EnrollmentPlan plan;
  plan.app_id = (*app)->id;
  plan.app_name = (*app)->name;
  plan.initial_client_id = client->client_id;
  plan.software_id = client->software_id;
  plan.server = **server;
  plan.redirect_uri = request.redirect_uri;
  plan.scopes = request.scopes.empty() ? ScopeSet((*app)->scopes.begin(), (*app)->scopes.end())
                                       : request.scopes;
  if (absl::Status status = CheckScopes(plan.scopes); !status.ok()) return status;
  plan.name_was_given = !request.name.empty();
  plan.name = plan.name_was_given ? request.name : Identifying((*server)->name);
  if (absl::Status status = CheckName(plan.name.RevealIdentifying()); !status.ok()) return status;
  if (absl::Status status = CheckLabel(request.label.RevealIdentifying()); !status.ok()) {
    return status;
  }
  if (request.access_for != absl::ZeroDuration()) {
    if (absl::Status status = CheckAccessFor(request.access_for); !status.ok()) return status;
    plan.access_for = request.access_for;
  }
  return plan;
}

absl::StatusOr<SignatureAlgorithm> ChooseAlgorithm(
    const absl::optional<SignatureAlgorithm>& requested,
    const std::vector<SignatureAlgorithm>& hardware, const std::vector<std::string>& server,
    ServerProfile profile) {
  if (requested.has_value()) {
    if (Contains(hardware, *requested)) return *requested;
    return MakeError(Reason::kAlgorithmUnsupported,
                     absl::StrCat("this hardware cannot do ", AlgorithmName(*requested),
                                  "; it has: ", Names(hardware)));
  }
  using Algorithm = SignatureAlgorithm;
  const std::vector<Algorithm> preferred =
      profile == ServerProfile::kEpic
          ? std::vector<Algorithm>{Algorithm::kRs384, Algorithm::kRs256}
          : std::vector<Algorithm>{Algorithm::kEs384, Algorithm::kRs384, Algorithm::kEs256,
                                   Algorithm::kRs256};
  for (const Algorithm one : preferred) {
    const bool named = server.empty() || Contains(server, std::string(AlgorithmName(one)));
    if (named && Contains(hardware, one)) return one;
  }
  return MakeError(
      Reason::kAlgorithmUnsupported,
      absl::StrCat("hardware and server share no algorithm; hardware: ", Names(hardware),
                   "; wanted: ",
                   server.empty() ? Names(preferred) : Printable(absl::StrJoin(server, " "), 80)));
}

Generation MakePendingGeneration(const EnrollmentPlan& plan, const ServerEndpoints& endpoints,
                                 const std::string& enrollment_id, const std::string& request_id,
                                 SignatureAlgorithm algorithm, int number, absl::Time now) {
  Generation generation;
  generation.number = number;
  generation.enrollment_id = enrollment_id;
  generation.request_id = request_id;
  generation.algorithm = algorithm;
  generation.initial_client_id = plan.initial_client_id;
  generation.software_id = plan.software_id;
  generation.token_endpoint = endpoints.token_endpoint;
  generation.registration_endpoint = endpoints.registration_endpoint;
  generation.revocation_endpoint = endpoints.revocation_endpoint;
  generation.management_endpoint = endpoints.management_endpoint;
  generation.assertion_audience = plan.server.assertion_audience.empty()
                                      ? endpoints.token_endpoint
                                      : plan.server.assertion_audience;
  generation.access_for = plan.access_for;
  generation.created_at = now;
  return generation;
}

}  // namespace smartkey
