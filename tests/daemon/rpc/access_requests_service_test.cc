// SPDX-License-Identifier: Apache-2.0
// SharingService over real sockets: requests for access. The rules are access_requests_test's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class AccessRequestsService : public Services {
 protected:
  using Resolve = v1::ResolveAccessRequestRequest;

  static std::string Words(const grpc::Status& status) {
    return status.ok() ? "ok" : v1::ErrorDetail::Reason_Name(DetailOf(status).reason());
  }

  static v1::RequestAccessRequest WishOf(const std::string& registration) {
    v1::RequestAccessRequest request;
    request.set_owner("alice");
    request.set_registration(registration);
    request.set_reason("for my viewer\x1b[2J");
    return request;
  }

  // A call that waits for the decision.
  struct Asking {
    std::unique_ptr<v1::SharingService::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::RequestAccessResponse>> reader;
    v1::RequestAccessResponse message;

    // "PENDING", or how the call ended.
    std::string Next() {
      if (reader->Read(&message)) return v1::AccessRequest::State_Name(message.state());
      return Words(reader->Finish());
    }
  };

  static std::unique_ptr<Asking> Ask(Client& client, const v1::RequestAccessRequest& request) {
    auto asking = std::make_unique<Asking>();
    asking->stub = v1::SharingService::NewStub(client.channel);
    asking->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    asking->reader = asking->stub->RequestAccess(&asking->context, request);
    return asking;
  }

  std::string List(Client& client, const std::string& registration = "") {
    grpc::ClientContext context;
    v1::ListAccessRequestsRequest request;
    request.set_registration(registration);
    list_.Clear();
    return Words(
        v1::SharingService::NewStub(client.channel)->ListAccessRequests(&context, request, &list_));
  }

  std::string Decide(Client& client, const Resolve& request) {
    grpc::ClientContext context;
    resolved_.Clear();
    return Words(v1::SharingService::NewStub(client.channel)
                     ->ResolveAccessRequest(&context, request, &resolved_));
  }

  std::string Decide(Client& client, const std::string& id, Resolve::Decision decision) {
    Resolve request;
    request.set_request_id(id);
    request.set_decision(decision);
    return Decide(client, request);
  }

  static std::string GetToken(Client& client) {
    grpc::ClientContext context;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration("mercy");
    return Words(
        v1::TokenService::NewStub(client.channel)->GetAccessToken(&context, request, &response));
  }

  std::string id_ = AddRegistration("mercy");
  std::unique_ptr<Client> alice_client_ = Connect(alice_), bob_client_ = Connect(bob_);
  v1::ListAccessRequestsResponse list_;
  v1::ResolveAccessRequestResponse resolved_;
};

TEST_F(AccessRequestsService, Approved_TheStreamSaysSoAndHisTokenComes) {
  auto asking = Ask(*bob_client_, WishOf("mercy"));
  EXPECT_EQ(asking->Next(), "PENDING");
  EXPECT_EQ(List(*alice_client_), "ok");
  ASSERT_EQ(list_.requests_size(), 1);
  const v1::AccessRequest& seen = list_.requests(0);
  EXPECT_EQ(seen.request_id(), asking->message.request_id());
  EXPECT_EQ(seen.principal().text(), "user:bob");
  EXPECT_EQ(seen.principal().user().uid(), 1001u);
  EXPECT_EQ(seen.registration_id(), id_);
  EXPECT_THAT(seen.operations(), ElementsAre(v1::TOKEN));
  EXPECT_EQ(seen.reason(), "for my viewer [2J");
  EXPECT_EQ(seen.expires_at().seconds() - seen.created_at().seconds(), 7 * 24 * 3600);

  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
  Resolve approve;
  approve.set_request_id(seen.request_id());
  approve.set_decision(Resolve::APPROVE);
  approve.mutable_valid_for()->set_seconds(3600);
  EXPECT_EQ(Decide(*alice_client_, approve), "ok");
  EXPECT_EQ(resolved_.share().principal().text(), "user:bob");
  EXPECT_EQ(resolved_.share().made_by().name(), "alice");
  EXPECT_TRUE(resolved_.share().has_expires_at());
  EXPECT_EQ(asking->Next(), "APPROVED");
  EXPECT_EQ(asking->message.registration_id(), id_);
  EXPECT_EQ(asking->Next(), "ok");
  EXPECT_EQ(GetToken(*bob_client_), "ok");
  EXPECT_EQ(List(*alice_client_), "ok");
  EXPECT_THAT(list_.requests(), IsEmpty());
}

TEST_F(AccessRequestsService, Denied_TheStreamSaysSoAndNothingIsShared) {
  auto asking = Ask(*bob_client_, WishOf("mercy"));
  EXPECT_EQ(asking->Next(), "PENDING");
  const std::string id = asking->message.request_id();
  EXPECT_EQ(Decide(*bob_client_, id, Resolve::APPROVE), "ACCESS_REQUEST_NOT_FOUND");
  EXPECT_EQ(Decide(*alice_client_, id, Resolve::DECISION_UNSPECIFIED), "INVALID_ARGUMENT");
  EXPECT_EQ(Decide(*alice_client_, id, Resolve::DENY), "ok");
  EXPECT_EQ(asking->Next(), "DENIED");
  EXPECT_EQ(asking->message.registration_id(), "");
  EXPECT_EQ(asking->Next(), "ok");
  EXPECT_EQ(GetToken(*bob_client_), "REGISTRATION_NOT_FOUND");
}

