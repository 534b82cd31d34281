// SPDX-License-Identifier: Apache-2.0
// What administrators are told over the admin socket, and that nobody else is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "hsm/thumbprint.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

TEST_F(Services, StatusCountsWhatThereIs) {
  AddRegistration("a");
  AddRegistration("b");
  store_.FailWrites(MakeError(Reason::kStoreFull, "disk full"));
  auto client = Connect(Administrator());
  grpc::ClientContext context;
  v1::GetStatusResponse status;
  ASSERT_TRUE(v1::AdminService::NewStub(client->channel)->GetStatus(&context, {}, &status).ok());
  EXPECT_EQ(status.version(), "1.2.3");
  ASSERT_EQ(status.registrations_size(), 1);
  EXPECT_EQ(status.registrations(0).state(), v1::ACTIVE);
  EXPECT_EQ(status.registrations(0).count(), 2u);
  ASSERT_EQ(status.servers_size(), 1);
  EXPECT_EQ(status.servers(0).registrations(), 2u);
  EXPECT_FALSE(status.store().available());
  EXPECT_EQ(status.store().cause().reason(), v1::ErrorDetail::STORE_FULL);
}

TEST_F(Services, StatusSaysHowTheHardwareDoesSinceWhenAndWhatNext) {
  const BootTime now = clock_.Boot();
  keys_.set_status(
      {.state = ProviderState::kDegraded,
       .last_error = MakeError(Reason::kHardwareTimeout, "hung"),
       .capabilities = ProviderCapabilities{.hardware = "IBM SW TPM", .detail = "firmware 1.2"},
       .queued = 3,
       .queue_limit = 64,
       .abandoned = 2,
       .since = now - absl::Hours(2),
       .next_attempt = now + absl::Seconds(60)});
  auto client = Connect(Administrator());
  grpc::ClientContext context, info_context;
  v1::GetStatusResponse status;
  ASSERT_TRUE(v1::AdminService::NewStub(client->channel)->GetStatus(&context, {}, &status).ok());
  const v1::HardwareStatus& hardware = status.hardware();
  EXPECT_EQ(hardware.hardware().state(), v1::DEGRADED);
  EXPECT_EQ(hardware.hardware().cause().reason(), v1::ErrorDetail::HARDWARE_TIMEOUT);
  EXPECT_EQ(hardware.detail(), "firmware 1.2");
  EXPECT_EQ(hardware.problem(), "hung");
  EXPECT_EQ(hardware.queue_depth(), 3u);
  EXPECT_EQ(hardware.queue_limit(), 64u);
  EXPECT_EQ(hardware.abandoned_operations(), 2u);
  // Both were told by the same clock a moment ago.
  EXPECT_NEAR(hardware.next_attempt_at().seconds() - hardware.hardware().since().seconds(),
              2 * 3600 + 60, 1);
  EXPECT_LE(hardware.hardware().since().seconds(), absl::ToUnixSeconds(clock_.Now()) - 2 * 3600);

  v1::GetServerInfoResponse info;
  ASSERT_TRUE(v1::ServerInfoService::NewStub(client->channel)
                  ->GetServerInfo(&info_context, {}, &info)
                  .ok());
  EXPECT_EQ(info.hardware().state(), v1::DEGRADED);
  EXPECT_TRUE(info.hardware().has_since());
}

TEST_F(Services, ProvisioningPassesThePasswordAndTellsTheKey) {
  auto client = Connect(Administrator());
  auto stub = v1::AdminService::NewStub(client->channel);
  v1::ProvisionTpmRequest request;
  v1::ProvisionTpmResponse response;
  request.set_owner_password("owner-password");
  {
    grpc::ClientContext context;
    EXPECT_EQ(DetailOf(stub->ProvisionTpm(&context, request, &response)).reason(),
              v1::ErrorDetail::NOT_IMPLEMENTED);
  }
  keys_.set_parent(
      ProvisionedParent{.handle = 0x81000001, .name = "\x01\xFF", .already_there = true});
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->ProvisionTpm(&context, request, &response).ok());
  }
  EXPECT_EQ(response.handle(), 0x81000001u);
  EXPECT_EQ(response.name(), "\x01\xFF");
  EXPECT_TRUE(response.already_there());
  EXPECT_EQ(keys_.owner_auths(), (std::vector<std::string>{"owner-password", "owner-password"}));
  keys_.set_parent(MakeError(Reason::kTpmHandleTaken, "taken"));
  grpc::ClientContext context;
  EXPECT_EQ(DetailOf(stub->ProvisionTpm(&context, request, &response)).reason(),
            v1::ErrorDetail::TPM_HANDLE_TAKEN);
}

TEST_F(Services, StoredKeysAreToldFromStrays) {
  AddRegistration("mercy");
  keys_.MakeKey(SignatureAlgorithm::kEs256);  // that no record knows
  auto client = Connect(Administrator());
  grpc::ClientContext context;
  v1::ListStoredKeysResponse stored;
  ASSERT_TRUE(
      v1::AdminService::NewStub(client->channel)->ListStoredKeys(&context, {}, &stored).ok());
  ASSERT_EQ(stored.keys_size(), 2);
  EXPECT_FALSE(stored.keys(0).stray());
  EXPECT_EQ(stored.keys(0).registration_id(), "id-mercy-alice");
  EXPECT_EQ(stored.keys(0).generation(), 1u);
  EXPECT_TRUE(stored.keys(1).stray());
}

