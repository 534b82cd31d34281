// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_tracker.h"

#include <grpcpp/generic/generic_stub.h>

#include <string>
#include <vector>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

// Keeps what it is told.
class KeptCalls : public CallObserver {
 public:
  void OnCallEnded(absl::string_view method, bool, grpc::StatusCode, absl::Duration) override {
    MutexLock lock(mu_);
    methods_.emplace_back(method);
    ended_.NotifyAll();
  }
  std::vector<std::string> Await(size_t count) {
    MutexLock lock(mu_);
    while (methods_.size() < count) ended_.Wait(mu_);
    return methods_;
  }

 private:
  Mutex mu_;
  CondVar ended_;
  std::vector<std::string> methods_ ABSL_GUARDED_BY(mu_);
};

class TrackedCalls : public Services {
 protected:
  static grpc::StatusCode Call(Client& client, const std::string& method) {
    grpc::GenericStub stub(client.channel);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    grpc::ByteBuffer answer;
    grpc::Status status;
    auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(&answer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status.error_code();
  }
};

TEST_F(TrackedCalls, MethodThatIsNone_IsToldAsItWasCalled) {
  KeptCalls calls;
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  auto connection =
      Connection::Create(public_services_(alice_), std::make_shared<CallTracker>(clock_, &calls),
                         quota_, Connection::Limits());
  ASSERT_TRUE(connection.ok()) << connection.status();
  Client client;
  client.connection = *std::move(connection);
  client.connection->Serve(UniqueFd(fds[0]));
  client.channel = grpc::CreateInsecureChannelFromFd("test", fds[1]);
  // Too long to be kept inside of a std::string; and one that there is on the other socket.
  const std::vector<std::string> methods = {"/" + std::string(100, 'a') + "/b",
                                            "/smartkey.v1.AdminService/GetStatus"};
  for (const std::string& method : methods) {
    EXPECT_EQ(Call(client, method), grpc::StatusCode::UNIMPLEMENTED);
  }
  EXPECT_EQ(calls.Await(methods.size()), methods);
}

}  // namespace
}  // namespace smartkey
