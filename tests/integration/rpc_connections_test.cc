// SPDX-License-Identifier: Apache-2.0
// ConnectionServer over real unix sockets, with real users: who is attested, who is refused, what
// happens to connections whose peer goes, stays silent, or waits for a handler that never ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "daemon/rpc/connection_server.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/process_setup.h"
#include "google/rpc/status.pb.h"
#include "rpc_probe.grpc.pb.h"
#include "tests/integration/rpc_raw_client.h"

namespace smartkey {
namespace {

using test::Identity;
using test::Nonce;

constexpr uid_t kAlice = 61001, kBob = 61002, kCarol = 61003;
constexpr char kWhoAmI[] = "/smartkey.test.Probe/WhoAmI";

// What the handlers of all connections share with the test.
struct Board {
  Scheduler& scheduler;
  Mutex mu;
  std::vector<std::shared_ptr<PendingUnaryCall<Identity>>> hanging ABSL_GUARDED_BY(mu);
  std::vector<grpc::ServerUnaryReactor*> deaf ABSL_GUARDED_BY(mu);
  int counting ABSL_GUARDED_BY(mu) = 0;  // streams that have begun
  int abandoned ABSL_GUARDED_BY(mu) = 0;
};

class DeafReactor : public grpc::ServerUnaryReactor {
  void OnDone() override { delete this; }
};

class Probe : public test::Probe::CallbackService, public ConnectionServices {
 public:
  Probe(const Caller& caller, Board& board) : caller_(caller), board_(board) {}
  std::vector<grpc::Service*> services() override { return {this}; }

  grpc::ServerUnaryReactor* WhoAmI(grpc::CallbackServerContext* context, const Nonce* request,
                                   Identity* response) override {
    auto call =
        PendingUnaryCall<Identity>::Start(context, response, board_.scheduler, absl::Minutes(1));
    call->Finish(absl::OkStatus(), [&](Identity& identity) {
      identity.set_nonce(request->value());
      identity.set_uid(caller_.uid);
      identity.set_in_container(caller_.in_container);
      identity.set_admin(caller_.admin);
      identity.set_pinned(caller_.pid_pinned);
    });
    return call->reactor();
  }

  grpc::ServerUnaryReactor* Hang(grpc::CallbackServerContext* context, const Nonce* request,
                                 Identity* response) override {
    const absl::Duration limit =
        request->value() == 0 ? absl::Hours(1) : absl::Milliseconds(request->value());
    auto call = PendingUnaryCall<Identity>::Start(context, response, board_.scheduler, limit);
    call->OnAbandon([this] {
      MutexLock lock(board_.mu);
      ++board_.abandoned;
    });
    grpc::ServerUnaryReactor* reactor = call->reactor();
    MutexLock lock(board_.mu);
    board_.hanging.push_back(std::move(call));
    return reactor;
  }

  grpc::ServerUnaryReactor* HangDeaf(grpc::CallbackServerContext*, const Nonce*,
                                     Identity*) override {
    auto* reactor = new DeafReactor;
    MutexLock lock(board_.mu);
    board_.deaf.push_back(reactor);
    return reactor;
  }

  grpc::ServerWriteReactor<Nonce>* Count(grpc::CallbackServerContext*,
                                         const Nonce* request) override {
    auto call = PendingStreamCall<Nonce>::Start();
    for (uint64_t i = 1; i <= request->value(); ++i) {
      Nonce nonce;
      nonce.set_value(i);
      call->Write(nonce);
    }
    if (request->value() % 2 == 1) call->Finish(MakeError(Reason::kNameTaken, "counted"));
    call->OnAbandon([this] {
      MutexLock lock(board_.mu);
      ++board_.abandoned;
    });
    MutexLock lock(board_.mu);
    ++board_.counting;
    return call->reactor();
  }

