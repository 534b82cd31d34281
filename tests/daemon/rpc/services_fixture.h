// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/error.h"
#include "daemon/jose/jwk.h"
#include "daemon/rpc/process_setup.h"
#include "daemon/rpc/services.h"
#include "google/rpc/status.pb.h"
#include "smartkey/v1/admin.grpc.pb.h"
#include "smartkey/v1/enrollment.grpc.pb.h"
#include "smartkey/v1/registration.grpc.pb.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "smartkey/v1/sharing.grpc.pb.h"
#include "smartkey/v1/signing.grpc.pb.h"
#include "smartkey/v1/token.grpc.pb.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_audit_log.h"
#include "tests/fakes/fake_config_reloader.h"
#include "tests/fakes/fake_http_client.h"
#include "tests/fakes/fake_key_service.h"
#include "tests/fakes/fake_registration_store.h"
#include "tests/fakes/fake_store_maintenance.h"

namespace smartkey {

// Answers when the test says so, or at once.
class FakeMinter : public TokenMinter {
 public:
  void Mint(const Registration&, const Generation&, const ScopeSet&, KeyService::CallerKey,
            absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) override {
    if (!error.ok()) return done(error);
    if (hang) {
      held.push_back(std::move(done));
      return;
    }
    SystemClock clock;
    AccessToken token;
    token.value = Secret::CopyOf("a-token");
    token.expires = clock.Boot() + absl::Hours(1);
    token.expires_at = clock.Now() + absl::Hours(1);
    token.refresh_after = clock.Boot() + absl::Minutes(30);
    token.refresh_after_at = clock.Now() + absl::Minutes(30);
    token.granted = ParseScope("launch/patient patient/*.rs");
    token.patient = Identifying("patient-1");
    done(std::move(token));
  }

  absl::Status error;
  bool hang = false;
  std::vector<absl::AnyInvocable<void(absl::StatusOr<AccessToken>)>> held;
};

// The services of both sockets over socket pairs, with managers on fakes.
class Services : public testing::Test {
 protected:
  // A connection of `caller`, with the client's end as a channel.
  struct Client {
    std::unique_ptr<Connection> connection;
    std::shared_ptr<grpc::Channel> channel;
    ~Client() {
      channel.reset();
      if (connection != nullptr) connection->Shutdown();
    }
  };

  Services() : catalog_(MakeCatalog()) { PrepareProcessForRpc(); }

  static Catalog MakeCatalog() {
    Catalog catalog;
    App app;
    app.id = "org.example.viewer";
    app.redirect_uris = {"http://127.0.0.1/callback"};
    app.clients = {{{"*"}, "initial-client", "software"}};
    catalog.apps = {app};
    Server server;
    server.name = "mercy";
    server.fhir_base = "https://ehr.example/fhir";
    catalog.servers = {server};
    return catalog;
  }

  std::unique_ptr<Client> Connect(const Caller& caller) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    auto client = std::make_unique<Client>();
    const ServicesFactory& factory = caller.admin ? admin_services_ : public_services_;
    auto connection = Connection::Create(factory(caller), std::make_shared<CallTracker>(clock_),
                                         quota_, Connection::Limits());
    EXPECT_TRUE(connection.ok()) << connection.status();
    client->connection = *std::move(connection);
    client->connection->Serve(UniqueFd(fds[0]));
    client->channel = grpc::CreateInsecureChannelFromFd("test", fds[1]);
    return client;
  }

