// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/enrollment_target.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/error.h"

namespace smartkey::ctl {
namespace {

const client::Server* FindServer(const client::EnrollmentWish& wish,
                                 const std::vector<client::Server>& servers) {
  for (const client::Server& server : servers) {
    if (!wish.server.empty() && server.name == wish.server) return &server;
    if (!wish.fhir_base.empty() &&
        absl::StripSuffix(server.fhir_base, "/") == absl::StripSuffix(wish.fhir_base, "/")) {
      return &server;
    }
  }
  return nullptr;
}

absl::StatusOr<std::string> ChooseApp(const std::string& wished, const client::Server& server) {
  if (!wished.empty()) return wished;
  if (server.apps.size() == 1) return server.apps.front();
  if (server.apps.empty()) {
    return MakeError(Reason::kUnknownApp, "no app is configured for this server");
  }
  return WithRemedy(
      MakeError(Reason::kInvalidArgument, "several apps are configured for this server"),
      absl::StrCat("choose one with --app: ", absl::StrJoin(server.apps, ", ")));
}

}  // namespace

absl::StatusOr<EnrollmentTarget> FindEnrollmentTarget(const client::EnrollmentWish& wish,
                                                      const std::vector<client::Server>& servers,
                                                      const std::vector<client::App>& apps) {
  const client::Server* server = FindServer(wish, servers);
  if (server == nullptr) {
    return MakeError(Reason::kUnknownServer, "no server of this name or FHIR base is configured");
  }
  absl::StatusOr<std::string> id = ChooseApp(wish.app, *server);
  if (!id.ok()) return id.status();
  for (const client::App& app : apps) {
    if (app.id != *id) continue;
    EnrollmentTarget target{*id, absl::nullopt, ""};
    for (const std::string& uri : app.redirect_uris) {
      if (target.redirect_uri.empty()) target.redirect_uri = uri;
      target.loopback = ParseLoopbackUri(uri);
      if (target.loopback.has_value()) {
        target.redirect_uri = uri;
        break;
      }
    }
    return target;
  }
  return MakeError(Reason::kUnknownApp, "no app of this id is configured");
}

}  // namespace smartkey::ctl
