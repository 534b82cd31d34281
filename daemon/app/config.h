// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/user_database.h"
#include "daemon/model/catalog.h"
#include "daemon/model/config_reload.h"

namespace smartkey {

// What `smartkeyd --config FILE` reads. docs/smartkeyd.toml.example explains every key to the
// person who writes it; the defaults are the values below. The environment is not read.

// [daemon]
struct DaemonConfig {
  std::string socket = "/run/smartkeyd/smartkeyd.sock";
  std::string admin_socket = "/run/smartkeyd-admin/admin.sock";
  std::string state_dir = "/var/lib/smartkeyd";
  std::string admin_group = "smartkey-admin";
  // Where the packages of apps install their files; a test or a demo has its own.
  std::string apps_dir = "/usr/lib/smartkeyd/apps.d";
};

// Where a PKCS#11 module that is isolated is met, below state_dir.
inline constexpr char kPkcs11SocketInStateDir[] = "/pkcs11.sock";

// [key_provider]
struct KeyProviderConfig {
  std::string type = "tpm";  // or "pkcs11"
  std::string tcti = "device:/dev/tpmrm0";

  // pkcs11 only.
  std::string uri;       // RFC 7512
  std::string module;    // path; empty: what p11-kit is configured with
  std::string pin_file;  // path; empty: no PIN
  std::string init_args;
  std::vector<std::string> environment;  // "NAME=value", for the module's process
  int max_sessions = 8;
  bool strict_attributes = true;
  std::string isolation = "process";  // or "none"
};

// [http]
struct HttpConfig {
  std::string proxy;                  // "http://host:port"; empty: none
  std::vector<std::string> no_proxy;  // host names or domain suffixes
  std::string ca_file;                // trusted beside the system's; empty: none
};

// [access]
struct AccessConfig {
  std::string containers = "deny";  // processes in them are reached by an explicit share only
  bool peer_pidfd = true;           // hold callers with SO_PEERPIDFD while they are looked at
};

// [audit]
struct AuditConfig {
  std::string on_full = "warn";  // or "deny": nothing is done that cannot be written down
  std::string retention = "365d";
  int max_size_mb = 1024;  // of all files together
};

// [metrics]
struct MetricsConfig {
  std::string socket;  // for a collector; empty: none
};

// [[app]], [[server]] and [[policy]] blocks are in `catalog`.
struct Config {
  DaemonConfig daemon;
  KeyProviderConfig key_provider;
  HttpConfig http;
  AccessConfig access;
  AuditConfig audit;
  MetricsConfig metrics;
  Catalog catalog;

  // Of drop-ins. A drop-in with a problem is ignored as a whole, all else is in force.
  std::vector<ConfigProblem> problems;
};

// Everything that was found out about a configuration.
struct ConfigReport {
  Config config;                      // only to be used without `errors`
  std::vector<ConfigProblem> errors;  // of the main file: they stop the start
};

// What a configuration is read for.
enum class ConfigUse {
  kServe,  // by this process
  // By the service, as root or anybody else looks at it. All that is wrong is found, also in files
  // that others could write, or that the service could not read.
  kCheck,
};

// Reads `main_file`, then `<main_file>.d/*.toml`, then `<apps_dir>/*.toml`, each directory in the
// order of the names. Drop-ins hold [[app]] and [[server]] blocks only. Where an app's id or a
// server's name appears twice, the first stays and the later file has a problem. Finds all
// problems, not only the first. A file or a directory of drop-ins that others than root and the
// service's user could write is not used: see config_access.h.
ConfigReport ReadConfig(const std::string& main_file, ConfigUse use = ConfigUse::kServe,
                        const UserDatabase& users = UserDatabase());

// The same for a start. Errors: kConfigInvalid naming every error of the main file.
absl::StatusOr<Config> LoadConfig(const std::string& main_file);

// `smartkeyd --check-config`: writes every problem on a line, and what follows from them. Returns
// the exit code: 0 without any problem, 1 otherwise, also if only a drop-in would be ignored, or if
// a file could not be looked at. It is told, too, what the service's user could not read.
int CheckConfig(const std::string& main_file, std::ostream& out,
                const UserDatabase& users = UserDatabase());

}  // namespace smartkey
