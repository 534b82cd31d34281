// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_changes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace smartkey {
namespace {

// Notes the names of the members in which two objects differ.
template <typename Block>
class Difference {
 public:
  Difference(const Block& before, const Block& after) : before_(before), after_(after) {}

  template <typename Value>
  Difference& Compare(const char* key, Value Block::*member) {
    if (!(before_.*member == after_.*member)) keys_.push_back(key);
    return *this;
  }
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  const Block& before_;
  const Block& after_;
  std::vector<std::string> keys_;
};

std::vector<std::string> ChangedKeys(const App& before, const App& after) {
  return Difference(before, after)
      .Compare("name", &App::name)
      .Compare("redirect_uris", &App::redirect_uris)
      .Compare("scopes", &App::scopes)
      .Compare("client", &App::clients)
      .keys();
}

std::vector<std::string> ChangedKeys(const Server& before, const Server& after) {
  return Difference(before, after)
      .Compare("fhir_base", &Server::fhir_base)
      .Compare("profile", &Server::profile)
      .Compare("registration_body", &Server::registration_body)
      .Compare("require_register_scope", &Server::require_register_scope)
      .Compare("allow_loopback_http", &Server::allow_loopback_http)
      .Compare("ca_file", &Server::ca_file)
      .Compare("assertion_audience", &Server::assertion_audience)
      .Compare("authorization_endpoint", &Server::authorization_endpoint)
      .Compare("token_endpoint", &Server::token_endpoint)
      .Compare("registration_endpoint", &Server::registration_endpoint)
      .keys();
}

void DescribePolicies(const Catalog& before, const Catalog& after,
                      std::vector<std::string>& changes) {
  if (before.policies == after.policies) return;
  changes.push_back(absl::StrCat("the policies are others: ", after.policies.size(), " now, ",
                                 before.policies.size(), " before, in force for everybody"));
}

template <typename Block, typename Same>
const Block* FindBlock(const std::vector<Block>& blocks, Same same) {
  const auto found = std::find_if(blocks.begin(), blocks.end(), same);
  return found == blocks.end() ? nullptr : &*found;
}

void DescribeApps(const Catalog& before, const Catalog& after, std::vector<std::string>& changes) {
  const auto find = [](const Catalog& catalog, const App& app) {
    return FindBlock(catalog.apps, [&](const App& other) { return other.id == app.id; });
  };
  for (const App& app : before.apps) {
    if (find(after, app) == nullptr) {
      changes.push_back(absl::StrCat("app ", Printable(app.id, 128), " is gone"));
    }
  }
  for (const App& app : after.apps) {
    const App* old = find(before, app);
    const std::string name = Printable(app.id, 128);
    if (old == nullptr) {
      changes.push_back(absl::StrCat("app ", name, " is new"));
    } else if (const auto keys = ChangedKeys(*old, app); !keys.empty()) {
      changes.push_back(absl::StrCat("app ", name, " has another ", absl::StrJoin(keys, ", "),
                                     ": for enrollments from now on"));
    }
  }
}

void DescribeServers(const Catalog& before, const Catalog& after,
                     std::vector<std::string>& changes) {
  // A server is the one at its FHIR base, whatever it is called.
  const auto find = [](const Catalog& catalog, const Server& server) {
    const Server* same = FindBlock(
        catalog.servers, [&](const Server& s) { return s.fhir_base == server.fhir_base; });
    if (same != nullptr) return same;
    return FindBlock(catalog.servers, [&](const Server& s) { return s.name == server.name; });
  };
  for (const Server& server : before.servers) {
    if (find(after, server) == nullptr) {
      changes.push_back(absl::StrCat("server ", Printable(server.name, 64),
                                     " is gone: its registrations wait for its return"));
    }
  }
  for (const Server& server : after.servers) {
    const Server* old = find(before, server);
    const std::string name = Printable(server.name, 64);
    if (old == nullptr) {
      changes.push_back(absl::StrCat("server ", name, " is new"));
      continue;
    }
    if (old->name != server.name) {
      changes.push_back(
          absl::StrCat("server ", Printable(old->name, 64), " is called ", name, " now"));
    }
    if (const auto keys = ChangedKeys(*old, server); !keys.empty()) {
      changes.push_back(absl::StrCat("server ", name, " has another ", absl::StrJoin(keys, ", "),
                                     ": for enrollments from now on"));
    }
  }
}

void Append(const char* table, const std::vector<std::string>& keys,
            std::vector<std::string>& all) {
  for (const std::string& key : keys) all.push_back(absl::StrCat(table, " ", key));
}

}  // namespace

std::vector<std::string> DescribeChanges(const Config& before, const Config& after) {
  std::vector<std::string> changes;
  if (before.daemon.apps_dir != after.daemon.apps_dir) {
    changes.push_back(
        absl::StrCat("files of apps are read from ", Printable(after.daemon.apps_dir, 256)));
  }
  DescribeApps(before.catalog, after.catalog, changes);
  DescribeServers(before.catalog, after.catalog, changes);
  DescribePolicies(before.catalog, after.catalog, changes);
  return changes;
}

std::vector<std::string> KeysThatNeedARestart(const Config& started, const Config& now) {
  std::vector<std::string> keys;
  Append("[daemon]",
         Difference(started.daemon, now.daemon)
             .Compare("socket", &DaemonConfig::socket)
             .Compare("admin_socket", &DaemonConfig::admin_socket)
             .Compare("state_dir", &DaemonConfig::state_dir)
             .Compare("admin_group", &DaemonConfig::admin_group)
             .keys(),
         keys);
  Append("[key_provider]",
         Difference(started.key_provider, now.key_provider)
             .Compare("type", &KeyProviderConfig::type)
             .Compare("tcti", &KeyProviderConfig::tcti)
             .Compare("uri", &KeyProviderConfig::uri)
             .Compare("module", &KeyProviderConfig::module)
             .Compare("pin_file", &KeyProviderConfig::pin_file)
             .Compare("init_args", &KeyProviderConfig::init_args)
             .Compare("environment", &KeyProviderConfig::environment)
             .Compare("max_sessions", &KeyProviderConfig::max_sessions)
             .Compare("strict_attributes", &KeyProviderConfig::strict_attributes)
             .Compare("isolation", &KeyProviderConfig::isolation)
             .keys(),
         keys);
  Append("[http]",
         Difference(started.http, now.http)
             .Compare("proxy", &HttpConfig::proxy)
             .Compare("no_proxy", &HttpConfig::no_proxy)
             .Compare("ca_file", &HttpConfig::ca_file)
             .keys(),
         keys);
  Append("[access]",
         Difference(started.access, now.access)
             .Compare("containers", &AccessConfig::containers)
             .Compare("peer_pidfd", &AccessConfig::peer_pidfd)
             .keys(),
         keys);
  Append("[audit]",
         Difference(started.audit, now.audit)
             .Compare("on_full", &AuditConfig::on_full)
             .Compare("retention", &AuditConfig::retention)
             .Compare("max_size_mb", &AuditConfig::max_size_mb)
             .keys(),
         keys);
  Append("[metrics]",
         Difference(started.metrics, now.metrics).Compare("socket", &MetricsConfig::socket).keys(),
         keys);
  return keys;
}

}  // namespace smartkey
