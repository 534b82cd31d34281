// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_schema.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/duration.h"
#include "base/user_database.h"
#include "daemon/access/principal.h"
#include "daemon/access/share_rules.h"
#include "daemon/app/config_values.h"

namespace smartkey {
namespace {

constexpr char kPeople[] = "people";

void ReadDaemon(ConfigTable& table, DaemonConfig& daemon) {
  table.ReadString("socket", daemon.socket, CheckSocketPath);
  table.ReadString("admin_socket", daemon.admin_socket, CheckSocketPath);
  table.ReadString("state_dir", daemon.state_dir, CheckStateDir);
  table.ReadString("admin_group", daemon.admin_group, CheckShortText);
  table.ReadString("apps_dir", daemon.apps_dir, CheckAbsolutePath);
  if (daemon.socket == daemon.admin_socket) {
    table.AddProblem("admin_socket", "must not be the public socket");
  }
}

void ReadKeyProvider(ConfigTable& table, KeyProviderConfig& provider) {
  table.ReadChoice("type", provider.type, {"tpm", "pkcs11"});
  table.ReadString("tcti", provider.tcti, CheckShortText);
  table.ReadString("uri", provider.uri, CheckPkcs11Uri);
  table.ReadString("module", provider.module, CheckAbsolutePath);
  table.ReadString("pin_file", provider.pin_file, CheckAbsolutePath);
  table.ReadString("init_args", provider.init_args);
  table.ReadStrings("environment", provider.environment, CheckEnvironmentEntry);
  table.ReadInt("max_sessions", provider.max_sessions, 1, 1024);
  table.ReadBool("strict_attributes", provider.strict_attributes);
  table.ReadChoice("isolation", provider.isolation, {"process", "none"});

  // A key without effect is a mistake somebody would look for long.
  const bool is_tpm = provider.type == "tpm";
  for (const char* key : {"uri", "module", "pin_file", "init_args", "environment", "max_sessions",
                          "strict_attributes", "isolation"}) {
    if (is_tpm && table.Has(key)) table.AddProblem(key, "needs type = \"pkcs11\"");
  }
  if (!is_tpm && table.Has("tcti")) table.AddProblem("tcti", "needs type = \"tpm\"");
  if (!is_tpm && !table.Has("uri")) table.AddProblem("type", "is \"pkcs11\", which needs a uri");
}

void ReadHttp(ConfigTable& table, HttpConfig& http) {
  table.ReadString("proxy", http.proxy, CheckProxy);
  table.ReadStrings("no_proxy", http.no_proxy, CheckShortText);
  table.ReadString("ca_file", http.ca_file, CheckAbsolutePath);
}

void ReadAccess(ConfigTable& table, AccessConfig& access) {
  table.ReadChoice("containers", access.containers, {"deny"});
  table.ReadBool("peer_pidfd", access.peer_pidfd);
}

void ReadAudit(ConfigTable& table, AuditConfig& audit) {
  table.ReadChoice("on_full", audit.on_full, {"warn", "deny"});
  table.ReadString("retention", audit.retention, CheckDays);
  table.ReadInt("max_size_mb", audit.max_size_mb, 64, 1 << 20);
}

void ReadMetrics(ConfigTable& table, MetricsConfig& metrics) {
  table.ReadString("socket", metrics.socket, CheckSocketPath);
}

AppClient ReadAppClient(ConfigTable& table) {
  AppClient client;
  client.servers = {"*"};
  table.ReadStrings("servers", client.servers, CheckServerGlob);
  if (client.servers.empty()) table.AddProblem("servers", "must not be empty");
  table.RequireString("client_id", client.client_id, CheckClientId);
  client.software_id = client.client_id;
  table.ReadString("software_id", client.software_id, CheckClientId);
  return client;
}

App ReadApp(ConfigTable& table) {
  App app;
  table.RequireString("id", app.id, CheckAppId);
  app.name = app.id;
  table.ReadString("name", app.name, CheckShortText);
  table.RequireStrings("redirect_uris", app.redirect_uris, CheckRedirectUri);
  table.ReadStrings("scopes", app.scopes, CheckScope);
  const int clients = table.ReadTables(
      "client", [&](ConfigTable& client) { app.clients.push_back(ReadAppClient(client)); });
  if (clients == 0) table.AddProblem("client", "is missing: write an [[app.client]] block");
  return app;
}

Server ReadServer(ConfigTable& table) {
  Server server;
  table.RequireString("name", server.name, CheckServerName);
  // First, since what URLs may be depends on it.
  table.ReadBool("allow_loopback_http", server.allow_loopback_http);
  const bool loopback = server.allow_loopback_http;
  const auto endpoint = [loopback](const std::string& value) {
    return CheckEndpoint(value, loopback);
  };
  const bool has_base = table.RequireString(
      "fhir_base", server.fhir_base,
      [loopback](const std::string& value) { return NormaliseFhirBase(value, loopback).status(); });
  if (has_base) server.fhir_base = NormaliseFhirBase(server.fhir_base, loopback).value();

  std::string profile, body;
  if (table.ReadChoice("profile", profile, {"smart", "epic"}) && profile == "epic") {
    server.profile = ServerProfile::kEpic;
  }
  if (table.ReadChoice("registration_body", body, {"minimal", "explicit"}) && body == "explicit") {
    server.registration_body = RegistrationBody::kExplicit;
  }
  table.ReadBool("require_register_scope", server.require_register_scope);
  table.ReadString("ca_file", server.ca_file, CheckAbsolutePath);
  table.ReadString("assertion_audience", server.assertion_audience, CheckAudience);
  table.ReadString("authorization_endpoint", server.authorization_endpoint, endpoint);
  table.ReadString("token_endpoint", server.token_endpoint, endpoint);
  table.ReadString("registration_endpoint", server.registration_endpoint, endpoint);
  return server;
}

absl::Status CheckPrincipal(const std::string& text) {
  const absl::StatusOr<Principal> principal = ParsePrincipal(text);
  if (principal.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "must be user:NAME, uid:N, group:NAME, unit:NAME.service, or several joined by '+'");
}

absl::Status CheckOperation(const std::string& text) {
  if (OperationFromName(text).has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError("must be of token, dpop, jwt, assertion and manage");
}

// The principals of a list: of those who are allowed, where a word may stand for people, or who are
// denied.
Policy::Allowed ReadAllowed(ConfigTable& table, const char* key, bool people_may_be_named,
                            const std::string& place) {
  const auto resolve = people_may_be_named ? ConfiguredShare : ConfiguredDenial;
  Policy::Allowed allowed;
  std::vector<std::string> texts;
  table.ReadStrings(key, texts, [&](const std::string& text) {
    return people_may_be_named && text == kPeople ? absl::OkStatus() : CheckPrincipal(text);
  });
  for (const std::string& text : texts) {
    if (text == kPeople) {
      allowed.people = true;
      continue;
    }
    const absl::StatusOr<Principal> principal = ParsePrincipal(text);
    if (principal.ok()) {
      allowed.principals.push_back(resolve(*principal, place, UserDatabase()));
    }
  }
  return allowed;
}

Share ReadPolicyShare(ConfigTable& table, const std::string& file) {
  Share share;
  std::string principal;
  std::vector<std::string> operations = {std::string(OperationName(Operation::kToken))};
  std::vector<std::string> scopes;
  const bool named = table.RequireString("principal", principal, CheckPrincipal);
  if (table.ReadStrings("allow", operations, CheckOperation) && operations.empty()) {
    table.AddProblem("allow", "must not be empty");
  }
  table.ReadStrings("scopes", scopes, CheckScope);
  const absl::StatusOr<Principal> parsed = ParsePrincipal(principal);
  if (!named || !parsed.ok()) return share;
  share = ConfiguredShare(*parsed, absl::StrCat(file, ":", table.line()), UserDatabase());
  share.operations = std::move(operations);
  share.scopes = std::move(scopes);
  if (absl::Status status = CheckShare(share, absl::UnixEpoch()); !status.ok()) {
    table.AddProblem("allow", status.message());
  }
  return share;
}

Policy ReadPolicy(ConfigTable& table, const std::string& file) {
  Policy policy;
  policy.place = absl::StrCat(file, ":", table.line());
  table.ReadStrings("servers", policy.servers, CheckServerGlob);
  if (policy.servers.empty()) table.AddProblem("servers", "must not be empty");
  table.ReadStrings("apps", policy.apps, CheckServerGlob);
  if (policy.apps.empty()) table.AddProblem("apps", "must not be empty");
  Policy::Allowed allowed = ReadAllowed(table, "allow_enroll", true, policy.place);
  if (table.Has("allow_enroll")) policy.allow_enroll = std::move(allowed);
  policy.deny_enroll = ReadAllowed(table, "deny_enroll", false, policy.place).principals;
  table.ReadInt("max_registrations_per_owner", policy.max_registrations_per_owner, 1, 10000);
  std::string idle;
  if (table.ReadString("max_idle", idle, CheckDays)) policy.max_idle = *ParseDuration(idle);
  table.ReadTables(
      "share", [&](ConfigTable& share) { policy.shares.push_back(ReadPolicyShare(share, file)); });
  return policy;
}

// An id or name that appears twice in one file.
template <typename Block, typename NameOf>
void CheckUnique(const std::vector<ConfigBlocks::At<Block>>& blocks, absl::string_view kind,
                 NameOf name_of, ConfigProblems& problems) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const std::string& name = name_of(blocks[i].block);
      if (name.empty() || name != name_of(blocks[j].block)) continue;
      problems.Add(blocks[i].line, absl::StrCat(kind, " \"", name, "\" is already defined in line ",
                                                blocks[j].line));
      break;
    }
  }
}

