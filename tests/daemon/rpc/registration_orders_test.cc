// SPDX-License-Identifier: Apache-2.0
// RegistrationService: suspending, resuming, rotating, and when an access ends.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

using Ids = std::vector<std::string>;

class RegistrationOrders : public Services {
 protected:
  static std::unique_ptr<v1::RegistrationService::Stub> StubOf(Client& client) {
    return v1::RegistrationService::NewStub(client.channel);
  }
  static grpc::Status Suspend(Client& client, const v1::SuspendRegistrationsRequest& request,
                              Ids* ids) {
    grpc::ClientContext context;
    v1::SuspendRegistrationsResponse response;
    const grpc::Status status = StubOf(client)->SuspendRegistrations(&context, request, &response);
    ids->assign(response.registration_ids().begin(), response.registration_ids().end());
    return status;
  }
  static grpc::Status SuspendOne(Client& client, const std::string& name,
                                 const std::string& why = "") {
    v1::SuspendRegistrationsRequest request;
    request.mutable_target()->set_registration(name);
    request.set_why(why);
    Ids ids;
    return Suspend(client, request, &ids);
  }
  static grpc::Status Resume(Client& client, const v1::ResumeRegistrationsRequest& request,
                             v1::ResumeRegistrationsResponse* response) {
    grpc::ClientContext context;
    return StubOf(client)->ResumeRegistrations(&context, request, response);
  }
  static v1::Registration Get(Client& client, const std::string& name) {
    grpc::ClientContext context;
    v1::GetRegistrationRequest request;
    v1::GetRegistrationResponse response;
    request.set_registration(name);
    EXPECT_TRUE(StubOf(client)->GetRegistration(&context, request, &response).ok());
    return response.registration();
  }
  static grpc::Status GetToken(Client& client, const std::string& name) {
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration(name);
    return v1::TokenService::NewStub(client.channel)->GetAccessToken(&context, request, &response);
  }
};

TEST_F(RegistrationOrders, SuspendedOverOneConnection_AnotherLiveOneGetsNoToken) {
  const std::string id = AddRegistration("mercy");
  auto app = Connect(alice_), owner = Connect(alice_);
  ASSERT_TRUE(GetToken(*app, "mercy").ok());
  ASSERT_TRUE(SuspendOne(*owner, "mercy", "lost laptop").ok());
  EXPECT_EQ(DetailOf(GetToken(*app, "mercy")).reason(), v1::ErrorDetail::SUSPENDED);

  const v1::Registration shown = Get(*app, "mercy");
  EXPECT_EQ(shown.state_words(), "suspended");
  EXPECT_EQ(shown.state(), v1::ACTIVE);
  EXPECT_EQ(shown.suspended().by().uid(), 1000u);
  EXPECT_EQ(shown.suspended().by().name(), "alice");
  EXPECT_FALSE(shown.suspended().by_administrator());
  EXPECT_EQ(shown.suspended().why(), "lost laptop");
  EXPECT_NEAR(shown.suspended().since().seconds(), absl::ToUnixSeconds(clock_.Now()), 60);
  EXPECT_EQ(shown.cause().reason(), v1::ErrorDetail::SUSPENDED);
  EXPECT_EQ(shown.user_action(), shown.cause().user_action());

  v1::ResumeRegistrationsRequest request;
  v1::ResumeRegistrationsResponse resumed;
  request.mutable_target()->set_all(true);
  ASSERT_TRUE(Resume(*owner, request, &resumed).ok());
  EXPECT_EQ(resumed.registration_ids_size(), 1);
  EXPECT_TRUE(GetToken(*app, "mercy").ok());
  EXPECT_FALSE(Get(*app, "mercy").has_suspended());
}

