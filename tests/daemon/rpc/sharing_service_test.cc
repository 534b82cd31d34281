// SPDX-License-Identifier: Apache-2.0
// SharingService over real sockets, and what a share opens and closes in the other services.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Operations = std::vector<v1::Operation>;

class Sharing : public Services {
 protected:
  // "ok" or the reason.
  static std::string Words(const grpc::Status& status) {
    return status.ok() ? "ok" : v1::ErrorDetail::Reason_Name(DetailOf(status).reason());
  }

  static v1::ShareRegistrationRequest ShareOf(const std::string& principal,
                                              const Operations& operations = {},
                                              const std::vector<std::string>& scopes = {}) {
    v1::ShareRegistrationRequest request;
    request.set_registration("mercy");
    request.set_principal(principal);
    for (const v1::Operation one : operations) request.add_operations(one);
    for (const std::string& one : scopes) request.add_scopes(one);
    return request;
  }

  std::string Share(Client& client, const v1::ShareRegistrationRequest& request) {
    grpc::ClientContext context;
    response_.Clear();
    return Words(v1::SharingService::NewStub(client.channel)
                     ->ShareRegistration(&context, request, &response_));
  }

  static std::string Unshare(Client& client, const std::string& principal,
                             const std::string& registration = "mercy") {
    grpc::ClientContext context;
    v1::UnshareRegistrationRequest request;
    v1::UnshareRegistrationResponse response;
    request.set_registration(registration);
    request.set_principal(principal);
    return Words(v1::SharingService::NewStub(client.channel)
                     ->UnshareRegistration(&context, request, &response));
  }

  static std::string GetToken(Client& client, const std::vector<std::string>& scopes = {},
                              const std::string& registration = "mercy") {
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration(registration);
    for (const std::string& one : scopes) request.add_scopes(one);
    return Words(
        v1::TokenService::NewStub(client.channel)->GetAccessToken(&context, request, &response));
  }

  static std::vector<v1::Registration> List(Client& client) {
    grpc::ClientContext context;
    v1::ListRegistrationsRequest request;
    v1::ListRegistrationsResponse response;
    EXPECT_EQ(Words(v1::RegistrationService::NewStub(client.channel)
                        ->ListRegistrations(&context, request, &response)),
              "ok");
    return {response.registrations().begin(), response.registrations().end()};
  }

  static std::string Explain(Client& client, const std::vector<std::string>& principals,
                             v1::ExplainAccessResponse* response) {
    grpc::ClientContext context;
    v1::ExplainAccessRequest request;
    request.set_registration("mercy");
    for (const std::string& one : principals) request.add_principals(one);
    return Words(
        v1::SharingService::NewStub(client.channel)->ExplainAccess(&context, request, response));
  }

  std::string id_ = AddRegistration("mercy");
  std::unique_ptr<Client> alice_client_ = Connect(alice_), bob_client_ = Connect(bob_);
  v1::ShareRegistrationResponse response_;
};

TEST_F(Sharing, WithAUser_HeGetsTokensOnHisLiveConnectionAndNothingElse) {
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob")), "ok");
  const v1::Share& share = response_.share();
  EXPECT_EQ(share.principal().text(), "user:bob");
  EXPECT_EQ(share.principal().user().uid(), 1001u);
  EXPECT_THAT(share.operations(), ElementsAre(v1::TOKEN));
  EXPECT_EQ(share.made_by().name(), "alice");
  EXPECT_FALSE(share.has_expires_at());

  EXPECT_EQ(GetToken(*bob_client_), "ok");
  EXPECT_EQ(GetToken(*bob_client_, {}, "alice/mercy"), "ok");
  EXPECT_EQ(Share(*bob_client_, ShareOf("user:bob", {v1::ASSERTION})), "SHARE_LACKS_OPERATION");
  EXPECT_EQ(Unshare(*bob_client_, "user:bob"), "SHARE_LACKS_OPERATION");
  grpc::ClientContext context;
  v1::DeleteRegistrationRequest request;
  v1::DeleteRegistrationResponse response;
  request.set_registration("mercy");
  EXPECT_EQ(Words(v1::RegistrationService::NewStub(bob_client_->channel)
                      ->DeleteRegistration(&context, request, &response)),
            "SHARE_LACKS_OPERATION");
  auto carol = Connect(User(1002, "carol"));
  EXPECT_EQ(GetToken(*carol), "REGISTRATION_NOT_FOUND");
}