ConfigBlocks ReadBlocks(ConfigTable& root, ConfigProblems& problems) {
  ConfigBlocks blocks;
  root.ReadTables("app", [&](ConfigTable& table) {
    blocks.apps.push_back({ReadApp(table), table.line()});
  });
  root.ReadTables("server", [&](ConfigTable& table) {
    blocks.servers.push_back({ReadServer(table), table.line()});
  });
  CheckUnique(
      blocks.apps, "app", [](const App& app) -> const std::string& { return app.id; }, problems);
  CheckUnique(
      blocks.servers, "server",
      [](const Server& server) -> const std::string& { return server.name; }, problems);
  return blocks;
}

constexpr char kTopLevel[] = "the file";

}  // namespace

ConfigBlocks ReadMainFile(const toml::table& root, Config& config, ConfigProblems& problems) {
  ConfigTable table(root, kTopLevel, problems);
  table.ReadTable("daemon", [&](ConfigTable& daemon) { ReadDaemon(daemon, config.daemon); });
  table.ReadTable("key_provider",
                  [&](ConfigTable& provider) { ReadKeyProvider(provider, config.key_provider); });
  table.ReadTable("http", [&](ConfigTable& http) { ReadHttp(http, config.http); });
  table.ReadTable("access", [&](ConfigTable& access) { ReadAccess(access, config.access); });
  table.ReadTable("audit", [&](ConfigTable& audit) { ReadAudit(audit, config.audit); });
  table.ReadTable("metrics", [&](ConfigTable& metrics) { ReadMetrics(metrics, config.metrics); });
  ConfigBlocks blocks = ReadBlocks(table, problems);
  table.ReadTables("policy", [&](ConfigTable& policy) {
    blocks.policies.push_back(ReadPolicy(policy, problems.file()));
  });
  table.Finish();
  return blocks;
}

ConfigBlocks ReadDropIn(const toml::table& root, ConfigProblems& problems) {
  ConfigTable table(root, kTopLevel, problems);
  ConfigBlocks blocks = ReadBlocks(table, problems);
  for (const char* key :
       {"daemon", "key_provider", "http", "access", "audit", "metrics", "policy"}) {
    table.Refuse(key, "belongs in the main configuration file");
  }
  table.Finish();
  return blocks;
}

}  // namespace smartkey
