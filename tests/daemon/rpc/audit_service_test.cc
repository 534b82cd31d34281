// SPDX-License-Identifier: Apache-2.0
// What the services tell the audit log, and who may read it.
#include <thread>

#include "base/log.h"
#include "base/random.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

class AuditedServices : public Services {
 protected:
  grpc::Status GetToken(Client& client, const std::string& registration) {
    auto stub = v1::TokenService::NewStub(client.channel);
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration(registration);
    return stub->GetAccessToken(&context, request, &response);
  }

  static v1::ErrorDetail::Reason Complete(Client& client, const std::string& enrollment) {
    grpc::ClientContext context;
    v1::CompleteEnrollmentRequest request;
    v1::CompleteEnrollmentResponse response;
    request.set_enrollment_id(enrollment);
    request.set_redirect_query("code=1&state=2");
    return DetailOf(v1::EnrollmentService::NewStub(client.channel)
                        ->CompleteEnrollment(&context, request, &response))
        .reason();
  }

  template <typename Stub>
  std::pair<std::vector<v1::ReadAuditLogResponse>, grpc::Status> Read(
      Stub stub, const v1::ReadAuditLogRequest& request = {}) {
    grpc::ClientContext context;
    std::vector<v1::ReadAuditLogResponse> all;
    v1::ReadAuditLogResponse one;
    auto reader = stub->ReadAuditLog(&context, request);
    while (reader->Read(&one)) all.push_back(one);
    return {all, reader->Finish()};
  }
};

TEST_F(AuditedServices, TokenIsGivenOut_IsNotedWithItsHashAndNotItself) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  ASSERT_TRUE(GetToken(*client, "mercy").ok());
  const std::vector<AuditEntry> noted = audit_.entries("delivery");
  ASSERT_EQ(noted.size(), 1u);
  EXPECT_EQ(noted[0].registration_id, id);
  EXPECT_EQ(noted[0].user->name, "alice");
  ASSERT_EQ(noted[0].facts.size(), 1u);
  EXPECT_EQ(noted[0].facts[0].second.find("a-token"), std::string::npos);
}

TEST_F(AuditedServices, AnotherUserIsRefused_TheRegistrationThatHeMeantIsNotedAndHeIsNotTold) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(bob_);
  for (const std::string& name : {id, std::string("alice/mercy")}) {
    const grpc::Status status = GetToken(*client, name);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(status.error_details().find(id), std::string::npos);
  }
  EXPECT_EQ(GetToken(*client, "no-such").error_code(), grpc::StatusCode::NOT_FOUND);
  const std::vector<AuditEntry> noted = audit_.entries("access/token");
  ASSERT_EQ(noted.size(), 3u);
  EXPECT_EQ(noted[0].registration_id, id);
  EXPECT_EQ(noted[1].registration_id, id);
  EXPECT_EQ(noted[2].registration_id, "");
  EXPECT_EQ(noted[0].outcome, Reason::kRegistrationNotFound);
}

TEST_F(AuditedServices, NothingCanBeWritten_NothingIsGivenOutAndLookingGoesOn) {
  AddRegistration("mercy");
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the audit log cannot be written"));
  auto client = Connect(alice_);
  const grpc::Status status = GetToken(*client, "mercy");
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::AUDIT_UNAVAILABLE);
  EXPECT_TRUE(audit_.entries("delivery").empty());

  auto stub = v1::RegistrationService::NewStub(client->channel);
  {
    grpc::ClientContext context;
    v1::ListRegistrationsResponse response;
    ASSERT_TRUE(stub->ListRegistrations(&context, {}, &response).ok());
    EXPECT_EQ(response.registrations_size(), 1);
  }
  grpc::ClientContext context;
  v1::UpdateRegistrationRequest request;
  v1::UpdateRegistrationResponse response;
  request.set_registration("mercy");
  request.set_label("mine");
  EXPECT_EQ(DetailOf(stub->UpdateRegistration(&context, request, &response)).reason(),
            v1::ErrorDetail::AUDIT_UNAVAILABLE);
}

TEST_F(AuditedServices, NothingCanBeWritten_NoEnrollmentGoesOn) {
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the audit log cannot be written"));
  auto client = Connect(alice_);
  EXPECT_EQ(Complete(*client, "some-id"), v1::ErrorDetail::AUDIT_UNAVAILABLE);
}

