// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/daemon.h"

#include <systemd/sd-daemon.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "base/duration.h"
#include "base/error.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "base/user_database.h"
#include "daemon/access/access_policy.h"
#include "daemon/access/registration_feed.h"
#include "daemon/access/share_ends.h"
#include "daemon/app/config_reloads.h"
#include "daemon/app/journal.h"
#include "daemon/app/key_provider_factory.h"
#include "daemon/app/machine_identity.h"
#include "daemon/app/metrics.h"
#include "daemon/app/metrics_server.h"
#include "daemon/app/token_keeper.h"
#include "daemon/audit/audit_key.h"
#include "daemon/audit/audit_trail.h"
#include "daemon/enrollment/enrollment_manager.h"
#include "daemon/enrollment/idle_registrations.h"
#include "daemon/enrollment/registration_remover.h"
#include "daemon/enrollment/registration_suspender.h"
#include "daemon/enrollment/stray_keys.h"
#include "daemon/http/curl/curl_http_client.h"
#include "daemon/jose/jwt_signer.h"
#include "daemon/oauth/revocation_endpoint.h"
#include "daemon/oauth/token_endpoint.h"
#include "daemon/rpc/connection_server.h"
#include "daemon/rpc/listener.h"
#include "daemon/rpc/process_setup.h"
#include "daemon/rpc/services.h"
#include "daemon/rpc/status_message.h"
#include "daemon/store/sqlite/sqlite_registration_store.h"
#include "daemon/store/store_upkeep.h"
#include "daemon/token/assertion_issuer.h"
#include "daemon/token/hardware_watch.h"
#include "daemon/token/token_manager.h"
#include "daemon/token/token_minter.h"
#include "daemon/token/token_revoker.h"
#include "hsm/key_worker.h"

namespace smartkey {

namespace {

constexpr absl::Duration kCallsMayEnd = absl::Seconds(2);
constexpr absl::Duration kConnectionsMayEnd = absl::Seconds(6);
constexpr absl::Duration kRecordMayBeWritten = absl::Seconds(3);
constexpr absl::Duration kAuditMayBeWritten = absl::Seconds(1);
constexpr absl::Duration kHealthInterval = absl::Seconds(1);
constexpr absl::Duration kHardwareInterval = absl::Minutes(5);
constexpr absl::Duration kHardwareMayCome = absl::Seconds(10);
constexpr char kAuditInStateDir[] = "/audit";

// The socket that systemd passed under that name, or one of our own.
absl::StatusOr<Listener> MakeListener(std::vector<InheritedFd>& inherited, absl::string_view name,
                                      Listener::Options options) {
  for (InheritedFd& one : inherited) {
    if (one.name == name) return Listener::FromInherited(std::move(one.fd));
  }
  return Listener::Create(std::move(options));
}

AuditTrail::Options MakeAuditOptions(const Config& config) {
  AuditTrail::Options options;
  options.files.directory = config.daemon.state_dir + kAuditInStateDir;
  options.files.retention = ParseDuration(config.audit.retention).value();
  options.files.max_size = uint64_t{1} << 20;
  options.files.max_size *= static_cast<uint64_t>(config.audit.max_size_mb);
  options.deny_when_full = config.audit.on_full == "deny";
  options.publish = [](const AuditHead& head, const std::string& thumbprint) {
    return PublishAuditHead(head, thumbprint);
  };
  return options;
}

ServiceInfo MakeServiceInfo(const Config& config, const Clock& clock) {
  ServiceInfo info;
  info.version = SMARTKEY_VERSION;
  info.key_provider = config.key_provider.type;
  info.started = clock.Boot();
  info.state_dir = config.daemon.state_dir;
  return info;
}

}  // namespace

// In the order of their making; each may use those above it.
struct Daemon::Parts {
  Parts(const Config& config, const Clock& clock) : clock(clock), catalog(config.catalog) {}