TEST_F(Sharing, InHisList_TheGranteeSeesWhatHeNeedsAndNotWhoElse) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob")), "ok");
  EXPECT_EQ(Share(*alice_client_, ShareOf("group:clinic")), "ok");
  const std::vector<v1::Registration> his = List(*bob_client_);
  ASSERT_EQ(his.size(), 1u);
  EXPECT_EQ(his[0].relation(), v1::SHARED);
  EXPECT_EQ(his[0].fhir_base(), "https://ehr.example/fhir");
  EXPECT_EQ(his[0].label(), "Mum");
  EXPECT_THAT(his[0].operations(), ElementsAre(v1::TOKEN));
  EXPECT_THAT(his[0].shares(), IsEmpty());
  EXPECT_EQ(his[0].patient(), "patient-1");
  EXPECT_THAT(List(*alice_client_)[0].shares(), testing::SizeIs(2));
}

TEST_F(Sharing, TakenBack_TheLiveConnectionIsRefusedAndTheStreamEnds) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob")), "ok");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  v1::WatchAccessTokenRequest request;
  v1::WatchAccessTokenResponse message;
  request.mutable_token()->set_registration("mercy");
  auto stub = v1::TokenService::NewStub(bob_client_->channel);
  auto stream = stub->WatchAccessToken(&context, request);
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.token().access_token(), "a-token");

  EXPECT_EQ(Unshare(*alice_client_, "user:bob"), "ok");
  EXPECT_FALSE(stream->Read(&message));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::ACCESS_ENDED);
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
  EXPECT_THAT(List(*bob_client_), IsEmpty());
  EXPECT_EQ(Unshare(*alice_client_, "user:bob"), "SHARE_NOT_FOUND");
}

TEST_F(Sharing, TakenBackWhileTheServerIsAsked_TheTokenThatComesIsTheOwnersOnly) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob")), "ok");
  minter_.hang = true;
  std::string told;
  std::thread waits([&] { told = GetToken(*bob_client_); });
  while (tokens_.status().flights == 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(Unshare(*alice_client_, "user:bob"), "ok");
  minter_.hang = false;
  minter_.Mint(Registration(), Generation(), {}, {}, std::move(minter_.held.at(0)));
  waits.join();
  EXPECT_EQ(told, "REGISTRATION_NOT_FOUND");
  minter_.error = MakeError(Reason::kInternal, "another token request");
  EXPECT_EQ(GetToken(*alice_client_), "ok");  // what came is in the cache
}