TEST_F(AuditedServices, NothingCanBeWritten_SuspendingGoesOnAndResumingDoesNot) {
  AddRegistration("mercy");
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the audit log cannot be written"));
  auto client = Connect(alice_);
  auto stub = v1::RegistrationService::NewStub(client->channel);
  const auto fill = {
      +[](v1::SuspensionTarget* target) { target->set_registration("mercy"); },
      +[](v1::SuspensionTarget* target) { target->set_server("mercy"); },
      +[](v1::SuspensionTarget* target) { target->set_owner("alice"); },
      +[](v1::SuspensionTarget* target) { target->set_all(true); },
  };
  for (const auto target : fill) {
    {
      grpc::ClientContext context;
      v1::SuspendRegistrationsRequest request;
      v1::SuspendRegistrationsResponse response;
      target(request.mutable_target());
      EXPECT_TRUE(stub->SuspendRegistrations(&context, request, &response).ok());
    }
    grpc::ClientContext context;
    v1::ResumeRegistrationsRequest request;
    v1::ResumeRegistrationsResponse response;
    target(request.mutable_target());
    EXPECT_EQ(DetailOf(stub->ResumeRegistrations(&context, request, &response)).reason(),
              v1::ErrorDetail::AUDIT_UNAVAILABLE);
  }
  EXPECT_TRUE(store_.List()[0]->suspension.has_value());
}

TEST_F(AuditedServices, OrderForManyEndsInTheMiddle_WhatItChangedAndWhyItEndedIsNoted) {
  AddRegistration("mercy");
  AddRegistration("grace");
  auto client = Connect(alice_);
  auto stub = v1::RegistrationService::NewStub(client->channel);
  for (const bool suspend : {true, false}) {
    store_.FailWrites(absl::OkStatus());
    if (!suspend) {
      grpc::ClientContext context;
      v1::SuspendRegistrationsRequest request;
      v1::SuspendRegistrationsResponse response;
      request.mutable_target()->set_all(true);
      ASSERT_TRUE(stub->SuspendRegistrations(&context, request, &response).ok());
    }
    store_.FailWritesAfter(1, MakeError(Reason::kStoreFull, "the disk is full"));
    grpc::ClientContext context;
    grpc::Status status;
    if (suspend) {
      v1::SuspendRegistrationsRequest request;
      v1::SuspendRegistrationsResponse response;
      request.mutable_target()->set_all(true);
      status = stub->SuspendRegistrations(&context, request, &response);
    } else {
      v1::ResumeRegistrationsRequest request;
      v1::ResumeRegistrationsResponse response;
      request.mutable_target()->set_all(true);
      status = stub->ResumeRegistrations(&context, request, &response);
    }
    EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::STORE_FULL);
  }
  const auto suspended = audit_.entries("RegistrationService/SuspendRegistrations");
  ASSERT_EQ(suspended.size(), 3u) << "one, the failure, and the other one by the next order";
  EXPECT_EQ(suspended[0].outcome, Reason::kUnspecified);
  EXPECT_FALSE(suspended[0].registration_id.empty());
  EXPECT_EQ(suspended[1].outcome, Reason::kStoreFull);
  EXPECT_NE(suspended[2].registration_id, suspended[0].registration_id);
  const auto resumed = audit_.entries("RegistrationService/ResumeRegistrations");
  ASSERT_EQ(resumed.size(), 2u);
  EXPECT_EQ(resumed[0].outcome, Reason::kUnspecified);
  EXPECT_FALSE(resumed[0].registration_id.empty());
  EXPECT_EQ(resumed[1].outcome, Reason::kStoreFull);
}

TEST_F(AuditedServices, DeletionDoesNotComeToItsEnd_IsNotedAllTheSame) {
  const std::string id = AddRegistration("mercy");
  store_.FailWritesAfter(1, MakeError(Reason::kStoreFull, "the disk is full"));
  auto client = Connect(alice_);
  grpc::ClientContext context;
  v1::DeleteRegistrationRequest request;
  v1::DeleteRegistrationResponse response;
  request.set_registration("mercy");
  const grpc::Status status = v1::RegistrationService::NewStub(client->channel)
                                  ->DeleteRegistration(&context, request, &response);
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::STORE_FULL);
  const auto noted = audit_.entries("RegistrationService/DeleteRegistration");
  ASSERT_EQ(noted.size(), 2u);
  EXPECT_EQ(noted[0].outcome, Reason::kUnspecified) << "from there on it will be gone";
  EXPECT_EQ(noted[0].registration_id, id);
  EXPECT_EQ(noted[0].user->name, "alice");
  EXPECT_EQ(noted[1].outcome, Reason::kStoreFull);
}

