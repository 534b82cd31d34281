// SPDX-License-Identifier: Apache-2.0
// ConnectionServer at its limits: too many connections, too fast, too slow, too silent, and none of
// it felt by others.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>

#include "absl/strings/match.h"
#include "google/rpc/status.pb.h"
#include "tests/integration/rpc_connections_fixture.h"

namespace smartkey {
namespace {

TEST_F(RpcConnections, OverTheLimitARealClientIsToldSoAtOnce) {
  ConnectionServer::Options options;
  options.max_connections_per_uid = 2;
  StartServer(options);
  RawClient first = ConnectRaw(), second = ConnectRaw();
  ASSERT_TRUE(Eventually([](const auto& stats) { return stats.connections == 2; }));

  auto stub = NewStub();
  Nonce request;
  Identity response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
  const grpc::Status status = stub->WhoAmI(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  google::rpc::Status wire;
  ASSERT_TRUE(wire.ParseFromString(status.error_details()));
  ASSERT_EQ(wire.details_size(), 1);
  v1::ErrorDetail detail;
  ASSERT_TRUE(wire.details(0).UnpackTo(&detail));
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::TOO_MANY_CONNECTIONS);
  EXPECT_EQ(detail.remedy(), RowFor(Reason::kTooManyConnections).remedy);

  // Another user and the admin socket have room of their own.
  const std::string admitted = "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n";
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1)), admitted);
  EXPECT_TRUE(absl::StrContains(Output(StartAs(0, 1, 1, "", 0, true)), "admin=1"));
}

TEST_F(RpcConnections, ManyUidsWithoutALogin_ShareFewPlacesAndUsersHaveTheirs) {
  ConnectionServer::Options options;
  options.max_connections_of_strangers = 2;
  options.user = [](uid_t uid) -> absl::StatusOr<UserEntry> {
    if (uid == kAlice) return UserEntry{"alice", "/bin/bash", kAlice};
    return UserEntry();
  };
  StartServer(options);
  RawClient first = ConnectRaw(), second = ConnectRaw();  // by a uid without a login
  for (RawClient* const client : {&first, &second}) {     // each has its place when it is answered
    client->Send(RawClient::Request(kWhoAmI, VarintField(1, 5)));
    ASSERT_TRUE(client->ReadAnswer().ok());
  }
  EXPECT_EQ(Output(StartAs(kBob, 1, 1)), "right=0 wrong=0 failed=1 container=0 admin=0 denied=0\n");
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1)),
            "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
}

TEST_F(RpcConnections, UidInAContainerConnectsToItsLimit_ItsNamesakeOutsideIsServed) {
  ConnectionServer::Options options;
  options.max_connections_per_uid = 1;
  options.new_connections_at_once = 3;
  options.new_connections_per_second = 1;
  StartServer(options);
  // Each in turn uses up what it has: the container by connecting too fast, the other by keeping.
  const std::string inside = Output(StartAs(kAlice, 1, 20, "pidns"));
  EXPECT_FALSE(absl::StrContains(inside, "failed=0 ")) << inside;
  EXPECT_TRUE(absl::StrContains(inside, "container=")) << inside;
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1)),
            "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  RawClient kept = ConnectRaw();
  kept.Send(RawClient::Request(kWhoAmI, VarintField(1, 5)));
  ASSERT_TRUE(kept.ReadAnswer().ok());
  EXPECT_EQ(Output(StartAs(0, 1, 1, "pidns")),
            "right=1 wrong=0 failed=0 container=1 admin=0 denied=0\n");
}

TEST_F(RpcConnections, AFewUidsWithManyConnections_LeaveRoomForOneThatHasNone) {
  ConnectionServer::Options options;
  options.max_connections = 16;
  StartServer(options);
  std::vector<RawClient> many;
  for (int i = 0; i < 16; ++i) many.push_back(ConnectRaw());
  ASSERT_TRUE(
      Eventually([](const auto& stats) { return stats.connections == 14 && stats.refused == 2; }));
  EXPECT_EQ(Output(StartAs(kAlice, 1, 1)),
            "right=1 wrong=0 failed=0 container=0 admin=0 denied=0\n");
}

