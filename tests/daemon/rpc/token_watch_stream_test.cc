// SPDX-License-Identifier: Apache-2.0
// TokenService.WatchAccessToken over a real socket.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

class Stream {
 public:
  explicit Stream(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& registration = "mercy")
      : stub_(v1::TokenService::NewStub(channel)) {
    // Against a test that waits for ever; no test comes near it.
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    v1::WatchAccessTokenRequest request;
    request.mutable_token()->set_registration(registration);
    reader_ = stub_->WatchAccessToken(&context_, request);
  }
  ~Stream() {
    if (reader_ == nullptr) return;
    context_.TryCancel();
    reader_->Finish();
  }

  // The token, the error's reason, or both; "end" when the stream has ended.
  std::string Next() {
    last_.Clear();
    if (!reader_->Read(&last_)) return "end";
    std::string words = last_.token().access_token();
    if (last_.has_error()) {
      absl::StrAppend(&words, words.empty() ? "" : " ",
                      v1::ErrorDetail::Reason_Name(last_.error().reason()));
    }
    return words;
  }
  const v1::WatchAccessTokenResponse& last() const { return last_; }
  grpc::Status Finish() { return std::exchange(reader_, nullptr)->Finish(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::TokenService::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::WatchAccessTokenResponse>> reader_;
  v1::WatchAccessTokenResponse last_;
};

class TokenWatchStream : public Services {
 protected:
  void ExpectEndsWithAccessEnded(Stream& stream) {
    EXPECT_EQ(stream.Next(), "end");
    const grpc::Status status = stream.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::ACCESS_ENDED);
  }
  // True once it is; the connection's end takes another thread's time.
  bool WaitForWatchers(int count) {
    for (int i = 0; i < 2000; ++i) {
      if (feed_.watchers() == count) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }
};

TEST_F(TokenWatchStream, TellsTheFullStateAtOnce) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "a-token");
  const v1::GetAccessTokenResponse& token = stream.last().token();
  EXPECT_EQ(token.token_type(), "Bearer");
  EXPECT_EQ(token.fhir_base(), "https://ehr.example/fhir");
  EXPECT_EQ(token.patient(), "patient-1");
  EXPECT_EQ(token.registration(), "id-mercy-alice");
  EXPECT_GT(token.expires_at().seconds(), 0);
  EXPECT_FALSE(stream.last().has_error());
}

TEST_F(TokenWatchStream, NoTokenCanBeHad_SaysWhyAndGoesOn) {
  AddRegistration("mercy");
  minter_.error = WithRetryAfter(MakeError(Reason::kServerUnreachable, "no connection"),
                                 absl::Milliseconds(10));
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "SERVER_UNREACHABLE");
  EXPECT_FALSE(stream.last().has_token());
  EXPECT_FALSE(stream.last().error().remedy().empty());
}

TEST_F(TokenWatchStream, AnotherUsersRegistration_DoesNotExist) {
  AddRegistration("mercy");
  auto client = Connect(bob_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "end");
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(TokenWatchStream, Suspended_EndsAtOnceOnALiveConnection) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "a-token");
  suspender_.Suspend(alice_, {RegistrationTarget::Kind::kAll, ""}, "", [](auto) {});
  ExpectEndsWithAccessEnded(stream);
  EXPECT_TRUE(WaitForWatchers(0));
}

TEST_F(TokenWatchStream, SuspendedWhileTheServerIsSlow_Ends) {
  AddRegistration("mercy");
  minter_.hang = true;
  auto client = Connect(alice_);
  Stream stream(client->channel);
  while (tokens_.status().flights == 0) absl::SleepFor(absl::Milliseconds(1));
  suspender_.Suspend(alice_, {RegistrationTarget::Kind::kAll, ""}, "", [](auto) {});
  ExpectEndsWithAccessEnded(stream);
}

TEST_F(TokenWatchStream, ClientGoesAway_NothingIsLeft) {
  AddRegistration("mercy");
  {
    auto client = Connect(alice_);
    Stream stream(client->channel);
    EXPECT_EQ(stream.Next(), "a-token");
    EXPECT_EQ(feed_.watchers(), 1);
  }
  EXPECT_TRUE(WaitForWatchers(0));
}

TEST_F(TokenWatchStream, DaemonStops_IsTold) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "a-token");
  feed_.Stop();
  EXPECT_EQ(stream.Next(), "end");
  EXPECT_EQ(DetailOf(stream.Finish()).reason(), v1::ErrorDetail::SHUTTING_DOWN);
}

}  // namespace
}  // namespace smartkey
