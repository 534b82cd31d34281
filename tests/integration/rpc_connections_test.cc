// SPDX-License-Identifier: Apache-2.0
// ConnectionServer over real unix sockets, with real users: who is attested, who is refused, what
// happens to connections whose peer goes or waits for a handler that never ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/match.h"
#include "google/rpc/status.pb.h"
#include "tests/integration/rpc_connections_fixture.h"

namespace smartkey {
namespace {

TEST_F(RpcConnections, ThreeUsersAreEachSeenAsThemselves) {
  StartServer();
  for (const uid_t uid : {kAlice, kBob, kCarol}) {
    EXPECT_EQ(Output(StartAs(uid, 1, 1)),
              "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  }
}

TEST_F(RpcConnections, TenThousandQuickReconnectsNeverMixTwoUsersAndLeaveNothingBehind) {
  ConnectionServer::Options options;
  options.new_connections_at_once = 10'000;
  StartServer(std::move(options));
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1)),
            "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  ASSERT_TRUE(Eventually([](const auto& stats) { return stats.connections == 0; }));
  const int files = CountEntries("/proc/self/fd");

  Child alice = StartAs(kAlice, 4, 1250);
  Child bob = StartAs(kBob, 4, 1250);
  const std::string expected = "right=5000 wrong=0 failed=0 container=0 admin=0 denied=0\n";
  EXPECT_EQ(Output(std::move(alice)), expected);
  EXPECT_EQ(Output(std::move(bob)), expected);

  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == 0; }));
  EXPECT_EQ(server_->stats().refused, 0u);
  EXPECT_LE(CountEntries("/proc/self/fd"), files);
}

TEST_F(RpcConnections, CallersFromOtherNamespacesAreSeenToBe) {
  StartServer();
  const std::string contained = "right=1 wrong=0 failed=0 container=1 admin=0 denied=0\n";
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "pidns")), contained);
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "userns")), contained);
}

TEST_F(RpcConnections, OnAKernelThatHoldsNoCallers_UsersAndContainersAreToldApartAsWell) {
  ConnectionServer::Options options;
  options.hold_callers = false;
  options.new_connections_at_once = 10'000;
  StartServer(std::move(options));
  EXPECT_EQ(Output(StartAs(kAlice, 4, 250)),
            "right=1000 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  EXPECT_EQ(Output(StartAs(kBob, 1, 1)), "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  const std::string contained = "right=1 wrong=0 failed=0 container=1 admin=0 denied=0\n";
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "pidns")), contained);
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "userns")), contained);
}

TEST_F(RpcConnections, TheAdminSocketIsForRootAndItsGroupOnTheHost) {
  Mutex mu;
  std::vector<std::pair<uid_t, Reason>> refused;
  ConnectionServer::Options options;
  options.on_refused_admin = [&](const Caller& caller, const absl::Status& refusal) {
    MutexLock lock(mu);
    refused.emplace_back(caller.uid, ReasonOf(refusal));
  };
  StartServer(std::move(options));
  const std::string admitted = "right=1 wrong=0 failed=0 container=0 admin=1 denied=0\n";
  const std::string denied = "right=0 wrong=0 failed=0 container=0 admin=0 denied=1\n";
  EXPECT_EQ(Output(StartAs(0, 1, 1, "", 0, true)), admitted);
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "", kAdminGroup, true)), admitted);
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1, "", 0, true)), denied);
  EXPECT_EQ(Output(StartAs(0, 1, 1, "pidns", 0, true)), denied);
  // Root on the public socket is an ordinary user.
  EXPECT_EQ(Output(StartAs(0, 1, 1)), "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  MutexLock lock(mu);
  EXPECT_THAT(refused, testing::AllOf(
                           testing::Contains(std::make_pair(kAlice, Reason::kNotPermitted)),
                           testing::Contains(std::make_pair(uid_t{0}, Reason::kContainerDenied))));
}

TEST_F(RpcConnections, HandlersThatNeverEndDoNotStopTheReapingOfOthers) {
  ConnectionServer::Options options;
  options.reapers = 1;
  StartServer(options);
  constexpr int kStuck = 5;
  {
    std::vector<RawClient> peers;
    for (int i = 0; i < kStuck; ++i) {
      peers.push_back(ConnectRaw());
      peers.back().Send(RawClient::Request("/smartkey.test.Probe/HangDeaf", ""));
    }
    ASSERT_TRUE(Eventually([this](const auto&) {
      MutexLock lock(board_.mu);
      return board_.deaf.size() == kStuck;
    }));
  }
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.closing == kStuck; }));
  EXPECT_EQ(Output(StartAs(kAlice, 2, 25)),
            "right=50 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == kStuck; }));
  EXPECT_FALSE(server_->Shutdown(absl::ZeroDuration(), absl::Milliseconds(200)));
}

