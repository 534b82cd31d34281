// SPDX-License-Identifier: Apache-2.0
// What is told of a store that cannot be read, and what the administrator does about it.
#include <gtest/gtest.h>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

TEST_F(Services, WhileTheStoreCannotBeReadNothingIsSaidNotToExist) {
  const absl::Status damaged = WithRemedy(
      MakeError(Reason::kStoreUnavailable, "the database is damaged"), "recover the store");
  store_.BeUnavailable(damaged);
  for (const Caller& caller : {alice_, Administrator()}) {
    auto client = Connect(caller);
    auto registrations = v1::RegistrationService::NewStub(client->channel);
    grpc::ClientContext list_context, get_context, info_context;
    v1::ListRegistrationsResponse list;
    v1::GetRegistrationRequest get;
    v1::GetRegistrationResponse got;
    get.set_registration("mercy");
    for (const v1::ErrorDetail& detail :
         {DetailOf(registrations->ListRegistrations(&list_context, {}, &list)),
          DetailOf(registrations->GetRegistration(&get_context, get, &got))}) {
      EXPECT_EQ(detail.reason(), v1::ErrorDetail::STORE_UNAVAILABLE);
      EXPECT_EQ(detail.remedy(), "recover the store");
    }
    v1::GetServerInfoResponse info;
    ASSERT_TRUE(v1::ServerInfoService::NewStub(client->channel)
                    ->GetServerInfo(&info_context, {}, &info)
                    .ok());
    EXPECT_FALSE(info.store().available());
    EXPECT_EQ(info.store().cause().reason(), v1::ErrorDetail::STORE_UNAVAILABLE);
    EXPECT_EQ(info.store().problem(), "the database is damaged");
  }
  auto client = Connect(alice_);
  grpc::ClientContext by_name_context, by_app_context, begin_context;
  v1::GetAccessTokenRequest by_name, by_app;
  v1::GetAccessTokenResponse token;
  by_name.set_registration("mercy");
  by_app.mutable_context()->set_app("org.example.viewer");
  by_app.mutable_context()->set_fhir_base("https://ehr.example/fhir");
  v1::BeginEnrollmentRequest begin;
  v1::BeginEnrollmentResponse begun;
  begin.set_server("mercy");
  begin.set_redirect_uri("http://127.0.0.1:1234/callback");
  auto tokens = v1::TokenService::NewStub(client->channel);
  for (const v1::ErrorDetail& detail :
       {DetailOf(tokens->GetAccessToken(&by_name_context, by_name, &token)),
        DetailOf(tokens->GetAccessToken(&by_app_context, by_app, &token)),
        DetailOf(v1::EnrollmentService::NewStub(client->channel)
                     ->BeginEnrollment(&begin_context, begin, &begun))}) {
    EXPECT_EQ(detail.reason(), v1::ErrorDetail::STORE_UNAVAILABLE);
  }
}

// An administrator who believed it would remove the keys of everybody.
TEST_F(Services, WhileTheStoreCannotBeReadNoKeyIsCalledUnneeded) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "the database is damaged"));
  auto client = Connect(Administrator());
  grpc::ClientContext context;
  v1::ListStoredKeysResponse keys;
  EXPECT_EQ(
      DetailOf(v1::AdminService::NewStub(client->channel)->ListStoredKeys(&context, {}, &keys))
          .reason(),
      v1::ErrorDetail::STORE_UNAVAILABLE);
}

TEST_F(Services, AStoreInOrderIsSaidToBe) {
  auto client = Connect(alice_);
  grpc::ClientContext context;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(
      v1::ServerInfoService::NewStub(client->channel)->GetServerInfo(&context, {}, &info).ok());
  EXPECT_TRUE(info.store().available());
  EXPECT_FALSE(info.store().has_cause());
}