  // A registration of alice's that works.
  std::string AddRegistration(const std::string& name, uid_t owner = 1000,
                              const std::string& owner_name = "alice") {
    const CreatedKey key = keys_.MakeKey(SignatureAlgorithm::kEs256);
    Generation generation;
    generation.state = GenerationState::kActive;
    generation.enrollment_id = "enrollment-" + name + "-" + owner_name;
    generation.key = key.reference;
    generation.public_key = key.public_key;
    generation.thumbprint = JwkThumbprint(key.public_key);
    generation.client_id = "client-" + name + "-" + owner_name;
    generation.token_endpoint = "https://ehr.example/token";
    generation.assertion_audience = "https://ehr.example/token";
    generation.granted_scope = "launch/patient patient/*.rs";
    generation.created_at = generation.registered_at = generation.first_token_at = clock_.Now();
    Registration registration;
    registration.id = "id-" + name + "-" + owner_name;
    registration.owner_uid = owner;
    registration.owner_name = owner_name;
    registration.app_id = "org.example.viewer";
    registration.server_name = "mercy";
    registration.fhir_base = "https://ehr.example/fhir";
    registration.name = Identifying(name);
    registration.label = Identifying("Mum");
    registration.patient = Identifying("patient-1");
    registration.fhir_user = Identifying("https://ehr.example/fhir/Practitioner/7");
    registration.created_at = clock_.Now();
    registration.generations = {generation};
    store_.Insert(registration, [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
    return registration.id;
  }

  static v1::ErrorDetail DetailOf(const grpc::Status& status) {
    google::rpc::Status wire;
    v1::ErrorDetail detail;
    EXPECT_TRUE(wire.ParseFromString(status.error_details()));
    EXPECT_TRUE(wire.details_size() == 1 && wire.details(0).UnpackTo(&detail));
    return detail;
  }

  static void ExpectNotImplemented(const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
    const v1::ErrorDetail detail = DetailOf(status);
    EXPECT_EQ(detail.reason(), v1::ErrorDetail::NOT_IMPLEMENTED);
    EXPECT_FALSE(detail.remedy().empty());
  }

  const Caller alice_ = User(1000, "alice");
  const Caller bob_ = User(1001, "bob");

  SystemClock clock_;
  CurrentCatalog catalog_;
  FakeRegistrationStore store_;
  FakeKeyService keys_;
  FakeMinter minter_;
  FakeHttpClient http_{clock_};
  FakeAuditLog audit_;
  AccessPolicy access_{store_, catalog_, clock_, &audit_};
  JwtSigner signer_{keys_};
  AssertionIssuer assertions_{catalog_, signer_, clock_};
  Standings standings_{store_, catalog_, keys_, "fake", clock_};
  grpc::ResourceQuota quota_;
  NameLookups name_lookups_{scheduler_};
  // Ends before what its tasks may call.
  TimerThread scheduler_{clock_};
  TokenManager tokens_{catalog_, store_, minter_, scheduler_, clock_};
  EnrollmentManager enrollments_{EnrollmentManager::Parts{catalog_, access_, store_, keys_, http_,
                                                          tokens_, scheduler_, clock_}};
  RevocationEndpoint revocation_{http_};
  TokenRevoker revoker_{signer_, revocation_, clock_};
  RegistrationRemover remover_{store_, keys_, tokens_, revoker_, scheduler_};
  RegistrationSuspender suspender_{store_, access_, tokens_, clock_};
  RegistrationFeed feed_{store_, access_, scheduler_, clock_};
  AccessRequests access_requests_{store_, access_, scheduler_, clock_};
  FakeStoreMaintenance maintenance_;
  FakeConfigReloader config_;
  // alice, bob, the service viewer and the group clinic, and nobody else.
  const UserDatabase users_{[](uid_t uid) -> absl::StatusOr<UserEntry> {
                              switch (uid) {
                                case 1000:
                                  return UserEntry{"alice", "/bin/bash", 1000};
                                case 1001:
                                  return UserEntry{"bob", "/bin/bash", 1001};
                                case 990:
                                  return UserEntry{"viewer", "/usr/sbin/nologin", 990};
                                default:
                                  return UserEntry();
                              }
                            },
                            [](const UserEntry& user) { return std::vector<gid_t>{user.gid}; },
                            [](const std::string& name) -> absl::StatusOr<absl::optional<uid_t>> {
                              if (name == "alice") return absl::optional<uid_t>(1000);
                              if (name == "bob") return absl::optional<uid_t>(1001);
                              if (name == "viewer") return absl::optional<uid_t>(990);
                              return absl::optional<uid_t>();
                            },
                            [](const std::string& name) -> absl::StatusOr<absl::optional<gid_t>> {
                              return name == "clinic" ? absl::optional<gid_t>(2000) : absl::nullopt;
                            },
                            [](gid_t gid) -> absl::StatusOr<std::string> {
                              return std::string(gid == 2000 ? "clinic" : "");
                            }};
  ServiceParts parts_{catalog_,     access_,
                      standings_,   store_,
                      maintenance_, keys_,
                      http_,        tokens_,
                      assertions_,  enrollments_,
                      remover_,     suspender_,
                      feed_,        access_requests_,
                      audit_,       scheduler_,
                      scheduler_,   name_lookups_,
                      users_,       config_,
                      clock_,       {"1.2.3", "tpm", clock_.Boot(), {}, {}, {}, "/"}};
  const ServicesFactory public_services_ = PublicServices(parts_);
  const ServicesFactory admin_services_ = AdminServices(parts_);
};

}  // namespace smartkey
