// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/scheduler.h"
#include "daemon/rpc/connection_server.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/process_setup.h"
#include "rpc_probe.grpc.pb.h"
#include "tests/integration/rpc_raw_client.h"

namespace smartkey {

// A ConnectionServer on two sockets, with a service that does what the tests want of a handler, and
// other users who call it.

using test::Identity;
using test::Nonce;

inline constexpr uid_t kAlice = 61001, kBob = 61002, kCarol = 61003;
inline constexpr char kWhoAmI[] = "/smartkey.test.Probe/WhoAmI";

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

inline int CountEntries(const char* directory) {
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

}  // namespace smartkey