TEST_F(RpcConnections, APeerThatGoesEndsItsCallsAndItsConnection) {
  StartServer();
  {
    RawClient peer = ConnectRaw();
    peer.Send(RawClient::Request("/smartkey.test.Probe/Hang", ""));
    RawClient watcher = ConnectRaw();
    watcher.Send(RawClient::Request("/smartkey.test.Probe/Count", VarintField(1, 2)));
    ASSERT_TRUE(Eventually([this](const auto&) {
      MutexLock lock(board_.mu);
      return board_.hanging.size() == 1 && board_.counting == 1;
    }));
  }
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == 0; }));
  MutexLock lock(board_.mu);
  EXPECT_EQ(board_.abandoned, 2);
}

TEST_F(RpcConnections, AnAnswerThatComesAfterTheCallEndedIsDropped) {
  StartServer();
  auto stub = NewStub();
  Nonce request;
  Identity response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  EXPECT_EQ(stub->Hang(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(Eventually([this](const auto&) {
    MutexLock lock(board_.mu);
    return board_.abandoned == 1;
  }));
  MutexLock lock(board_.mu);
  board_.hanging[0]->Finish(absl::OkStatus(), [](Identity&) { FAIL(); });
}

TEST_F(RpcConnections, ACallWithoutDeadlineEndsAtItsLimitWithTheReason) {
  StartServer();
  auto stub = NewStub();
  Nonce request;
  request.set_value(30);
  Identity response;
  grpc::ClientContext context;
  const grpc::Status status = stub->Hang(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.details_size(), 1);
}

TEST_F(RpcConnections, CompletionAndCancellationThatRaceEndEachCallOnce) {
  StartServer();
  auto stub = NewStub();
  for (int round = 0; round < 200; ++round) {
    Nonce request;
    Identity response;
    grpc::ClientContext context;
    std::thread caller([&] {
      const grpc::Status status = stub->Hang(&context, request, &response);
      EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::CANCELLED);
    });
    std::shared_ptr<PendingUnaryCall<Identity>> call;
    while (call == nullptr) {
      MutexLock lock(board_.mu);
      if (board_.hanging.empty()) continue;
      call = board_.hanging.back();
      board_.hanging.pop_back();
    }
    std::thread canceller([&] { context.TryCancel(); });
    call->Finish(absl::OkStatus(), [](Identity& identity) { identity.set_nonce(1); });
    canceller.join();
    caller.join();
  }
}

TEST_F(RpcConnections, AStreamDeliversWhatWasWrittenBeforeItsEnd) {
  StartServer();
  auto stub = NewStub();
  Nonce request, message;
  request.set_value(7);
  grpc::ClientContext context;
  auto reader = stub->Count(&context, request);
  uint64_t expected = 0;
  while (reader->Read(&message)) EXPECT_EQ(message.value(), ++expected);
  EXPECT_EQ(expected, 7u);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(status.error_message(), "counted");
}

TEST_F(RpcConnections, HealthIsToldToLiveConnectionsAndToNewOnes) {
  StartServer();
  const auto ask = [](RawClient& client) {
    EXPECT_TRUE(client.Send(RawClient::Request("/grpc.health.v1.Health/Check", "")));
    const auto answer = client.ReadAnswer();
    return answer.ok() ? FindVarint(answer->message, 1) : 0;  // 1 SERVING, 2 NOT_SERVING
  };
  RawClient before = ConnectRaw();
  EXPECT_EQ(ask(before), 1u);
  RawClient live = ConnectRaw();
  ASSERT_TRUE(Eventually([](const auto& stats) { return stats.connections == 2; }));
  server_->SetHealth("", false);
  EXPECT_EQ(ask(live), 2u);
  RawClient late = ConnectRaw();
  EXPECT_EQ(ask(late), 2u);
}

TEST_F(RpcConnections, ShutdownLetsCallsEndWithinTheGraceAndCancelsTheRest) {
  StartServer();
  RawClient quick = ConnectRaw(), slow = ConnectRaw();
  quick.Send(RawClient::Request("/smartkey.test.Probe/Hang", VarintField(1, 100)));
  slow.Send(RawClient::Request("/smartkey.test.Probe/Hang", ""));
  ASSERT_TRUE(Eventually([this](const auto&) {
    MutexLock lock(board_.mu);
    return board_.hanging.size() == 2;
  }));
  EXPECT_TRUE(server_->Shutdown(absl::Seconds(2), absl::Seconds(30)));
  const auto answer = quick.ReadAnswer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_FALSE(answer->closed) << "it was answered before the connection was closed";
  EXPECT_TRUE(slow.WaitForClose());
  server_.reset();
}

TEST_F(RpcConnections, ATooLargeRequestIsRefused) {
  StartServer();
  auto stub = NewStub();
  Nonce request;
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(
      15, std::string(2 * 1024 * 1024, 'x'));
  Identity response;
  grpc::ClientContext context;
  EXPECT_EQ(stub->WhoAmI(&context, request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace smartkey
