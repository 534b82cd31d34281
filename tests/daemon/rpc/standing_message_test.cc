// SPDX-License-Identifier: Apache-2.0
// What callers are shown of registrations that do not simply work, and what they may say of tokens.
#include "smartkey/v1/admin.grpc.pb.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

TEST_F(Services, ARenewalForAnotherPatientIsShownToTheOwnerAlone) {
  const std::string id = AddRegistration("mercy");
  store_.Update(
      id,
      [](Registration& registration) {
        Generation renewal;
        renewal.number = 2;
        renewal.enrollment_id = "enrollment-2";
        renewal.state = GenerationState::kContextChanged;
        renewal.patient = Identifying("patient-2");
        renewal.fhir_user = Identifying("Patient/patient-2");
        registration.generations.push_back(renewal);
        return absl::OkStatus();
      },
      [](absl::StatusOr<RegistrationStore::Snapshot> updated) { EXPECT_TRUE(updated.ok()); });
  v1::GetRegistrationRequest request;
  request.set_registration(id);
  const auto get = [&](Client& client) {
    grpc::ClientContext context;
    v1::GetRegistrationResponse response;
    EXPECT_TRUE(v1::RegistrationService::NewStub(client.channel)
                    ->GetRegistration(&context, request, &response)
                    .ok());
    return response.registration();
  };
  const v1::Registration own = get(*Connect(alice_));
  EXPECT_EQ(own.state(), v1::CONTEXT_CHANGED);
  EXPECT_EQ(own.patient(), "patient-1");
  EXPECT_EQ(own.other_patient(), "patient-2");
  EXPECT_EQ(own.other_fhir_user(), "Patient/patient-2");
  EXPECT_EQ(own.cause().reason(), v1::ErrorDetail::CONTEXT_CHANGED);
  EXPECT_EQ(own.generation().number(), 1u);
  EXPECT_EQ(own.next_generation().state(), v1::CONTEXT_CHANGED);
  const v1::Registration administered = get(*Connect(Administrator()));
  EXPECT_EQ(administered.state(), v1::CONTEXT_CHANGED);
  EXPECT_EQ(administered.ShortDebugString().find("patient-"), std::string::npos);
}

TEST_F(Services, AServerThatRefusesSeveralIsSaidToAndARemovedOneToo) {
  for (const char* name : {"a", "b"}) {
    store_.Update(
        AddRegistration(name),
        [this](Registration& registration) {
          Generation& generation = registration.generations[0];
          generation.state = GenerationState::kSuspect;
          generation.refusals = 2;
          generation.first_refusal_at = generation.last_refusal_at = clock_.Now();
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> updated) { EXPECT_TRUE(updated.ok()); });
  }
  auto admin = Connect(Administrator());
  const auto server = [&] {
    grpc::ClientContext context;
    v1::GetStatusResponse status;
    EXPECT_TRUE(v1::AdminService::NewStub(admin->channel)->GetStatus(&context, {}, &status).ok());
    EXPECT_EQ(status.servers_size(), 1);
    return status.servers(0);
  };
  EXPECT_EQ(server().state(), v1::ServerStatus::REFUSING_ALL);

  auto owner = Connect(alice_);
  v1::ListServersResponse servers;
  grpc::ClientContext servers_context;
  ASSERT_TRUE(v1::ServerInfoService::NewStub(owner->channel)
                  ->ListServers(&servers_context, {}, &servers)
                  .ok());
  ASSERT_EQ(servers.servers_size(), 1);
  EXPECT_TRUE(servers.servers(0).refusing_all());
  auto stub = v1::RegistrationService::NewStub(owner->channel);
  v1::ListRegistrationsResponse list;
  grpc::ClientContext list_context;
  ASSERT_TRUE(stub->ListRegistrations(&list_context, {}, &list).ok());
  ASSERT_EQ(list.registrations_size(), 2);
  EXPECT_EQ(list.registrations(0).cause().reason(), v1::ErrorDetail::SERVER_REFUSING_ALL);
  EXPECT_TRUE(list.registrations(0).has_next_attempt_at());

  Catalog renamed = MakeCatalog();
  renamed.servers[0].name = "mercy-hospital";
  catalog_.Set(renamed);
  EXPECT_EQ(server().name(), "mercy-hospital");
  EXPECT_EQ(server().registrations(), 2u);
  catalog_.Set(Catalog());
  EXPECT_EQ(server().state(), v1::ServerStatus::REMOVED);
  EXPECT_EQ(server().name(), "mercy");
}

TEST_F(Services, ARejectedTokenIsDroppedForItsOwnerOnly) {
  AddRegistration("mercy");
  v1::ReportRejectedTokenRequest request;
  request.set_registration("mercy");
  const auto report = [&](Client& client, v1::ReportRejectedTokenResponse* response) {
    grpc::ClientContext context;
    return v1::TokenService::NewStub(client.channel)
        ->ReportRejectedToken(&context, request, response);
  };
  auto owner = Connect(alice_);
  v1::ReportRejectedTokenResponse response;
  EXPECT_EQ(DetailOf(report(*owner, &response)).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  request.set_access_token("a-token");
  ASSERT_TRUE(report(*owner, &response).ok());
  EXPECT_FALSE(response.dropped());  // none was fetched yet
  grpc::ClientContext context;
  v1::GetAccessTokenRequest get;
  v1::GetAccessTokenResponse token;
  get.set_registration("mercy");
  ASSERT_TRUE(
      v1::TokenService::NewStub(owner->channel)->GetAccessToken(&context, get, &token).ok());
  auto other = Connect(bob_);
  EXPECT_EQ(DetailOf(report(*other, &response)).reason(), v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  request.set_www_authenticate("Bearer error=\"insufficient_scope\", scope=\"patient/*.rs\"");
  EXPECT_EQ(DetailOf(report(*owner, &response)).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  request.set_www_authenticate("Bearer error=\"invalid_token\"");
  ASSERT_TRUE(report(*owner, &response).ok());
  EXPECT_TRUE(response.dropped());
  EXPECT_TRUE(response.refreshing());
}

}  // namespace
}  // namespace smartkey