TEST_F(RegistrationOrders, AssertionIsSignedWhileSuspended_IsNotHandedOut) {
  AddRegistration("mercy");
  auto app = Connect(alice_), owner = Connect(alice_);
  keys_.set_hold(true);
  grpc::ClientContext context;
  v1::SignClientAssertionRequest request;
  v1::SignClientAssertionResponse response;
  request.set_registration("mercy");
  grpc::CompletionQueue queue;
  grpc::Status status;
  auto reader = v1::SigningService::NewStub(app->channel)
                    ->AsyncSignClientAssertion(&context, request, &queue);
  reader->Finish(&response, &status, &queue);
  while (keys_.held() == 0) {
    void* tag;
    bool ok;
    ASSERT_EQ(
        queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + std::chrono::milliseconds(5)),
        grpc::CompletionQueue::TIMEOUT);
  }
  ASSERT_TRUE(SuspendOne(*owner, "mercy").ok());
  keys_.ReleaseAll();
  void* tag;
  bool ok;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::SUSPENDED);
  EXPECT_TRUE(response.assertion().empty());
  queue.Shutdown();
}

TEST_F(RegistrationOrders, AdministratorSuspendsAServer_OwnersCannotResumeTheirs) {
  AddRegistration("mercy");
  AddRegistration("mercy", 1001, "bob");
  auto admin = Connect(Administrator()), alice = Connect(alice_);
  v1::SuspendRegistrationsRequest suspend;
  suspend.mutable_target()->set_server("mercy");
  suspend.set_why("incident 7");
  Ids ids;
  ASSERT_TRUE(Suspend(*admin, suspend, &ids).ok());
  EXPECT_EQ(ids.size(), 2u);
  EXPECT_EQ(Get(*alice, "mercy").suspended().why(), "incident 7");
  EXPECT_NE(Get(*alice, "mercy").cause().remedy().find("administrator"), std::string::npos);

  v1::ResumeRegistrationsRequest resume;
  v1::ResumeRegistrationsResponse resumed;
  resume.mutable_target()->set_registration("mercy");
  const grpc::Status refused = Resume(*alice, resume, &resumed);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(DetailOf(refused).reason(), v1::ErrorDetail::NOT_PERMITTED);
  resume.mutable_target()->set_all(true);
  ASSERT_TRUE(Resume(*alice, resume, &resumed).ok());
  EXPECT_EQ(resumed.registration_ids_size(), 0);
  ASSERT_EQ(resumed.still_suspended_ids_size(), 1);
  EXPECT_EQ(resumed.still_suspended_ids(0), "id-mercy-alice");

  resume.mutable_target()->set_owner("alice");
  v1::ResumeRegistrationsResponse of_alice;
  ASSERT_TRUE(Resume(*admin, resume, &of_alice).ok());
  EXPECT_EQ(of_alice.registration_ids_size(), 1);
  EXPECT_TRUE(GetToken(*alice, "mercy").ok());
  EXPECT_TRUE(store_.Find("id-mercy-bob")->suspension.has_value());
}

TEST_F(RegistrationOrders, MalformedOrders_AreRefusedAndChangeNothing) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  std::vector<v1::SuspendRegistrationsRequest> requests(5);
  requests[1].mutable_target()->set_all(false);
  requests[2].mutable_target()->set_server("");
  requests[3].mutable_target()->set_registration("");
  requests[4].mutable_target()->set_all(true);
  requests[4].set_why(std::string(201, 'x'));
  Ids ids;
  for (const auto& request : requests) {
    EXPECT_EQ(DetailOf(Suspend(*client, request, &ids)).reason(), v1::ErrorDetail::INVALID_ARGUMENT)
        << request.DebugString();
  }
  EXPECT_FALSE(store_.Find("id-mercy-alice")->suspension.has_value());
}