TEST_F(RpcConnections, ConnectingFasterThanAUserMayIsRefusedAndOthersAreServed) {
  ConnectionServer::Options options;
  options.new_connections_at_once = 20;
  options.new_connections_per_second = 1;
  StartServer(std::move(options));
  const std::string told = Output(StartAs(kAlice, 1, 100));
  EXPECT_NE(told, "right=100 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  EXPECT_GE(server_->stats().refused, 1u);
  EXPECT_EQ(Output(StartAs(kBob, 1, 10)),
            "right=10 wrong=0 failed=0 container=0 admin=0 denied=0\n");
}

TEST_F(RpcConnections, WhileTheUserDatabaseIsSilentCallersAreToldToComeBackAndThenServed) {
  std::atomic<bool> silent{true};
  ConnectionServer::Options options;
  options.user = [&silent](uid_t) -> absl::StatusOr<UserEntry> {
    if (silent) return MakeError(Reason::kNotReady, "no answer");
    return UserEntry{"alice", "", 0};
  };
  StartServer(options);
  auto stub = NewStub();
  const auto ask = [&](bool wait_for_ready) {
    Nonce request;
    Identity response;
    grpc::ClientContext context;
    context.set_wait_for_ready(wait_for_ready);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    return stub->WhoAmI(&context, request, &response);
  };
  const grpc::Status refused = ask(false);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  google::rpc::Status wire;
  ASSERT_TRUE(wire.ParseFromString(refused.error_details()));
  ASSERT_EQ(wire.details_size(), 1) << refused.error_message();
  v1::ErrorDetail detail;
  ASSERT_TRUE(wire.details(0).UnpackTo(&detail));
  EXPECT_EQ(detail.reason(), v1::ErrorDetail::NOT_READY);
  EXPECT_TRUE(detail.has_retry_after());
  EXPECT_TRUE(absl::StrContains(detail.remedy(), "user database")) << detail.remedy();
  EXPECT_TRUE(
      Eventually([](const auto& stats) { return stats.connections == 0 && stats.refused >= 1; }));

  // The same channel, once the database is back.
  silent = false;
  const grpc::Status served = ask(true);
  EXPECT_TRUE(served.ok()) << served.error_message();
}

TEST_F(RpcConnections, AUserWithManyConnectionsAndASlowLookupKeepsNobodyElseWaiting) {
  Mutex mu;
  CondVar changed;
  bool answer = false;
  int under_way = 0, most_under_way = 0;
  ConnectionServer::Options options;
  options.user = [&](uid_t uid) -> absl::StatusOr<UserEntry> {
    if (uid != kAlice) return UserEntry{"somebody", "", 0};
    MutexLock lock(mu);
    most_under_way = std::max(most_under_way, ++under_way);
    changed.NotifyAll();
    while (!answer) changed.Wait(mu);
    --under_way;
    return UserEntry{"alice", "", 0};
  };
  StartServer(options);
  constexpr int kMany = 30;
  Child alice = StartAs(kAlice, kMany, 1);
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == kMany; }));

  EXPECT_EQ(Output(StartAs(kBob, 4, 5)),
            "right=20 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  EXPECT_TRUE(absl::StrContains(Output(StartAs(0, 1, 1, "", 0, true)), "right=1"));
  {
    MutexLock lock(mu);
    EXPECT_EQ(most_under_way, 1);
    answer = true;
    changed.NotifyAll();
  }
  EXPECT_EQ(Output(std::move(alice)), "right=30 wrong=0 failed=0 container=0 admin=0 denied=0\n");
  ASSERT_TRUE(Eventually([](const auto& stats) { return stats.connections == 0; }));
}

TEST_F(RpcConnections, APeerWithoutAWholeRequestIsClosedAndOthersAreNot) {
  ConnectionServer::Options options;
  options.first_request_limit = absl::Milliseconds(300);
  StartServer(options);
  RawClient silent = ConnectRaw();
  RawClient half = ConnectRaw();
  const std::string request = RawClient::Request(kWhoAmI, VarintField(1, 5));
  half.Send(absl::string_view(request).substr(0, request.size() - 1));
  RawClient patient = ConnectRaw();
  patient.Send(RawClient::Request("/smartkey.test.Probe/Hang", ""));

  EXPECT_TRUE(silent.WaitForClose());
  EXPECT_TRUE(half.WaitForClose());
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == 1; }));
  EXPECT_EQ(server_->stats().timed_out, 2u);
  {
    MutexLock lock(board_.mu);
    ASSERT_EQ(board_.hanging.size(), 1u);
    board_.hanging[0]->Finish(absl::OkStatus(), [](Identity& identity) { identity.set_nonce(5); });
  }
  const auto answer = patient.ReadAnswer();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(FindVarint(answer->message, 1), 5u);
}

TEST_F(RpcConnections, AnIdleConnectionIsClosedEvenIfItsPeerIgnoresTheGoAway) {
  ConnectionServer::Options options;
  options.connection.idle = absl::Milliseconds(300);
  options.idle_grace = absl::Milliseconds(300);
  options.first_request_limit = absl::Seconds(1);
  StartServer(options);
  RawClient peer = ConnectRaw();
  peer.Send(RawClient::Request(kWhoAmI, VarintField(1, 5)));
  ASSERT_TRUE(peer.ReadAnswer().ok());
  EXPECT_TRUE(peer.WaitForClose());
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == 0; }));
}

TEST_F(RpcConnections, OutOfDescriptorsAcceptingPausesAndGoesOn) {
  StartServer();
  std::vector<RawClient> waiting;
  for (int i = 0; i < 2; ++i) {
    // The client's descriptor exists before the limit falls: only the server's are missing.
    waiting.push_back(ConnectRaw());
    // Answered: gRPC has all the descriptors that it wants, for itself and for this connection.
    waiting.back().Send(RawClient::Request(kWhoAmI, VarintField(1, i)));
    ASSERT_TRUE(waiting.back().ReadAnswer().ok());
  }
  UniqueFd late(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{3, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path_.copy(address.sun_path, sizeof address.sun_path - 1);
  const int connected = connect(late.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  const auto paused = Eventually([](const auto& stats) { return stats.accept_pauses >= 2; });
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_EQ(connected, 0);
  EXPECT_TRUE(paused);
  // A pause is a pause: a loop that spins would count thousands.
  EXPECT_LT(server_->stats().accept_pauses, 100u);
  EXPECT_TRUE(Eventually([](const auto& stats) { return stats.connections == 3; }));
}

TEST_F(RpcConnections, ConnectionsCostNoThreads) {
  StartServer();
  auto stub = NewStub();
  Nonce request;
  Identity response;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub->WhoAmI(&context, request, &response).ok());
  }
  std::vector<RawClient> peers;
  for (int i = 0; i < 100; ++i) {
    peers.push_back(ConnectRaw());
    peers.back().Send(RawClient::Request(kWhoAmI, VarintField(1, i)));
  }
  for (RawClient& peer : peers) ASSERT_TRUE(peer.ReadAnswer().ok());
  EXPECT_LT(CountEntries("/proc/self/task"), 60);
}

}  // namespace
}  // namespace smartkey