  const Clock& clock;
  CurrentCatalog catalog;
  Metrics metrics;
  std::unique_ptr<TimerThread> scheduler;
  std::unique_ptr<SqliteRegistrationStore> store;
  std::unique_ptr<StoreUpkeep> upkeep;
  std::unique_ptr<CurlHttpClient> curl;
  std::unique_ptr<MeasuredHttpClient> http;
  std::unique_ptr<AuditTrail> audit;
  std::unique_ptr<AccessPolicy> access;
  std::unique_ptr<TimerThread> watch_thread;
  const UserDatabase users;
  std::unique_ptr<TimerThread> name_thread;
  std::unique_ptr<NameLookups> name_lookups;
  std::unique_ptr<ShareEnds> share_ends;
  std::unique_ptr<RegistrationFeed> feed;
  std::unique_ptr<AccessRequests> access_requests;
  std::unique_ptr<HardwareWatch> hardware_watch;
  std::unique_ptr<MeasuredKeys> measured_keys;
  std::unique_ptr<KeyWorker> keys;
  std::unique_ptr<AuditKey> audit_key;
  std::unique_ptr<JwtSigner> signer;
  std::unique_ptr<TokenEndpoint> token_endpoint;
  std::unique_ptr<AssertionTokenMinter> minter;
  std::unique_ptr<TokenManager> tokens;
  std::unique_ptr<TokenKeeper> keeper;
  std::unique_ptr<Standings> standings;
  std::unique_ptr<AssertionIssuer> assertions;
  std::unique_ptr<EnrollmentManager> enrollments;
  std::unique_ptr<RevocationEndpoint> revocation_endpoint;
  std::unique_ptr<TokenRevoker> revoker;
  std::unique_ptr<RegistrationRemover> remover;
  std::unique_ptr<RegistrationSuspender> suspender;
  std::unique_ptr<IdleRegistrations> idle;
  std::unique_ptr<ConfigReloads> reloads;
  std::unique_ptr<ServiceParts> services;
  std::unique_ptr<ConnectionServer> server;
  std::unique_ptr<MetricsServer> metrics_server;
  std::atomic<ConnectionServer*> serving{nullptr};
};

// Whether its key can be had is part of how a registration stands.
void Daemon::NoteHardware(Parts& parts) {
  // Not here: the hardware's thread has signatures to make.
  parts.watch_thread->RunAfter(absl::ZeroDuration(), [&parts] {
    for (const RegistrationStore::Snapshot& one : parts.store->List()) {
      parts.feed->NoteChange(one->id);
    }
  });
}

std::string Daemon::MetricsText(Parts& parts) {
  v1::GetStatusResponse status;
  FillStatus(*parts.services, &status);
  return parts.metrics.ToText(status);
}

// For grpc.health.v1: "" is the process, which serves as long as it answers; "readiness" says
// whether it could get a token that is not cached, as far as this machine goes. A server that is
// down is no reason to take this one away from anybody.
void Daemon::LookAtHealth(Parts& parts) {
  const bool ready =
      parts.keys->status().state == ProviderState::kReady && parts.store->health().ok();
  parts.server->SetHealth("readiness", ready);
  parts.scheduler->RunAfter(kHealthInterval, [&parts] { LookAtHealth(parts); });
}

// The TPM's counter is asked for now and then, not with each look at the metrics.
void Daemon::LookAtHardware(Parts& parts) {
  const bool ready = parts.keys->status().state == ProviderState::kReady;
  if (ready) {
    parts.keys->Inspect([&parts](absl::StatusOr<HardwareCondition> condition) {
      if (condition.ok()) parts.metrics.OnHardwareCondition(*condition);
    });
  }
  parts.scheduler->RunAfter(ready ? kHardwareInterval : kHardwareMayCome,
                            [&parts] { LookAtHardware(parts); });
}

// Registrations whose server came, went or was renamed stand otherwise now.
void Daemon::TakeUpCatalog(Parts& parts, const Catalog& before, const Catalog& after) {
  bool any = false;
  const bool other_policies = before.policies != after.policies;
  for (const RegistrationStore::Snapshot& one : parts.store->List()) {
    const Server* old = before.FindServerOf(*one);
    const Server* now = after.FindServerOf(*one);
    // Who has a share by policy no more is told, and his streams end.
    if (other_policies) parts.feed->NoteChange(one->id);
    if ((old == nullptr) == (now == nullptr) && (now == nullptr || old->name == now->name))
      continue;
    any = true;
    parts.feed->NoteChange(one->id);
  }
  // Those that were refused have not been tried while their server was gone.
  if (any) parts.tokens->Recover();
}

void Daemon::Reload() {
  parts_.reloads->Run();
}

Daemon::Daemon(Parts& parts) : parts_(parts) {}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const std::string& config_file,
                                                      const Config& config, const Clock& clock,
                                                      std::function<void()> wake) {
  auto parts = std::make_unique<Parts>(config, clock);
  Parts& p = *parts;
  auto store = SqliteRegistrationStore::Open(
      {config.daemon.state_dir, MachineIdentity(ReadMachineId())}, clock);
  if (!store.ok()) return Annotate(store.status(), "opening the database");
  p.store = *std::move(store);
  absl::StatusOr<KeyWorker::ProviderFactory> provider =
      MakeKeyProviderFactory(config, p.store->instance_id());
  if (!provider.ok()) return provider.status();

  CurlHttpOptions http_options;
  http_options.proxy = config.http.proxy;
  http_options.no_proxy = config.http.no_proxy;
  http_options.ca_file = config.http.ca_file;
  auto curl = CurlHttpClient::Create(std::move(http_options), clock);
  if (!curl.ok()) return curl.status();
  p.curl = *std::move(curl);
  p.http = std::make_unique<MeasuredHttpClient>(*p.curl, p.metrics, clock);

  p.scheduler = std::make_unique<TimerThread>(clock);
  p.audit = std::make_unique<AuditTrail>(MakeAuditOptions(config), clock);
  p.access = std::make_unique<AccessPolicy>(*p.store, p.catalog, clock, p.audit.get());
  // A change may wake a thousand watchers: on a thread where nothing else waits for its turn.
  p.watch_thread = std::make_unique<TimerThread>(clock);
  // LDAP may take its time: on a thread where nobody else waits for his turn.
  p.name_thread = std::make_unique<TimerThread>(clock);
  p.name_lookups = std::make_unique<NameLookups>(*p.name_thread);
  p.feed = std::make_unique<RegistrationFeed>(*p.store, *p.access, *p.watch_thread, clock);
  p.access_requests = std::make_unique<AccessRequests>(*p.store, *p.access, *p.watch_thread, clock);
  p.hardware_watch = std::make_unique<HardwareWatch>([&p] { NoteHardware(p); });
  p.measured_keys = std::make_unique<MeasuredKeys>(p.metrics, *p.hardware_watch);
  p.keys = std::make_unique<KeyWorker>(*std::move(provider), clock, *p.scheduler,
                                       KeyWorker::Options(), p.measured_keys.get());
  p.audit_key = std::make_unique<AuditKey>(*p.keys, *p.scheduler, *p.audit,
                                           config.daemon.state_dir + kAuditInStateDir,
                                           KeyLabel(p.store->instance_id(), kAuditKeyOwner, 1));
  p.audit->SignWith(*p.audit_key);
  p.signer = std::make_unique<JwtSigner>(*p.keys);
  p.token_endpoint = std::make_unique<TokenEndpoint>(*p.http, clock);
  p.minter = std::make_unique<AssertionTokenMinter>(*p.signer, *p.token_endpoint, clock);
  p.tokens = std::make_unique<TokenManager>(p.catalog, *p.store, *p.minter, *p.scheduler, clock);
  p.standings =
      std::make_unique<Standings>(*p.store, p.catalog, *p.keys, config.key_provider.type, clock);
  p.assertions = std::make_unique<AssertionIssuer>(p.catalog, *p.signer, clock);
  p.enrollments = std::make_unique<EnrollmentManager>(EnrollmentManager::Parts{
      p.catalog, *p.access, *p.store, *p.keys, *p.http, *p.tokens, *p.scheduler, clock});
  p.revocation_endpoint = std::make_unique<RevocationEndpoint>(*p.http);
  p.revoker = std::make_unique<TokenRevoker>(*p.signer, *p.revocation_endpoint, clock);
  p.remover =
      std::make_unique<RegistrationRemover>(*p.store, *p.keys, *p.tokens, *p.revoker, *p.scheduler);

  p.share_ends = std::make_unique<ShareEnds>(*p.store, *p.scheduler, clock);
  p.suspender = std::make_unique<RegistrationSuspender>(*p.store, *p.access, *p.tokens, clock);
  p.idle = std::make_unique<IdleRegistrations>(*p.store, p.catalog, *p.tokens, *p.scheduler, clock);
  p.reloads = std::make_unique<ConfigReloads>(
      config_file, config, p.catalog, clock, std::move(wake),
      [&p](const Catalog& before, const Catalog& after) { TakeUpCatalog(p, before, after); });

  RaiseFileLimit();
  absl::StatusOr<std::vector<InheritedFd>> inherited = TakeInheritedFds();
  if (!inherited.ok()) return inherited.status();
  p.keeper = std::make_unique<TokenKeeper>(*inherited);
  const absl::optional<gid_t> admin_group =
      LookUpGroup(config.daemon.admin_group).value_or(absl::nullopt);
  if (!admin_group.has_value()) {
    Log(LogLevel::kWarning, "the admin group is not to be found: root alone may administer",
        {{"group", config.daemon.admin_group}});
  }
  absl::StatusOr<Listener> listener =
      MakeListener(*inherited, "smartkeyd", {config.daemon.socket, 0666, absl::nullopt});
  if (!listener.ok()) return listener.status();
  absl::StatusOr<Listener> admin_listener =
      MakeListener(*inherited, "smartkeyd-admin", {config.daemon.admin_socket, 0660, admin_group});
  if (!admin_listener.ok()) return admin_listener.status();

  p.services.reset(new ServiceParts{p.catalog,       *p.access,
                                    *p.standings,    *p.store,
                                    *p.store,        *p.keys,
                                    *p.http,         *p.tokens,
                                    *p.assertions,   *p.enrollments,
                                    *p.remover,      *p.suspender,
                                    *p.feed,         *p.access_requests,
                                    *p.audit,        *p.scheduler,
                                    *p.watch_thread, *p.name_lookups,
                                    p.users,         *p.reloads,
                                    clock,           MakeServiceInfo(config, clock)});
  // A first call may come before Start has returned the server.
  p.services->info.connections = [&p] {
    const ConnectionServer* serving = p.serving.load();
    return serving != nullptr ? serving->stats() : ConnectionServer::Stats();
  };

  p.services->info.metrics = [&p] { return MetricsText(p); };
  p.services->info.try_signing = [&p](absl::AnyInvocable<void(absl::Status)> done) {
    p.audit_key->Sign("smartkeyd doctor",
                      [done = std::move(done)](absl::StatusOr<AuditSignature> made) mutable {
                        done(made.status());
                      });
  };
  absl::optional<Listener> metrics_listener;
  if (!config.metrics.socket.empty()) {
    absl::StatusOr<Listener> made =
        Listener::Create({config.metrics.socket, 0660, admin_group, /*mode_without_group=*/0600});
    if (!made.ok()) return Annotate(made.status(), "[metrics] socket");
    metrics_listener.emplace(*std::move(made));
  }

  // From here on callbacks are under way in other threads, which may need any of the parts: they
  // are not destroyed any more (see Shutdown).
  Parts& running = *parts.release();
  const auto take_up = [&running, pkcs11 = config.key_provider.type == "pkcs11",
                        instance = running.store->instance_id()] {
    if (pkcs11 && running.store->instance_id() != instance) {
      Log(LogLevel::kWarning,
          "restart smartkeyd: which keys in the token are its own could not be known at the start");
    }
    running.keeper->Start(*running.tokens, running.store->instance_id());
    running.remover->Recover();
    running.enrollments->Recover();
    running.share_ends->Start();
    running.idle->Start();
    running.tokens->Recover();
    ReportStrayKeys(*running.keys, *running.store, *running.audit);
  };
  // Where they cannot be read now, later: nobody has been told of any until then.
  if (running.store->availability().ok()) take_up();
  running.store->OnTakenUp(take_up);
  running.upkeep = std::make_unique<StoreUpkeep>(*running.store, *running.scheduler);

  std::vector<ConnectionServer::Endpoint> endpoints;
  endpoints.push_back({*std::move(listener), PublicServices(*p.services), false, absl::nullopt});
  endpoints.push_back({*std::move(admin_listener), AdminServices(*p.services), true, admin_group});
  ConnectionServer::Options server_options;
  server_options.hold_callers = config.access.peer_pidfd;
  server_options.calls = &running.metrics;
  server_options.on_refused_admin = [&audit = p.services->audit](const Caller& caller,
                                                                 const absl::Status& refusal) {
    audit.NoteRefusal(caller, "access/administer", "", refusal);
  };
  // The watchdog lives on the accept thread and the store's: a chip that hangs must not end the
  // process that still has good tokens.
  server_options.heartbeat = [&store = *p.store, &clock, next = BootTime()]() mutable {
    // Called at every turn of the accept loop: once a second is plenty.
    if (clock.Boot() < next) return;
    next = clock.Boot() + absl::Seconds(1);
    store.Ping([] { sd_notify(0, "WATCHDOG=1"); });
  };
  auto server = ConnectionServer::Start(std::move(endpoints), std::move(server_options), clock);
  if (!server.ok()) return server.status();
  running.server = *std::move(server);
  running.serving.store(running.server.get());
  if (metrics_listener.has_value()) {
    running.metrics_server = std::make_unique<MetricsServer>(
        *std::move(metrics_listener), [&running] { return MetricsText(running); });
  }
  LookAtHealth(running);
  running.scheduler->RunAfter(kHardwareMayCome, [&running] { LookAtHardware(running); });
  running.audit->Note(nullptr, "smartkeyd/start", "", absl::OkStatus(),
                      {{"version", SMARTKEY_VERSION}});
  return std::unique_ptr<Daemon>(new Daemon(running));
}

bool Daemon::Shutdown() {
  // Watches never end by themselves: their clients are told why they do now.
  parts_.feed->Stop();
  parts_.access_requests->Stop();
  const bool quiet = parts_.server->Shutdown(kCallsMayEnd, kConnectionsMayEnd);
  // Whatever is under way in managers gets no callers any more; what the store was given is
  // written.
  struct Flushed {
    Mutex mu;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mu) = false;
  };
  auto flushed = std::make_shared<Flushed>();
  parts_.store->FoldLog([flushed] {
    MutexLock lock(flushed->mu);
    flushed->done = true;
    flushed->changed.NotifyAll();
  });
  const BootTime end = parts_.clock.Boot() + kRecordMayBeWritten;
  MutexLock lock(flushed->mu);
  while (!flushed->done && parts_.clock.Boot() < end) {
    flushed->changed.WaitFor(flushed->mu, end - parts_.clock.Boot());
  }
  parts_.audit->Note(nullptr, "smartkeyd/stop", "", absl::OkStatus(), {});
  const bool audited = parts_.audit->Flush(kAuditMayBeWritten);
  return quiet && flushed->done && audited;
}

}  // namespace smartkey