TEST_F(Services, TheStatusTellsWhatTheAdministratorNeedsToKnowOfTheStore) {
  StoreCondition condition;
  condition.schema_version = 2;
  condition.copies = {{"copies/smartkeyd-20261125.db", absl::FromUnixSeconds(1'795'000'000)},
                      {"copies/smartkeyd-20261124.db"}};
  condition.copying = MakeError(Reason::kStoreUnavailable, "the disk is full");
  condition.set_aside = {"set-aside/20261120-070000"};
  condition.of_another_machine = true;
  maintenance_.SetCondition(condition);
  auto client = Connect(Administrator());
  grpc::ClientContext context;
  v1::GetStatusResponse status;
  ASSERT_TRUE(v1::AdminService::NewStub(client->channel)->GetStatus(&context, {}, &status).ok());
  const v1::StoreStatus& store = status.store();
  EXPECT_TRUE(store.available());
  EXPECT_EQ(store.schema_version(), 2u);
  ASSERT_EQ(store.copies_size(), 2);
  EXPECT_EQ(store.copies(0).file(), "copies/smartkeyd-20261125.db");
  EXPECT_EQ(store.copies(0).made_at().seconds(), 1'795'000'000);
  EXPECT_FALSE(store.copies(1).has_made_at());
  EXPECT_EQ(store.copying_error().reason(), v1::ErrorDetail::STORE_UNAVAILABLE);
  ASSERT_EQ(store.set_aside_size(), 1);
  EXPECT_EQ(store.set_aside(0), "set-aside/20261120-070000");
  EXPECT_TRUE(store.of_another_machine());
}

TEST_F(Services, TheStoreIsRecoveredResetAndAdopted) {
  StoreRecovery recovery;
  recovery.from_memory = 1;
  recovery.from_damaged_file = 2;
  recovery.from_copy = 3;
  recovery.copy = {"copies/smartkeyd-20261125.db", absl::FromUnixSeconds(1'795'000'000)};
  recovery.incomplete = true;
  recovery.set_aside = "set-aside/x";
  maintenance_.SetRecovery(recovery);
  maintenance_.SetReset(std::string("set-aside/y"));
  auto client = Connect(Administrator());
  auto stub = v1::AdminService::NewStub(client->channel);
  grpc::ClientContext recover_context, reset_context, adopt_context;
  v1::RecoverStoreRequest request;
  request.set_copy("smartkeyd-20261125.db");
  v1::RecoverStoreResponse recovered;
  ASSERT_TRUE(stub->RecoverStore(&recover_context, request, &recovered).ok());
  EXPECT_EQ(recovered.from_memory(), 1u);
  EXPECT_EQ(recovered.from_damaged_file(), 2u);
  EXPECT_EQ(recovered.from_copy(), 3u);
  EXPECT_EQ(recovered.copy().file(), "copies/smartkeyd-20261125.db");
  EXPECT_EQ(recovered.copy().made_at().seconds(), 1'795'000'000);
  EXPECT_TRUE(recovered.incomplete());
  EXPECT_EQ(recovered.set_aside(), "set-aside/x");
  v1::ResetStoreResponse reset;
  ASSERT_TRUE(stub->ResetStore(&reset_context, {}, &reset).ok());
  EXPECT_EQ(reset.set_aside(), "set-aside/y");
  v1::AdoptStoreResponse adopted;
  ASSERT_TRUE(stub->AdoptStore(&adopt_context, {}, &adopted).ok());
  EXPECT_EQ(maintenance_.calls(),
            (std::vector<std::string>{"recover smartkeyd-20261125.db", "reset", "adopt"}));
}

TEST_F(Services, WhatTheStoreRefusesArrivesWithItsReason) {
  maintenance_.SetRecovery(MakeError(Reason::kInvalidArgument, "the database is in order"));
  maintenance_.SetReset(MakeError(Reason::kStoreUnavailable, "the disk is full"));
  auto client = Connect(Administrator());
  auto stub = v1::AdminService::NewStub(client->channel);
  grpc::ClientContext recover_context, reset_context;
  v1::RecoverStoreResponse recovered;
  EXPECT_EQ(DetailOf(stub->RecoverStore(&recover_context, {}, &recovered)).reason(),
            v1::ErrorDetail::INVALID_ARGUMENT);
  v1::ResetStoreResponse reset;
  EXPECT_EQ(DetailOf(stub->ResetStore(&reset_context, {}, &reset)).reason(),
            v1::ErrorDetail::STORE_UNAVAILABLE);
}

}  // namespace
}  // namespace smartkey