TEST_F(RegistrationOrders, SomebodyElses_LooksExactlyLikeNone) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(bob_);
  const grpc::Status absent = SuspendOne(*client, "no-such");
  EXPECT_EQ(absent.error_code(), grpc::StatusCode::NOT_FOUND);
  const auto rotate = [&](const std::string& name) {
    grpc::ClientContext context;
    v1::RotateKeyRequest request;
    v1::RotateKeyResponse response;
    request.set_registration(name);
    return StubOf(*client)->RotateKey(&context, request, &response);
  };
  for (const std::string& name : {std::string("mercy"), id}) {
    for (const grpc::Status& status :
         {SuspendOne(*client, name), SuspendOne(*client, name, std::string(300, 'x')),
          rotate(name)}) {
      EXPECT_EQ(status.error_message(), absent.error_message());
      EXPECT_EQ(status.error_details(), absent.error_details());
    }
  }
  v1::SuspendRegistrationsRequest of_server;
  of_server.mutable_target()->set_server("mercy");
  Ids ids;
  EXPECT_EQ(Suspend(*client, of_server, &ids).error_details(), absent.error_details());
}

TEST_F(RegistrationOrders, RotateKey_SaysThatItTakesALoginAndChangesNothing) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  const auto rotate = [&](const std::string& algorithm) {
    grpc::ClientContext context;
    v1::RotateKeyRequest request;
    v1::RotateKeyResponse response;
    request.set_registration("mercy");
    request.set_algorithm(algorithm);
    return StubOf(*client)->RotateKey(&context, request, &response);
  };
  const int writes = store_.writes();
  const grpc::Status status = rotate("");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  const v1::ErrorDetail detail = DetailOf(status);
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::ROTATION_NEEDS_BROWSER);
  EXPECT_EQ(detail.user_action(), v1::ErrorDetail::RENEW);
  EXPECT_NE(detail.remedy().find("smartkeyctl renew"), std::string::npos);
  EXPECT_EQ(DetailOf(rotate("HS256")).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
  EXPECT_EQ(store_.writes(), writes);
  ASSERT_TRUE(SuspendOne(*client, "mercy").ok());
  EXPECT_EQ(DetailOf(rotate("")).reason(), v1::ErrorDetail::SUSPENDED);
}

TEST_F(RegistrationOrders, ThePersonSaysWhenTheAccessEnds_TheRegistrationShowsIt) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  EXPECT_FALSE(Get(*client, "mercy").has_expected_end());
  const auto say = [&](int64_t seconds) {
    grpc::ClientContext context;
    v1::UpdateRegistrationRequest request;
    v1::UpdateRegistrationResponse response;
    request.set_registration("mercy");
    request.mutable_access_for()->set_seconds(seconds);
    return StubOf(*client)->UpdateRegistration(&context, request, &response);
  };
  ASSERT_TRUE(say(90 * 86400).ok());
  const v1::ExpectedEnd end = Get(*client, "mercy").expected_end();
  EXPECT_EQ(end.source(), v1::ExpectedEnd::PERSON);
  EXPECT_NEAR(end.time().seconds(), absl::ToUnixSeconds(clock_.Now()) + 90 * 86400, 60);
  for (const int64_t bad : {int64_t{-1}, int64_t{400'000'000}}) {
    EXPECT_EQ(DetailOf(say(bad)).reason(), v1::ErrorDetail::INVALID_ARGUMENT) << bad;
  }
  ASSERT_TRUE(say(0).ok());
  EXPECT_FALSE(Get(*client, "mercy").has_expected_end());
}

TEST_F(RegistrationOrders, EarlierGenerationsEnded_TheRegistrationShowsWhatToExpect) {
  const std::string id = AddRegistration("mercy");
  store_.Update(
      id,
      [](Registration& one) {
        one.earlier_lifetimes = {absl::Hours(48)};
        return absl::OkStatus();
      },
      [](absl::StatusOr<RegistrationStore::Snapshot> done) { EXPECT_TRUE(done.ok()); });
  auto client = Connect(alice_);
  const v1::ExpectedEnd end = Get(*client, "mercy").expected_end();
  EXPECT_EQ(end.source(), v1::ExpectedEnd::EARLIER_GENERATIONS);
  EXPECT_NEAR(end.time().seconds(), absl::ToUnixSeconds(clock_.Now()) + 2 * 86400, 60);
}

