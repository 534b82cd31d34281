// SPDX-License-Identifier: Apache-2.0
// The services over a real socket, with managers on fakes: what they translate, and what they say
// to whom.
#include <gtest/gtest.h>

#include <algorithm>

#include "nlohmann/json.hpp"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

TEST_F(Services, ATokenComesWithEverythingThatBelongsToIt) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  for (const v1::TokenSource source : {v1::FRESH, v1::CACHE}) {
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration("mercy");
    const grpc::Status status = stub->GetAccessToken(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.access_token(), "a-token");
    EXPECT_EQ(response.token_type(), "Bearer");
    EXPECT_EQ(response.source(), source);
    EXPECT_EQ(response.scope(), "launch/patient patient/*.rs");
    EXPECT_FALSE(response.scope_assumed());
    EXPECT_EQ(response.fhir_base(), "https://ehr.example/fhir");
    EXPECT_EQ(response.patient(), "patient-1");
    EXPECT_EQ(response.registration(), id);
    EXPECT_EQ(response.generation(), 1u);
    EXPECT_NEAR(response.expires_at().seconds(), absl::ToUnixSeconds(clock_.Now()) + 3600, 60);
  }
}

TEST_F(Services, ATokenIsFoundByAppFhirBaseAndPatient) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  const auto get = [&](const std::string& patient, v1::GetAccessTokenResponse* response) {
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    request.mutable_context()->set_app("org.example.viewer");
    request.mutable_context()->set_fhir_base("https://ehr.example/fhir/");
    request.mutable_context()->set_patient(patient);
    return stub->GetAccessToken(&context, request, response);
  };
  v1::GetAccessTokenResponse response;
  ASSERT_TRUE(get("", &response).ok());
  EXPECT_EQ(response.registration(), id);
  ASSERT_TRUE(get("patient-1", &response).ok());
  EXPECT_EQ(DetailOf(get("patient-2", &response)).reason(),
            v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  AddRegistration("mercy-2");
  EXPECT_EQ(DetailOf(get("", &response)).reason(), v1::ErrorDetail::REGISTRATION_AMBIGUOUS);
}

TEST_F(Services, SomebodyElsesRegistrationLooksExactlyLikeNone) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(bob_);
  auto tokens = v1::TokenService::NewStub(client->channel);
  auto registrations = v1::RegistrationService::NewStub(client->channel);
  auto signing = v1::SigningService::NewStub(client->channel);
  const auto ask = [&](const std::string& name, int method) {
    grpc::ClientContext context;
    if (method == 0) {
      v1::GetAccessTokenRequest request;
      v1::GetAccessTokenResponse response;
      request.set_registration(name);
      return tokens->GetAccessToken(&context, request, &response);
    }
    if (method == 1) {
      v1::UpdateRegistrationRequest request;
      v1::UpdateRegistrationResponse response;
      request.set_registration(name);
      request.set_name("not a valid name");
      return registrations->UpdateRegistration(&context, request, &response);
    }
    if (method == 2) {
      v1::DeleteRegistrationRequest request;
      v1::DeleteRegistrationResponse response;
      request.set_registration(name);
      return registrations->DeleteRegistration(&context, request, &response);
    }
    if (method == 3) {
      v1::GetRegistrationRequest request;
      v1::GetRegistrationResponse response;
      request.set_registration(name);
      return registrations->GetRegistration(&context, request, &response);
    }
    v1::SignClientAssertionRequest request;
    v1::SignClientAssertionResponse response;
    request.set_registration(name);
    return signing->SignClientAssertion(&context, request, &response);
  };
  for (int method = 0; method < 5; ++method) {
    const grpc::Status absent = ask("no-such", method);
    EXPECT_EQ(absent.error_code(), grpc::StatusCode::NOT_FOUND) << method;
    for (const std::string& name : {std::string("mercy"), id}) {
      const grpc::Status status = ask(name, method);
      EXPECT_EQ(status.error_code(), absent.error_code());
      EXPECT_EQ(status.error_message(), absent.error_message());
      EXPECT_EQ(status.error_details(), absent.error_details());
    }
  }
  grpc::ClientContext context;
  v1::ListRegistrationsResponse list;
  ASSERT_TRUE(registrations->ListRegistrations(&context, {}, &list).ok());
  EXPECT_EQ(list.registrations_size(), 0);
}

