// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/catalog.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/log.h"

namespace smartkey {

namespace {

template <typename T, typename Name>
std::string Names(const std::vector<T>& all, Name name) {
  if (all.empty()) return "none is configured";
  return absl::StrCat("configured: ", absl::StrJoin(all, ", ", [&](std::string* out, const T& one) {
                        absl::StrAppend(out, name(one));
                      }));
}

}  // namespace

absl::StatusOr<const App*> Catalog::FindApp(absl::string_view id) const {
  for (const App& app : apps) {
    if (app.id == id) return &app;
  }
  return MakeError(Reason::kUnknownApp,
                   absl::StrCat("no app \"", Printable(id, 64), "\" (",
                                Names(apps, [](const App& app) { return app.id; }), ")"));
}

absl::StatusOr<const Server*> Catalog::FindServer(absl::string_view name) const {
  for (const Server& server : servers) {
    if (server.name == name) return &server;
  }
  return MakeError(
      Reason::kUnknownServer,
      absl::StrCat("no server \"", Printable(name, 64), "\" (",
                   Names(servers, [](const Server& server) { return server.name; }), ")"));
}

absl::StatusOr<const Server*> Catalog::FindServerByFhirBase(absl::string_view fhir_base) const {
  for (const Server& server : servers) {
    if (server.fhir_base == absl::StripSuffix(fhir_base, "/")) return &server;
  }
  return MakeError(Reason::kUnknownServer,
                   absl::StrCat("no server with FHIR base ", Printable(fhir_base, 128)));
}

const Server* Catalog::FindServerOf(const Registration& registration) const {
  const Server* same_name = nullptr;
  for (const Server& server : servers) {
    if (server.fhir_base == registration.fhir_base) return &server;
    if (server.name == registration.server_name) same_name = &server;
  }
  return same_name;
}

const std::string& Catalog::ServerNameOf(const Registration& registration) const {
  const Server* server = FindServerOf(registration);
  return server != nullptr ? server->name : registration.server_name;
}

absl::Status Catalog::CheckServerOf(const Registration& registration) const {
  if (FindServerOf(registration) != nullptr) return absl::OkStatus();
  return MakeError(
      Reason::kServerRemoved,
      absl::StrCat("server ", Printable(registration.server_name, 64), " is no longer configured"));
}

bool Catalog::has_shares_by_policy() const {
  return std::any_of(policies.begin(), policies.end(),
                     [](const Policy& one) { return !one.shares.empty(); });
}

}  // namespace smartkey