class ChangeOwner : public RegistrationOrders {
 protected:
  std::string Give(Client& client, const std::string& registration, const std::string& owner) {
    v1::UpdateRegistrationRequest request;
    request.set_registration(registration);
    request.set_owner(owner);
    return Give(client, request);
  }
  std::string Give(Client& client, const v1::UpdateRegistrationRequest& request) {
    grpc::ClientContext context;
    v1::UpdateRegistrationResponse response;
    const grpc::Status status = StubOf(client)->UpdateRegistration(&context, request, &response);
    return status.ok() ? response.registration().owner().name()
                       : v1::ErrorDetail::Reason_Name(DetailOf(status).reason());
  }
};

TEST_F(ChangeOwner, ByRoot_ItIsTheOthers) {
  const std::string id = AddRegistration("mercy");
  auto root = Connect(Administrator());
  EXPECT_EQ(Give(*root, "alice/mercy", "bob"), "bob");
  EXPECT_EQ(store_.Find(id)->owner_uid, 1001u);
  EXPECT_EQ(access_.RightTo(bob_, *store_.Find(id)).relation, Right::Relation::kOwner);
  EXPECT_EQ(access_.RightTo(alice_, *store_.Find(id)).relation, Right::Relation::kNone);
}

TEST_F(ChangeOwner, LoginRenamed_TheOwnerHasItAgain) {
  const std::string id = AddRegistration("mercy", 1001, "robert");
  EXPECT_EQ(Give(*Connect(bob_), id, "bob"), "OWNER_CHANGED");
  EXPECT_EQ(Give(*Connect(Administrator()), "robert/mercy", "bob"), "bob");
  EXPECT_EQ(access_.RightTo(bob_, *store_.Find(id)).relation, Right::Relation::kOwner);
}

TEST_F(ChangeOwner, ByOthersOrToNobodyOrInTheMiddleOfARenewal_NothingChanges) {
  const std::string id = AddRegistration("mercy");
  auto root = Connect(Administrator());
  EXPECT_EQ(Give(*Connect(alice_), "mercy", "bob"), "NOT_PERMITTED");
  EXPECT_EQ(Give(*Connect(bob_), "mercy", "bob"), "REGISTRATION_NOT_FOUND");
  Caller of_the_group = User(1002, "carol");
  of_the_group.admin = true;
  EXPECT_EQ(Give(*Connect(of_the_group), "alice/mercy", "bob"), "NOT_PERMITTED");
  EXPECT_EQ(Give(*root, "alice/mercy", "mallory"), "UNKNOWN_PRINCIPAL");
  v1::UpdateRegistrationRequest with_more;
  with_more.set_registration("alice/mercy");
  with_more.set_owner("bob");
  with_more.set_name("other");
  EXPECT_EQ(Give(*root, with_more), "INVALID_ARGUMENT");
  AddRegistration("mercy", 1001, "bob");
  EXPECT_EQ(Give(*root, "alice/mercy", "bob"), "NAME_TAKEN");
  store_.Update(
      id,
      [](Registration& registration) {
        Generation next = registration.generations.back();
        next.number = 2;
        next.state = GenerationState::kPending;
        next.client_id = next.enrollment_id = "";
        registration.generations.push_back(next);
        return absl::OkStatus();
      },
      [](const auto& updated) { EXPECT_TRUE(updated.ok()) << updated.status(); });
  EXPECT_EQ(Give(*root, "alice/mercy", "viewer"), "ENROLLMENT_UNDER_WAY");
  EXPECT_EQ(store_.Find(id)->owner_name, "alice");
}

}  // namespace
}  // namespace smartkey