TEST_F(Sharing, ScopeSubset_IsAllThatIsAskedForAndGiven) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob", {}, {"patient/Observation.rs"})), "ok");
  EXPECT_THAT(response_.share().scopes(), ElementsAre("patient/Observation.rs"));
  // The fake server answers with more, and does so whatever it is asked for.
  EXPECT_EQ(GetToken(*bob_client_), "SCOPE_UNPROVEN");
  EXPECT_EQ(GetToken(*bob_client_, {"patient/*.rs"}), "SHARE_LACKS_SCOPE");
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob", {}, {"launch/patient", "patient/*.rs"})),
            "ok");
  EXPECT_EQ(GetToken(*bob_client_), "ok");
}

TEST_F(Sharing, WithAGroup_ItsMembersHaveIt) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("group:clinic")), "ok");
  Caller member = User(1003, "dora");
  member.groups = {100, 2000};
  EXPECT_EQ(GetToken(*Connect(member)), "ok");
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
}

TEST_F(Sharing, WithAUnitAlone_OnlyWhereProcessesAreHeld) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("unit:viewer.service")), "INVALID_ARGUMENT");
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob+unit:viewer.service")), "ok");
  Caller unit = bob_;
  unit.system_unit = "viewer.service";
  EXPECT_EQ(GetToken(*Connect(unit)), "ok");
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");

  Caller held = alice_;
  held.pid_pinned = true;
  EXPECT_EQ(Share(*Connect(held), ShareOf("unit:viewer.service")), "ok");
  Caller service = User(4000, "");
  service.system_unit = "viewer.service";
  EXPECT_EQ(GetToken(*Connect(service)), "CALLER_UNIDENTIFIED");
  service.pid_pinned = true;
  EXPECT_EQ(GetToken(*Connect(service)), "ok");
}

TEST_F(Sharing, WithWhomever_IsLookedUpAndCheckedFirst) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:mallory")), "UNKNOWN_PRINCIPAL");
  EXPECT_EQ(Share(*alice_client_, ShareOf("group:wheel")), "UNKNOWN_PRINCIPAL");
  for (const char* wrong : {"", "bob", "user:", "exe:/usr/bin/viewer", "user:bob+user:bob"}) {
    EXPECT_EQ(Share(*alice_client_, ShareOf(wrong)), "INVALID_ARGUMENT") << wrong;
  }
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob", {v1::ASSERTION}, {"openid"})),
            "INVALID_ARGUMENT");
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob", {}, {"user/*.rs"})), "INVALID_ARGUMENT");
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob", {static_cast<v1::Operation>(99)})),
            "INVALID_ARGUMENT");
  v1::ShareRegistrationRequest past = ShareOf("user:bob");
  past.mutable_valid_for()->set_seconds(0);
  EXPECT_EQ(Share(*alice_client_, past), "INVALID_ARGUMENT");
  EXPECT_THAT(List(*alice_client_)[0].shares(), IsEmpty());
  // Who may not share learns nothing from what is wrong with it.
  EXPECT_EQ(Share(*bob_client_, ShareOf("user:mallory")), "REGISTRATION_NOT_FOUND");
}

TEST_F(Sharing, ByOneWhoManagesByAShare_GivesNoMoreThanHeHas) {
  v1::ShareRegistrationRequest to_bob =
      ShareOf("user:bob", {v1::TOKEN, v1::MANAGE}, {"launch/patient", "patient/*.rs"});
  to_bob.mutable_valid_for()->set_seconds(3600);
  EXPECT_EQ(Share(*alice_client_, to_bob), "ok");

  const auto shorter = [](v1::ShareRegistrationRequest request) {
    request.mutable_valid_for()->set_seconds(600);
    return request;
  };
  EXPECT_EQ(Share(*bob_client_, shorter(ShareOf("group:clinic"))), "NOT_PERMITTED");  // all scopes
  EXPECT_EQ(Share(*bob_client_, shorter(ShareOf("group:clinic", {v1::MANAGE}))), "NOT_PERMITTED");
  EXPECT_EQ(Share(*bob_client_, shorter(ShareOf("group:clinic", {v1::JWT}))), "NOT_PERMITTED");
  EXPECT_EQ(Share(*bob_client_, ShareOf("group:clinic", {}, {"patient/*.rs"})),
            "NOT_PERMITTED");                                        // for longer than he has it
  EXPECT_EQ(Share(*bob_client_, shorter(to_bob)), "NOT_PERMITTED");  // his own
  EXPECT_EQ(Share(*bob_client_, shorter(ShareOf("group:clinic", {}, {"patient/*.rs"}))), "ok");
  Caller member = User(1003, "dora");
  member.groups = {2000};
  auto members_client = Connect(member);
  EXPECT_NE(GetToken(*members_client), "REGISTRATION_NOT_FOUND");

  grpc::ClientContext context;
  v1::UpdateRegistrationRequest request;
  v1::UpdateRegistrationResponse response;
  request.set_registration("mercy");
  request.set_shares_only(true);
  EXPECT_EQ(Words(v1::RegistrationService::NewStub(bob_client_->channel)
                      ->UpdateRegistration(&context, request, &response)),
            "NOT_PERMITTED");
  EXPECT_EQ(GetToken(*alice_client_), "ok");

  // What he passed on ends with what he has.
  EXPECT_EQ(Unshare(*alice_client_, "user:bob"), "ok");
  EXPECT_EQ(GetToken(*members_client), "REGISTRATION_NOT_FOUND");
}

TEST_F(Sharing, ByTheAdministrator_GivesOthersAndHimselfWhatIsShared) {
  auto admin = Connect(Administrator());
  v1::ShareRegistrationRequest request = ShareOf("user:bob");
  request.set_registration("alice/mercy");
  EXPECT_EQ(Share(*admin, request), "ok");
  EXPECT_EQ(response_.share().made_by().name(), "root");
  EXPECT_EQ(GetToken(*bob_client_), "ok");
  EXPECT_EQ(Unshare(*admin, "user:bob", "alice/mercy"), "ok");
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
}

TEST_F(Sharing, MadePrivate_TheOwnersProgramsNeedAShare) {
  grpc::ClientContext context;
  v1::UpdateRegistrationRequest request;
  v1::UpdateRegistrationResponse response;
  request.set_registration("mercy");
  request.set_shares_only(true);
  EXPECT_EQ(Words(v1::RegistrationService::NewStub(alice_client_->channel)
                      ->UpdateRegistration(&context, request, &response)),
            "ok");
  EXPECT_TRUE(response.registration().shares_only());
  EXPECT_EQ(GetToken(*alice_client_), "NOT_PERMITTED");
  Caller viewer = alice_;
  viewer.system_unit = "viewer.service";
  viewer.pid_pinned = true;
  auto viewer_client = Connect(viewer);
  EXPECT_EQ(Share(*viewer_client, ShareOf("unit:viewer.service")), "ok");
  EXPECT_EQ(GetToken(*viewer_client), "ok");
  EXPECT_EQ(GetToken(*alice_client_), "NOT_PERMITTED");
}

TEST_F(Sharing, Explained_ToTheOwnerForOthersAndToAGranteeForHimself) {
  EXPECT_EQ(Share(*alice_client_, ShareOf("user:bob")), "ok");
  EXPECT_EQ(Share(*alice_client_, ShareOf("group:clinic")), "ok");
  v1::ExplainAccessResponse why;
  EXPECT_EQ(Explain(*alice_client_, {"user:bob"}, &why), "ok");
  EXPECT_THAT(why.operations(), ElementsAre(v1::TOKEN));
  EXPECT_THAT(why.steps(), Contains(HasSubstr("user:bob")));
  EXPECT_THAT(why.steps(), Contains(HasSubstr("not in the group")));

  why.Clear();
  EXPECT_EQ(Explain(*bob_client_, {}, &why), "ok");
  EXPECT_THAT(why.steps(), Contains(HasSubstr("user:bob")));
  EXPECT_THAT(why.steps(), Not(Contains(HasSubstr("clinic"))));  // others' are the owner's to know
  EXPECT_EQ(Explain(*bob_client_, {"group:clinic"}, &why), "NOT_PERMITTED");
  EXPECT_EQ(Explain(*Connect(User(1002, "carol")), {}, &why), "REGISTRATION_NOT_FOUND");
  EXPECT_EQ(Explain(*alice_client_, {"user:bob", "uid:1000"}, &why), "INVALID_ARGUMENT");
  why.Clear();
  EXPECT_EQ(Explain(*alice_client_, {"uid:1002", "group:clinic"}, &why), "ok");
  EXPECT_THAT(why.operations(), ElementsAre(v1::TOKEN));
}

}  // namespace
}  // namespace smartkey
