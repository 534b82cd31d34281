// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "base/user_database.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/access_requests.h"
#include "daemon/access/audit_log.h"
#include "daemon/access/registration_feed.h"
#include "daemon/enrollment/enrollment_manager.h"
#include "daemon/enrollment/registration_remover.h"
#include "daemon/enrollment/registration_suspender.h"
#include "daemon/http/http_client.h"
#include "daemon/model/catalog.h"
#include "daemon/model/config_reload.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/connection_server.h"
#include "daemon/rpc/name_lookups.h"
#include "daemon/store/registration_store.h"
#include "daemon/store/store_maintenance.h"
#include "daemon/token/assertion_issuer.h"
#include "daemon/token/standing.h"
#include "daemon/token/token_manager.h"
#include "hsm/key_service.h"

namespace smartkey {

// What the daemon knows of itself and its services pass on.
struct ServiceInfo {
  std::string version;
  std::string key_provider;  // as configured: "tpm", "pkcs11"
  BootTime started;
  // Of the server that these services are served by; asked for each time, so it may be made after
  // them.
  std::function<ConnectionServer::Stats()> connections;
  // The metrics as text, for Prometheus.
  std::function<std::string()> metrics;
  // Makes a signature in the hardware that nobody gets, and verifies it; for diagnostics.
  std::function<void(absl::AnyInvocable<void(absl::Status)>)> try_signing;
  std::string state_dir;
};

// What the services translate to. Everything outlives the ConnectionServer that uses them.
struct ServiceParts {
  const CurrentCatalog& catalog;
  const AccessPolicy& access;
  const Standings& standings;
  RegistrationStore& store;
  StoreMaintenance& maintenance;
  KeyService& keys;
  HttpClient& http;
  TokenManager& tokens;
  const AssertionIssuer& assertions;
  EnrollmentManager& enrollments;
  RegistrationRemover& remover;
  RegistrationSuspender& suspender;
  RegistrationFeed& feed;
  AccessRequests& access_requests;
  AuditLog& audit;
  Scheduler& scheduler;
  Scheduler& watch_scheduler;  // wakes those who watch, a thousand at a time
  NameLookups& name_lookups;
  const UserDatabase& users;
  ConfigReloader& config;
  const Clock& clock;
  ServiceInfo info;
};

// Each factory has a CallLimiter of its own, for all connections made by it: call it once for a
// socket.
//
// The services of the public socket: all but AdminService.
ServicesFactory PublicServices(const ServiceParts& parts);
// Those of the admin socket: AdminService, EnrollmentService (for others), RegistrationService,
// SharingService, ServerInfoService.
ServicesFactory AdminServices(const ServiceParts& parts);

}  // namespace smartkey