TEST_F(AuditedServices, WhatIsNoTokenOfOursIsReported_LeavesNoLineButThatOfTheLimit) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  v1::ReportRejectedTokenRequest request;
  request.set_registration("mercy");
  request.set_access_token("made-up");
  grpc::Status status;
  for (int i = 0; i < 5000 && status.ok(); ++i) {
    grpc::ClientContext context;
    v1::ReportRejectedTokenResponse response;
    status = stub->ReportRejectedToken(&context, request, &response);
  }
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::RATE_LIMITED);
  ASSERT_EQ(audit_.entries().size(), 1u);
  EXPECT_EQ(audit_.entries()[0].operation, "access/call");
  EXPECT_EQ(audit_.entries()[0].outcome, Reason::kRateLimited);
}

TEST_F(AuditedServices, ContainerCompletesWhatItMadeUp_ItsTextIsNotWrittenDown) {
  Caller contained = alice_;
  contained.in_container = true;
  auto client = Connect(contained);
  EXPECT_EQ(Complete(*client, std::string(100'000, '\x01')), v1::ErrorDetail::CONTAINER_DENIED);
  const std::vector<AuditEntry> noted = audit_.entries();
  ASSERT_EQ(noted.size(), 1u);
  EXPECT_EQ(noted[0].operation, "access/enroll");
  EXPECT_EQ(noted[0].outcome, Reason::kContainerDenied);
  EXPECT_EQ(noted[0].facts, (AuditFacts{{"container", "yes"}}));
}

TEST_F(AuditedServices, StoreIsAway_WhatSomebodyCallsAnEnrollmentIsNotWrittenDown) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "the database is away"));
  auto client = Connect(alice_);
  EXPECT_EQ(Complete(*client, std::string(100'000, 'x')), v1::ErrorDetail::STORE_UNAVAILABLE);
  EXPECT_TRUE(audit_.entries().empty());
}

TEST_F(AuditedServices, ContainerEnrollsWithAnInitialToken_IsARefusalAndNothingElse) {
  Caller contained = alice_;
  contained.in_container = true;
  auto client = Connect(contained);
  grpc::ClientContext context;
  v1::EnrollWithInitialTokenRequest request;
  v1::EnrollWithInitialTokenResponse response;
  request.set_server("mercy");
  request.set_initial_access_token("an-initial-token");
  EXPECT_EQ(DetailOf(v1::EnrollmentService::NewStub(client->channel)
                         ->EnrollWithInitialToken(&context, request, &response))
                .reason(),
            v1::ErrorDetail::CONTAINER_DENIED);
  ASSERT_EQ(audit_.entries().size(), 1u);
  EXPECT_EQ(audit_.entries("access/enroll").size(), 1u);
}

TEST_F(AuditedServices, OwnerOfAPrivateOneAsksByContext_IsNotedAsARefusal) {
  const std::string id = AddRegistration("mercy");
  store_.Update(
      id,
      [](Registration& changed) {
        changed.shares_only = true;
        return absl::OkStatus();
      },
      [](const absl::StatusOr<RegistrationStore::Snapshot>& updated) {
        EXPECT_TRUE(updated.ok()) << updated.status();
      });
  auto client = Connect(alice_);
  auto stub = v1::TokenService::NewStub(client->channel);
  v1::GetAccessTokenRequest request;
  v1::GetAccessTokenResponse response;
  request.mutable_context()->set_app("org.example.viewer");
  request.mutable_context()->set_fhir_base("https://ehr.example/fhir");
  {
    grpc::ClientContext context;
    EXPECT_EQ(DetailOf(stub->GetAccessToken(&context, request, &response)).reason(),
              v1::ErrorDetail::NOT_PERMITTED);
  }
  request.mutable_context()->set_fhir_base("https://elsewhere.example/fhir");
  grpc::ClientContext context;
  EXPECT_EQ(DetailOf(stub->GetAccessToken(&context, request, &response)).reason(),
            v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  const std::vector<AuditEntry> noted = audit_.entries("access/token");
  ASSERT_EQ(noted.size(), 2u);
  EXPECT_EQ(noted[0].registration_id, id);
  EXPECT_EQ(noted[0].outcome, Reason::kNotPermitted);
  EXPECT_EQ(noted[1].registration_id, "");
}

TEST_F(AuditedServices, RefusedByWhatTheServicesDecide_IsNotedToo) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  auto registrations = v1::RegistrationService::NewStub(client->channel);
  {
    grpc::ClientContext context;
    v1::UpdateRegistrationRequest request;
    v1::UpdateRegistrationResponse response;
    request.set_registration("mercy");
    request.set_owner("bob");
    EXPECT_FALSE(registrations->UpdateRegistration(&context, request, &response).ok());
  }
  {
    grpc::ClientContext context;
    v1::SuspendRegistrationsRequest request;
    v1::SuspendRegistrationsResponse response;
    request.mutable_target()->set_owner("bob");
    EXPECT_FALSE(registrations->SuspendRegistrations(&context, request, &response).ok());
  }
  const std::vector<AuditEntry> noted = audit_.entries("access/manage");
  ASSERT_EQ(noted.size(), 2u);
  EXPECT_EQ(noted[0].registration_id, id);
  EXPECT_EQ(noted[1].registration_id, "");

  grpc::ClientContext context;
  v1::BeginEnrollmentRequest request;
  v1::BeginEnrollmentResponse response;
  request.set_server("mercy");
  request.set_owner("bob");
  EXPECT_FALSE(v1::EnrollmentService::NewStub(client->channel)
                   ->BeginEnrollment(&context, request, &response)
                   .ok());
  ASSERT_EQ(audit_.entries("access/enroll").size(), 1u);
  EXPECT_EQ(audit_.entries("access/enroll")[0].outcome, Reason::kNotPermitted);
}

TEST_F(AuditedServices, CallsThatAskWhoCallsAlone_EachRefusalIsNotedOnce) {
  Caller contained = alice_;
  contained.in_container = true;
  auto client = Connect(contained);
  // What the last call was refused for, and how it was noted.
  size_t noted = 0;
  const auto refusal = [&](const grpc::Status& status) {
    EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::CONTAINER_DENIED);
    const std::vector<AuditEntry> entries = audit_.entries();
    EXPECT_EQ(entries.size(), ++noted);
    EXPECT_EQ(entries.back().outcome, Reason::kContainerDenied);
    EXPECT_EQ(entries.back().registration_id, "");
    return entries.back().operation;
  };
  const auto unary = [](auto stub, auto method, const auto& request, auto response) {
    grpc::ClientContext context;
    return ((*stub).*method)(&context, request, &response);
  };
  const auto stream = [](auto reader, auto message) {
    while (reader->Read(&message)) {
    }
    return reader->Finish();
  };
  using Info = v1::ServerInfoService::Stub;
  const auto info = [&] { return v1::ServerInfoService::NewStub(client->channel); };
  EXPECT_EQ(refusal(unary(info(), &Info::GetServerInfo, v1::GetServerInfoRequest(),
                          v1::GetServerInfoResponse())),
            "access/see");
  EXPECT_EQ(refusal(unary(info(), &Info::ListServers, v1::ListServersRequest(),
                          v1::ListServersResponse())),
            "access/see");
  EXPECT_EQ(refusal(unary(info(), &Info::ListApps, v1::ListAppsRequest(), v1::ListAppsResponse())),
            "access/see");
  EXPECT_EQ(refusal(unary(v1::RegistrationService::NewStub(client->channel),
                          &v1::RegistrationService::Stub::ListRegistrations,
                          v1::ListRegistrationsRequest(), v1::ListRegistrationsResponse())),
            "access/see");
  EXPECT_EQ(refusal(unary(v1::RegistrationService::NewStub(client->channel),
                          &v1::RegistrationService::Stub::GetRegistration,
                          v1::GetRegistrationRequest(), v1::GetRegistrationResponse())),
            "access/see");
  EXPECT_EQ(refusal(Read(v1::RegistrationService::NewStub(client->channel)).second), "access/see");
  EXPECT_EQ(refusal(unary(v1::SigningService::NewStub(client->channel),
                          &v1::SigningService::Stub::GetJwks, v1::GetJwksRequest(),
                          v1::GetJwksResponse())),
            "access/jwks");
  EXPECT_EQ(refusal(unary(v1::EnrollmentService::NewStub(client->channel),
                          &v1::EnrollmentService::Stub::CancelEnrollment,
                          v1::CancelEnrollmentRequest(), v1::CancelEnrollmentResponse())),
            "access/enroll");
  EXPECT_EQ(refusal(unary(v1::SharingService::NewStub(client->channel),
                          &v1::SharingService::Stub::ListAccessRequests,
                          v1::ListAccessRequestsRequest(), v1::ListAccessRequestsResponse())),
            "access/manage");
  v1::RequestAccessRequest wish;
  wish.set_owner("bob");
  wish.set_registration("mercy");
  auto sharing = v1::SharingService::NewStub(client->channel);
  auto registrations = v1::RegistrationService::NewStub(client->channel);
  auto enrollments = v1::EnrollmentService::NewStub(client->channel);
  grpc::ClientContext asking, watching, enrolling;
  EXPECT_EQ(refusal(stream(sharing->RequestAccess(&asking, wish), v1::RequestAccessResponse())),
            "access/request");
  EXPECT_EQ(refusal(stream(registrations->WatchRegistrations(&watching, {}),
                           v1::WatchRegistrationsResponse())),
            "access/see");
  EXPECT_EQ(
      refusal(stream(enrollments->WatchEnrollment(&enrolling, {}), v1::WatchEnrollmentResponse())),
      "access/enroll");
}

TEST_F(AuditedServices, AdministratorWithoutAUserName_EachRefusalIsNotedOnce) {
  Caller nameless = Administrator();
  nameless.uid = 2000;
  nameless.user_name.clear();
  auto client = Connect(nameless);
  auto stub = v1::AdminService::NewStub(client->channel);
  const auto call = [&](auto method, const auto& request, auto response) {
    const size_t before = audit_.entries("access/administer").size();
    grpc::ClientContext context;
    EXPECT_EQ(DetailOf(((*stub).*method)(&context, request, &response)).reason(),
              v1::ErrorDetail::CALLER_UNIDENTIFIED);
    EXPECT_EQ(audit_.entries("access/administer").size(), before + 1);
    EXPECT_EQ(audit_.entries().size(), before + 1);
  };
  using Stub = v1::AdminService::Stub;
  call(&Stub::GetStatus, v1::GetStatusRequest(), v1::GetStatusResponse());
  call(&Stub::GetMetrics, v1::GetMetricsRequest(), v1::GetMetricsResponse());
  call(&Stub::ReloadConfiguration, v1::ReloadConfigurationRequest(),
       v1::ReloadConfigurationResponse());
  call(&Stub::SetLogLevel, v1::SetLogLevelRequest(), v1::SetLogLevelResponse());
  call(&Stub::ProvisionTpm, v1::ProvisionTpmRequest(), v1::ProvisionTpmResponse());
  call(&Stub::ListStoredKeys, v1::ListStoredKeysRequest(), v1::ListStoredKeysResponse());
  call(&Stub::RemoveStrayKeys, v1::RemoveStrayKeysRequest(), v1::RemoveStrayKeysResponse());
  call(&Stub::RecoverStore, v1::RecoverStoreRequest(), v1::RecoverStoreResponse());
  call(&Stub::ResetStore, v1::ResetStoreRequest(), v1::ResetStoreResponse());
  call(&Stub::AdoptStore, v1::AdoptStoreRequest(), v1::AdoptStoreResponse());
}

TEST_F(AuditedServices, ManagementEndsInTheMiddleOfAChange_IsNoted) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  store_.Hold();
  store_.Update(
      id,
      [](Registration& changed) {
        changed.owner_uid = 1001;
        changed.owner_name = "bob";
        return absl::OkStatus();
      },
      [](const absl::StatusOr<RegistrationStore::Snapshot>&) {});
  std::thread change([&] {
    grpc::ClientContext context;
    v1::UpdateRegistrationRequest request;
    v1::UpdateRegistrationResponse response;
    request.set_registration("mercy");
    request.set_label("mine");
    EXPECT_EQ(DetailOf(v1::RegistrationService::NewStub(client->channel)
                           ->UpdateRegistration(&context, request, &response))
                  .reason(),
              v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  });
  while (store_.waiting() < 2) std::this_thread::yield();
  store_.Release();
  change.join();
  ASSERT_EQ(audit_.entries("access/manage").size(), 1u);
  EXPECT_EQ(audit_.entries("access/manage")[0].registration_id, id);
}

TEST_F(AuditedServices, OwnerReads_SeesWhatIsAboutHisRegistrationsOnly) {
  const std::string hers = AddRegistration("mercy");
  const std::string his = AddRegistration("general", 1001, "bob");
  auto alice = Connect(alice_);
  auto bob = Connect(bob_);
  ASSERT_TRUE(GetToken(*alice, "mercy").ok());
  ASSERT_TRUE(GetToken(*bob, "general").ok());
  EXPECT_FALSE(GetToken(*bob, hers).ok());

  const auto [seen, status] = Read(v1::RegistrationService::NewStub(alice->channel));
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(seen.size(), 2u) << "hers, and that he tried";
  for (const v1::ReadAuditLogResponse& one : seen) {
    EXPECT_EQ(one.entry().registration_id(), hers);
  }
  v1::ReadAuditLogRequest of_hers;
  of_hers.set_registration_id(hers);
  const auto [none, refused] = Read(v1::RegistrationService::NewStub(bob->channel), of_hers);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::NOT_FOUND);

  auto admin = Connect(Administrator());
  EXPECT_EQ(Read(v1::AdminService::NewStub(admin->channel)).first.size(), 4u);
}

TEST_F(AuditedServices, LogCannotBeWritten_IsReadForOneRegistrationAllTheSame) {
  const std::string hers = AddRegistration("mercy");
  auto alice = Connect(alice_);
  auto admin = Connect(Administrator());
  ASSERT_TRUE(GetToken(*alice, "mercy").ok());
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the audit log cannot be written"));
  v1::ReadAuditLogRequest request;
  request.set_registration_id("mercy");
  EXPECT_EQ(Read(v1::RegistrationService::NewStub(alice->channel), request).first.size(), 1u);
  request.set_registration_id("alice/mercy");
  EXPECT_EQ(Read(v1::AdminService::NewStub(admin->channel), request).first.size(), 1u);
  grpc::ClientContext context;
  v1::ListAccessRequestsRequest list;
  v1::ListAccessRequestsResponse listed;
  list.set_registration("mercy");
  EXPECT_TRUE(v1::SharingService::NewStub(alice->channel)
                  ->ListAccessRequests(&context, list, &listed)
                  .ok());
}

TEST_F(AuditedServices, AdministratorNamesWhatIsNotThere_OnlyAnIdMayBeOfOneThatIsGone) {
  auto admin = Connect(Administrator());
  v1::ReadAuditLogRequest request;
  request.set_registration_id("alice/mrecy");
  EXPECT_EQ(DetailOf(Read(v1::AdminService::NewStub(admin->channel), request).second).reason(),
            v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  request.set_registration_id(RandomId());
  EXPECT_TRUE(Read(v1::AdminService::NewStub(admin->channel), request).second.ok());
}

TEST_F(AuditedServices, ChainIsToBeChecked_OnlyForAnAdministrator) {
  v1::ReadAuditLogRequest request;
  request.set_verify(true);
  auto alice = Connect(alice_);
  EXPECT_EQ(Read(v1::RegistrationService::NewStub(alice->channel), request).second.error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  auto admin = Connect(Administrator());
  const auto [found, status] = Read(v1::AdminService::NewStub(admin->channel), request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].has_verification());
  request.set_anchor("12:short");
  EXPECT_EQ(Read(v1::AdminService::NewStub(admin->channel), request).second.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(AuditedServices, AdministratorSetsTheLogLevel_IsDoneToldAndNoted) {
  auto client = Connect(Administrator());
  auto stub = v1::AdminService::NewStub(client->channel);
  v1::SetLogLevelRequest request;
  v1::SetLogLevelResponse response;
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub->SetLogLevel(&context, request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  request.set_level(v1::SetLogLevelRequest::LEVEL_WARNING);
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->SetLogLevel(&context, request, &response).ok());
  }
  EXPECT_EQ(response.previous(), v1::SetLogLevelRequest::LEVEL_INFO);
  EXPECT_EQ(GetLogLevel(), LogLevel::kWarning);
  SetLogLevel(LogLevel::kInfo);
  EXPECT_EQ(audit_.entries("AdminService/SetLogLevel").size(), 1u);
}

}  // namespace
}  // namespace smartkey