TEST_F(Services, StrayKeysAreRemovedByIdOrAll) {
  AddRegistration("mercy");
  const CreatedKey stray = keys_.MakeKey(SignatureAlgorithm::kEs256);
  keys_.MakeKey(SignatureAlgorithm::kEs256);
  auto client = Connect(Administrator());
  auto stub = v1::AdminService::NewStub(client->channel);
  const auto remove = [&](const v1::RemoveStrayKeysRequest& request,
                          v1::RemoveStrayKeysResponse* removed) {
    grpc::ClientContext context;
    return stub->RemoveStrayKeys(&context, request, removed);
  };
  v1::RemoveStrayKeysRequest request;
  v1::RemoveStrayKeysResponse removed;
  EXPECT_EQ(DetailOf(remove(request, &removed)).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  request.add_ids(Thumbprint(stray.public_key));
  request.set_all(true);
  EXPECT_EQ(DetailOf(remove(request, &removed)).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  EXPECT_EQ(keys_.keys(), 3);

  request.set_all(false);
  ASSERT_TRUE(remove(request, &removed).ok());
  ASSERT_EQ(removed.keys_size(), 1);
  EXPECT_EQ(removed.keys(0).id(), Thumbprint(stray.public_key));
  EXPECT_FALSE(keys_.HasKey(stray.reference));
  ASSERT_EQ(audit_.entries("AdminService/RemoveStrayKeys").size(), 1u);
  EXPECT_THAT(
      audit_.entries("AdminService/RemoveStrayKeys")[0].facts,
      testing::Contains(testing::Pair("id", absl::BytesToHexString(Thumbprint(stray.public_key)))));

  request.clear_ids();
  request.set_all(true);
  ASSERT_TRUE(remove(request, &removed).ok());
  EXPECT_EQ(keys_.keys(), 1);
  EXPECT_EQ(audit_.entries("AdminService/RemoveStrayKeys").size(), 2u) << "a line for each";
}

TEST_F(Services, ThePublicSocketKnowsNoAdministration) {
  auto client = Connect(User(0, "root"));
  grpc::ClientContext context;
  v1::GetStatusResponse status;
  EXPECT_EQ(
      v1::AdminService::NewStub(client->channel)->GetStatus(&context, {}, &status).error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(Services, ReloadSaysWhatIsInForceNowAndWhatIsNot) {
  config_.SetAnswer(ConfigReload{
      {"server mercy is new"}, {"[http] proxy"}, {{"/etc/x.toml", 7, "unknown key 'sever'"}}});
  auto client = Connect(Administrator());
  grpc::ClientContext context;
  v1::ReloadConfigurationResponse reload;
  ASSERT_TRUE(
      v1::AdminService::NewStub(client->channel)->ReloadConfiguration(&context, {}, &reload).ok());
  ASSERT_EQ(reload.changes_size(), 1);
  EXPECT_EQ(reload.changes(0), "server mercy is new");
  ASSERT_EQ(reload.needs_restart_size(), 1);
  EXPECT_EQ(reload.needs_restart(0), "[http] proxy");
  ASSERT_EQ(reload.problems_size(), 1);
  EXPECT_EQ(reload.problems(0).file(), "/etc/x.toml");
  EXPECT_EQ(reload.problems(0).line(), 7u);
  EXPECT_TRUE(reload.problems(0).file_disabled());
}

TEST_F(Services, ReloadFails_ItsReasonIsTheErrorAndStatusHasAllMistakes) {
  config_.SetAnswer(MakeError(Reason::kConfigInvalid, "nothing was changed: /etc/main.toml:3: x"));
  config_.SetState({clock_.Now(),
                    {{"/etc/drop-in.toml", 1, "a problem"}},
                    {{"/etc/main.toml", 3, "x"}, {"/etc/main.toml", 4, "y"}}});
  auto client = Connect(Administrator());
  const auto stub = v1::AdminService::NewStub(client->channel);
  grpc::ClientContext context, status_context;
  v1::ReloadConfigurationResponse reload;
  const grpc::Status failed = stub->ReloadConfiguration(&context, {}, &reload);
  EXPECT_EQ(failed.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(DetailOf(failed).reason(), v1::ErrorDetail::CONFIG_INVALID);
  EXPECT_EQ(failed.error_message(), "nothing was changed: /etc/main.toml:3: x");
  v1::GetStatusResponse status;
  ASSERT_TRUE(stub->GetStatus(&status_context, {}, &status).ok());
  ASSERT_EQ(status.config_problems_size(), 1);
  EXPECT_TRUE(status.config_problems(0).file_disabled());
  ASSERT_EQ(status.reload_errors_size(), 2);
  EXPECT_EQ(status.reload_errors(1).line(), 4u);
  EXPECT_FALSE(status.reload_errors(1).file_disabled());
}

}  // namespace
}  // namespace smartkey