TEST_F(AccessRequestsService,
       NothingCanBeWritten_ApprovingAndDenyingAreRefusedBeforeAnythingChanges) {
  auto asking = Ask(*bob_client_, WishOf("mercy"));
  EXPECT_EQ(asking->Next(), "PENDING");
  const std::string id = asking->message.request_id();
  audit_.set_writable(MakeError(Reason::kAuditUnavailable, "the audit log cannot be written"));
  for (const Resolve::Decision decision : {Resolve::APPROVE, Resolve::DENY, Resolve::DENY_ALWAYS}) {
    EXPECT_EQ(Decide(*alice_client_, id, decision), "AUDIT_UNAVAILABLE");
    EXPECT_EQ(Decide(*bob_client_, id, decision), "ACCESS_REQUEST_NOT_FOUND");
  }
  const RegistrationStore::Snapshot registration = store_.Find(id_);
  EXPECT_THAT(registration->shares, IsEmpty());
  EXPECT_THAT(registration->denials, IsEmpty());
  EXPECT_TRUE(audit_.entries().empty());
  EXPECT_EQ(List(*alice_client_), "ok");
  EXPECT_THAT(list_.requests(), SizeIs(1)) << "it waits for a decision still";

  audit_.set_writable(absl::OkStatus());
  EXPECT_EQ(Decide(*alice_client_, id, Resolve::APPROVE), "ok");
  EXPECT_EQ(asking->Next(), "APPROVED");
  EXPECT_THAT(store_.Find(id_)->shares, SizeIs(1));
  EXPECT_THAT(audit_.entries("SharingService/ApproveAccessRequest"), SizeIs(1));
}

TEST_F(AccessRequestsService, WhoeverLeaves_HasAskedStill) {
  auto asking = Ask(*bob_client_, WishOf("mercy"));
  EXPECT_EQ(asking->Next(), "PENDING");
  asking->context.TryCancel();
  EXPECT_FALSE(asking->reader->Read(&asking->message));
  EXPECT_EQ(asking->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(List(*Connect(Administrator())), "ok");
  EXPECT_THAT(list_.requests(), SizeIs(1));
  EXPECT_EQ(List(*alice_client_, "mercy"), "ok");
  EXPECT_THAT(list_.requests(), SizeIs(1));
  AddRegistration("clinic");
  EXPECT_EQ(List(*alice_client_, "clinic"), "ok");
  EXPECT_THAT(list_.requests(), IsEmpty());
  EXPECT_EQ(List(*bob_client_, "mercy"), "REGISTRATION_NOT_FOUND");
}

TEST_F(AccessRequestsService, OneWaitsTooManyTimesAtOnce_IsToldAndNoted) {
  std::vector<std::unique_ptr<Asking>> waiting;
  for (int i = 0; i < AccessRequests::kMaxWatchesPerUid; ++i) {
    waiting.push_back(Ask(*bob_client_, WishOf("mercy")));
    ASSERT_EQ(waiting.back()->Next(), "PENDING");
  }
  EXPECT_THAT(audit_.entries("access/call"), IsEmpty());
  EXPECT_EQ(Ask(*bob_client_, WishOf("mercy"))->Next(), "RATE_LIMITED");
  ASSERT_THAT(audit_.entries("access/call"), SizeIs(1));
  EXPECT_EQ(audit_.entries("access/call")[0].user->name, "bob");
  EXPECT_EQ(audit_.entries("access/call")[0].outcome, Reason::kRateLimited);
}

TEST_F(AccessRequestsService, WrongWishes_AreRefusedWithWhatIsWrong) {
  const auto refusal = [&](void (*spoil)(v1::RequestAccessRequest&)) {
    v1::RequestAccessRequest request = WishOf("mercy");
    spoil(request);
    return Ask(*bob_client_, request)->Next();
  };
  EXPECT_EQ(refusal([](auto& r) { r.clear_owner(); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.clear_registration(); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.set_app("org.example.viewer"); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.set_reason(std::string(81, 'x')); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.set_owner(std::string(600, 'x')); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.add_operations(static_cast<v1::Operation>(99)); }),
            "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) { r.add_scopes("two words"); }), "INVALID_ARGUMENT");
  EXPECT_EQ(refusal([](auto& r) {
              r.add_operations(v1::ASSERTION);
              r.add_scopes("openid");
            }),
            "INVALID_ARGUMENT");
  EXPECT_EQ(Ask(*Connect(Administrator()), WishOf("mercy"))->Next(), "NOT_PERMITTED");
  EXPECT_EQ(List(*alice_client_), "ok");
  EXPECT_THAT(list_.requests(), IsEmpty());
}

}  // namespace
}  // namespace smartkey