TEST_F(Services, AMintersErrorArrivesWithReasonAndRemedy) {
  AddRegistration("mercy");
  minter_.error = WithRetryAfter(MakeError(Reason::kServerBusy, "busy"), absl::Seconds(30));
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  grpc::ClientContext context;
  v1::GetAccessTokenRequest request;
  v1::GetAccessTokenResponse response;
  request.set_registration("mercy");
  const grpc::Status status = stub->GetAccessToken(&context, request, &response);
  EXPECT_EQ(static_cast<int>(status.error_code()),
            static_cast<int>(RowFor(Reason::kServerBusy).code));
  const v1::ErrorDetail detail = DetailOf(status);
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::SERVER_BUSY);
  EXPECT_TRUE(detail.has_retry_after());
}

TEST_F(Services, AnAbandonedTokenCallEndsAndItsFlightGoesOn) {
  AddRegistration("mercy");
  minter_.hang = true;
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  v1::GetAccessTokenRequest request;
  v1::GetAccessTokenResponse response;
  request.set_registration("mercy");
  EXPECT_EQ(stub->GetAccessToken(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(tokens_.status().flights, 1);
  minter_.held[0](MakeError(Reason::kNoNetwork, "none"));
  EXPECT_EQ(tokens_.status().flights, 0);
}

TEST_F(Services, MalformedTokenRequestsAreRefused) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  std::vector<v1::GetAccessTokenRequest> requests(4);
  for (auto& request : requests) request.set_registration("mercy");
  requests[0].clear_registration();
  requests[1].add_scopes("two scopes");
  requests[2].mutable_min_valid()->set_seconds(-1);
  requests[3].mutable_context()->set_app("org.example.viewer");
  for (const auto& request : requests) {
    grpc::ClientContext context;
    v1::GetAccessTokenResponse response;
    const grpc::Status status = stub->GetAccessToken(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.DebugString();
    EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  }
}

TEST_F(Services, ListsAreFilteredSortedAndPaged) {
  AddRegistration("c");
  AddRegistration("a");
  AddRegistration("b");
  AddRegistration("a", 1001, "bob");
  auto client = Connect(Administrator());
  auto stub = v1::RegistrationService::NewStub(client->channel);
  std::vector<std::string> seen;
  v1::ListRegistrationsRequest request;
  request.set_page_size(3);
  do {
    grpc::ClientContext context;
    v1::ListRegistrationsResponse response;
    ASSERT_TRUE(stub->ListRegistrations(&context, request, &response).ok());
    EXPECT_LE(response.registrations_size(), 3);
    for (const auto& one : response.registrations()) {
      seen.push_back(one.owner().name() + "/" + one.name());
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, (std::vector<std::string>{"alice/a", "alice/b", "alice/c", "bob/a"}));

  request.mutable_filter()->set_owner("uid:1001");
  request.mutable_filter()->set_fhir_base("https://ehr.example/fhir/");
  request.mutable_filter()->add_states(v1::ACTIVE);
  grpc::ClientContext context;
  v1::ListRegistrationsResponse response;
  ASSERT_TRUE(stub->ListRegistrations(&context, request, &response).ok());
  ASSERT_EQ(response.registrations_size(), 1);
  EXPECT_EQ(response.registrations(0).owner().name(), "bob");
}

TEST_F(Services, TheOwnerSeesThePatientAndTheAdministratorDoesNot) {
  AddRegistration("mercy");
  auto owner = Connect(alice_);
  auto admin = Connect(Administrator());
  const auto get = [](Client& client, const std::string& name) {
    grpc::ClientContext context;
    v1::GetRegistrationRequest request;
    v1::GetRegistrationResponse response;
    request.set_registration(name);
    EXPECT_TRUE(v1::RegistrationService::NewStub(client.channel)
                    ->GetRegistration(&context, request, &response)
                    .ok());
    return response.registration();
  };
  const v1::Registration own = get(*owner, "mercy");
  EXPECT_EQ(own.patient(), "patient-1");
  EXPECT_EQ(own.fhir_user(), "https://ehr.example/fhir/Practitioner/7");
  EXPECT_EQ(own.label(), "Mum");
  EXPECT_EQ(own.relation(), v1::OWN);
  EXPECT_EQ(own.state(), v1::ACTIVE);
  EXPECT_EQ(own.state_words(), "working");
  EXPECT_EQ(own.generation().client_id(), "client-mercy-alice");
  EXPECT_EQ(own.generation().key().algorithm(), "ES256");
  EXPECT_FALSE(own.has_cause());
  const v1::Registration administered = get(*admin, "alice/mercy");
  EXPECT_EQ(administered.relation(), v1::ADMINISTERED);
  EXPECT_EQ(administered.id(), own.id());
  v1::UpdateRegistrationRequest rename;
  v1::UpdateRegistrationResponse renamed;
  rename.set_registration("alice/mercy");
  rename.set_name("st-mercy");
  v1::ListRegistrationsResponse list;
  grpc::ClientContext rename_context, list_context;
  auto stub = v1::RegistrationService::NewStub(admin->channel);
  ASSERT_TRUE(stub->UpdateRegistration(&rename_context, rename, &renamed).ok());
  ASSERT_TRUE(stub->ListRegistrations(&list_context, {}, &list).ok());
  ASSERT_EQ(list.registrations_size(), 1);
  for (const v1::Registration& seen :
       {administered, renamed.registration(), list.registrations(0)}) {
    EXPECT_EQ(seen.id(), own.id());
    EXPECT_EQ(seen.patient(), "");
    EXPECT_EQ(seen.fhir_user(), "");
    EXPECT_EQ(seen.label(), "");
  }
}

TEST_F(Services, NameAndLabelCanBeChangedWithinTheRules) {
  AddRegistration("mercy");
  AddRegistration("other");
  auto client = Connect(alice_);
  auto stub = v1::RegistrationService::NewStub(client->channel);
  const auto update = [&](const v1::UpdateRegistrationRequest& request) {
    grpc::ClientContext context;
    v1::UpdateRegistrationResponse response;
    return stub->UpdateRegistration(&context, request, &response);
  };
  v1::UpdateRegistrationRequest request;
  request.set_registration("mercy");
  request.set_name("st-mercy");
  request.set_label("");
  EXPECT_TRUE(update(request).ok());
  EXPECT_EQ(store_.Find("id-mercy-alice")->name.RevealIdentifying(), "st-mercy");
  EXPECT_EQ(store_.Find("id-mercy-alice")->label.RevealIdentifying(), "");

  request.set_registration("st-mercy");
  request.clear_label();
  request.set_name("other");
  EXPECT_EQ(DetailOf(update(request)).reason(), v1::ErrorDetail::NAME_TAKEN);
  for (const std::string& bad : {std::string("a/b"), std::string(), std::string(65, 'x'),
                                 std::string("-rf"), std::string("a b")}) {
    request.set_name(bad);
    EXPECT_EQ(DetailOf(update(request)).reason(), v1::ErrorDetail::INVALID_ARGUMENT) << bad;
  }
  request.clear_name();
  request.set_label(std::string(201, 'x'));
  EXPECT_EQ(DetailOf(update(request)).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
}

TEST_F(Services, WritesThatACancelledCallLeavesBehindAreCountedForTheUser) {
  AddRegistration("mercy");
  AddRegistration("mercy", 1001, "bob");
  // Two connections of one user, one of another, one administrator's.
  auto first = Connect(alice_), second = Connect(alice_), bob = Connect(bob_);
  auto admin = Connect(Administrator());
  store_.Hold();
  const auto update = [](Client& client, const std::string& name, int deadline_ms) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(deadline_ms));
    v1::UpdateRegistrationRequest request;
    v1::UpdateRegistrationResponse response;
    request.set_registration(name);
    request.set_label("label");
    return v1::RegistrationService::NewStub(client.channel)
        ->UpdateRegistration(&context, request, &response);
  };
  // Calls that end without their write, until the user has used up what there is.
  const auto use_up = [&](Client& client, Client& other, const std::string& name) {
    for (int i = 0; i < 1000; ++i) {
      const grpc::Status status = update(i % 2 == 0 ? client : other, name, 50);
      if (status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) return status;
    }
    return grpc::Status(grpc::StatusCode::OK, "was never refused");
  };
  const auto expect_limited = [](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
    const v1::ErrorDetail detail = DetailOf(status);
    EXPECT_EQ(detail.reason(), v1::ErrorDetail::RATE_LIMITED);
    EXPECT_EQ(detail.retry_after().seconds(), 1);
  };
  constexpr int kMinute = 60'000;
  expect_limited(use_up(*first, *second, "mercy"));
  EXPECT_EQ(store_.waiting(), 8);
  {
    // Whatever else would write is refused too.
    grpc::ClientContext delete_context, begin_context;
    v1::DeleteRegistrationRequest remove;
    v1::DeleteRegistrationResponse removed;
    remove.set_registration("mercy");
    expect_limited(v1::RegistrationService::NewStub(second->channel)
                       ->DeleteRegistration(&delete_context, remove, &removed));
    v1::BeginEnrollmentRequest begin;
    v1::BeginEnrollmentResponse begun;
    begin.set_server("mercy");
    expect_limited(v1::EnrollmentService::NewStub(second->channel)
                       ->BeginEnrollment(&begin_context, begin, &begun));
  }
  expect_limited(use_up(*bob, *bob, "mercy"));
  EXPECT_EQ(store_.waiting(), 16);
  expect_limited(use_up(*admin, *admin, "alice/mercy"));
  EXPECT_EQ(store_.waiting(), 24);

  store_.Release();
  EXPECT_TRUE(update(*first, "mercy", kMinute).ok());
  // One after the other, each has its slot back before it is answered.
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(update(*bob, "mercy", kMinute).ok());
  v1::BeginEnrollmentRequest begin;
  v1::BeginEnrollmentResponse begun;
  begin.set_server("nowhere");
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext again;
    EXPECT_EQ(
        DetailOf(
            v1::EnrollmentService::NewStub(first->channel)->BeginEnrollment(&again, begin, &begun))
            .reason(),
        v1::ErrorDetail::UNKNOWN_SERVER);
  }
}

TEST_F(Services, ADeletedRegistrationIsGoneWithItsKey) {
  const std::string id = AddRegistration("mercy");
  ASSERT_EQ(keys_.keys(), 1);
  auto client = Connect(alice_);
  auto stub = v1::RegistrationService::NewStub(client->channel);
  grpc::ClientContext context;
  v1::DeleteRegistrationRequest request;
  v1::DeleteRegistrationResponse response;
  request.set_registration("mercy");
  const grpc::Status status = stub->DeleteRegistration(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.registration_id(), id);
  EXPECT_TRUE(response.server_may_still_list());
  EXPECT_EQ(store_.Find(id), nullptr);
  EXPECT_EQ(keys_.keys(), 0);
}

TEST_F(Services, TheOwnerGetsAnAssertionAndTheKeysAndTheAdministratorNoAssertion) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  auto stub = v1::SigningService::NewStub(client->channel);
  grpc::ClientContext context, jwks_context;
  v1::SignClientAssertionRequest request;
  v1::SignClientAssertionResponse response;
  request.set_registration("mercy");
  const grpc::Status status = stub->SignClientAssertion(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(std::count(response.assertion().begin(), response.assertion().end(), '.'), 2);
  EXPECT_EQ(response.client_id(), "client-mercy-alice");
  EXPECT_EQ(response.token_endpoint(), "https://ehr.example/token");
  EXPECT_FALSE(response.jti().empty());

  v1::GetJwksRequest jwks_request;
  v1::GetJwksResponse jwks;
  jwks_request.set_registration("mercy");
  ASSERT_TRUE(stub->GetJwks(&jwks_context, jwks_request, &jwks).ok());
  const auto keys = nlohmann::json::parse(jwks.jwks()).at("keys");
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_EQ(keys[0].at("kid"), store_.Find("id-mercy-alice")->newest().thumbprint);

  // The admin socket has no such service at all; gRPC answers for it.
  auto admin = Connect(Administrator());
  grpc::ClientContext admin_context;
  EXPECT_EQ(v1::SigningService::NewStub(admin->channel)
                ->SignClientAssertion(&admin_context, request, &response)
                .error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(Services, ServerInfoSaysWhatIsConfiguredAndWho) {
  auto client = Connect(alice_);
  auto stub = v1::ServerInfoService::NewStub(client->channel);
  grpc::ClientContext info_context, servers_context, apps_context;
  v1::GetServerInfoResponse info;
  v1::ListServersResponse servers;
  v1::ListAppsResponse apps;
  ASSERT_TRUE(stub->GetServerInfo(&info_context, {}, &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_FALSE(info.admin());
  EXPECT_EQ(info.hardware().provider(), v1::TPM);
  EXPECT_EQ(info.instance_id(), store_.instance_id());
  ASSERT_TRUE(stub->ListServers(&servers_context, {}, &servers).ok());
  ASSERT_EQ(servers.servers_size(), 1);
  EXPECT_EQ(servers.servers(0).name(), "mercy");
  EXPECT_EQ(servers.servers(0).apps(0), "org.example.viewer");
  ASSERT_TRUE(stub->ListApps(&apps_context, {}, &apps).ok());
  ASSERT_EQ(apps.apps_size(), 1);
  EXPECT_EQ(apps.apps(0).clients(0).client_id(), "initial-client");
}

TEST_F(Services, ContainersAndStrangersAreToldSo) {
  Caller contained = alice_;
  contained.in_container = true;
  auto client = Connect(contained);
  grpc::ClientContext info_context, list_context, token_context;
  v1::GetServerInfoResponse info;
  v1::ListRegistrationsResponse list;
  v1::GetAccessTokenRequest request;
  v1::GetAccessTokenResponse token;
  request.set_registration("mercy");
  EXPECT_EQ(
      DetailOf(
          v1::ServerInfoService::NewStub(client->channel)->GetServerInfo(&info_context, {}, &info))
          .reason(),
      v1::ErrorDetail::CONTAINER_DENIED);
  EXPECT_EQ(DetailOf(v1::RegistrationService::NewStub(client->channel)
                         ->ListRegistrations(&list_context, {}, &list))
                .reason(),
            v1::ErrorDetail::CONTAINER_DENIED);
  EXPECT_EQ(DetailOf(v1::TokenService::NewStub(client->channel)
                         ->GetAccessToken(&token_context, request, &token))
                .reason(),
            v1::ErrorDetail::CONTAINER_DENIED);
}

TEST_F(Services, WhatIsOnlyDeclaredSaysSoWithADetail) {
  auto client = Connect(alice_);

  auto registrations = v1::RegistrationService::NewStub(client->channel);
  auto signing = v1::SigningService::NewStub(client->channel);
#define EXPECT_UNARY_NOT_IMPLEMENTED(stub, method)                 \
  do {                                                             \
    grpc::ClientContext context;                                   \
    v1::method##Response response;                                 \
    ExpectNotImplemented((stub)->method(&context, {}, &response)); \
  } while (false)
  EXPECT_UNARY_NOT_IMPLEMENTED(registrations, GetKeyAttestation);
  EXPECT_UNARY_NOT_IMPLEMENTED(signing, SignJwt);
  EXPECT_UNARY_NOT_IMPLEMENTED(signing, SignDpopProof);
}

}  // namespace
}  // namespace smartkey