 private:
  const Caller caller_;
  Board& board_;
};

int CountEntries(const char* directory) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

class RpcConnections : public testing::Test {
 protected:
  void SetUp() override {
    PrepareProcessForRpc();
    RaiseFileLimit();
    char name[] = "/tmp/smartkey-rpc-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    ASSERT_EQ(chmod(name, 0755), 0);
    path_ = directory_ + "/public.sock";
    admin_path_ = directory_ + "/admin.sock";
  }

  void TearDown() override {
    {
      MutexLock lock(board_.mu);
      for (grpc::ServerUnaryReactor* reactor : board_.deaf) reactor->Finish(grpc::Status::OK);
      board_.deaf.clear();
    }
    if (server_ != nullptr) {
      EXPECT_TRUE(server_->Shutdown(absl::ZeroDuration(), absl::Seconds(30)));
      server_.reset();
    }
    std::filesystem::remove_all(directory_);
  }

  void StartServer(ConnectionServer::Options options = {}) {
    std::vector<ConnectionServer::Endpoint> endpoints;
    const ServicesFactory factory = [this](const Caller& caller) {
      return std::make_unique<Probe>(caller, board_);
    };
    auto listener = Listener::Create({path_});
    ASSERT_TRUE(listener.ok()) << listener.status();
    endpoints.push_back({*std::move(listener), factory});
    auto admin = Listener::Create({admin_path_});
    ASSERT_TRUE(admin.ok()) << admin.status();
    endpoints.push_back({*std::move(admin), factory, true, kAdminGroup});
    auto server = ConnectionServer::Start(std::move(endpoints), std::move(options), clock_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // Waits for a condition on the server's figures.
  template <class Condition>
  ::testing::AssertionResult Eventually(Condition condition) {
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (!condition(server_->stats())) {
      if (absl::Now() > limit) return ::testing::AssertionFailure() << "not within a minute";
      absl::SleepFor(absl::Milliseconds(5));
    }
    return ::testing::AssertionSuccess();
  }

  std::unique_ptr<test::Probe::Stub> NewStub() {
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    return test::Probe::NewStub(
        grpc::CreateCustomChannel("unix:" + path_, grpc::InsecureChannelCredentials(), args));
  }

  RawClient ConnectRaw() {
    auto client = RawClient::Connect(path_);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  // Starts the probe client as another user; its output is at the end of the returned descriptor.
  struct Child {
    pid_t pid;
    UniqueFd output;
  };
  Child StartAs(uid_t uid, int threads, int rounds, const std::string& where = "", gid_t group = 0,
                bool admin = false) {
    const std::string program =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rpc_probe_client";
    const std::string uid_text = absl::StrCat(uid), group_text = absl::StrCat(group),
                      threads_text = absl::StrCat(threads), rounds_text = absl::StrCat(rounds);
    const std::string& socket = admin ? admin_path_ : path_;
    int pipe_fds[2];
    EXPECT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      dup2(pipe_fds[1], STDOUT_FILENO);
      execl(program.c_str(), program.c_str(), socket.c_str(), uid_text.c_str(), group_text.c_str(),
            threads_text.c_str(), rounds_text.c_str(), where.empty() ? nullptr : where.c_str(),
            nullptr);
      _exit(127);
    }
    close(pipe_fds[1]);
    return {pid, UniqueFd(pipe_fds[0])};
  }
  std::string Output(Child child) {
    std::string text;
    char buffer[256];
    ssize_t n;
    while ((n = read(child.output.get(), buffer, sizeof buffer)) > 0) text.append(buffer, n);
    int status = -1;
    waitpid(child.pid, &status, 0);
    if (status != 0) absl::StrAppend(&text, "(exit status ", status, ": these tests need root)");
    return text;
  }

  static constexpr gid_t kAdminGroup = 61099;
  SystemClock clock_;
  TimerThread scheduler_{clock_};
  Board board_{scheduler_};
  std::string directory_, path_, admin_path_;
  std::unique_ptr<ConnectionServer> server_;
};

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
