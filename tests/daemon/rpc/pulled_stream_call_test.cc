// SPDX-License-Identifier: Apache-2.0
// PulledStreamCall over a real socket, with its source on another thread.
#include "daemon/rpc/pulled_stream_call.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

using Response = v1::RequestAccessResponse;
using Call = PulledStreamCall<Response>;

// Its one message is there at about the time when the stream starts.
class Racing : public v1::SharingService::CallbackService {
 public:
  grpc::ServerWriteReactor<Response>* RequestAccess(grpc::CallbackServerContext*,
                                                    const v1::RequestAccessRequest*) override {
    auto call = Call::Make();
    auto there = std::make_shared<std::atomic<bool>>(false);
    auto go = std::make_shared<std::atomic<bool>>(false);
    std::thread other([call, there, go] {
      while (!go->load()) std::this_thread::yield();
      there->store(true);
      call->Wake();
    });
    go->store(true);
    call->Start(
        [there, taken = false,
         weak = std::weak_ptr<Call>(call)]() mutable -> absl::StatusOr<absl::optional<Response>> {
          if (!there->load() || std::exchange(taken, true)) return absl::nullopt;
          if (const auto live = weak.lock()) live->Finish(absl::OkStatus());
          return Response();
        });
    grpc::ServerWriteReactor<Response>* reactor = call->reactor();
    other.join();
    return reactor;
  }
};

class RacingConnection : public ConnectionServices {
 public:
  std::vector<grpc::Service*> services() override { return {&racing_}; }

 private:
  Racing racing_;
};

class PulledStream : public Services {};

TEST_F(PulledStream, WokenWhileItStarts_TheMessageComes) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  auto connection =
      Connection::Create(std::make_unique<RacingConnection>(),
                         std::make_shared<CallTracker>(clock_), quota_, Connection::Limits());
  ASSERT_TRUE(connection.ok()) << connection.status();
  (*connection)->Serve(UniqueFd(fds[0]));
  {
    auto channel = grpc::CreateInsecureChannelFromFd("test", fds[1]);
    auto stub = v1::SharingService::NewStub(channel);
    for (int i = 0; i < 2'000; ++i) {
      grpc::ClientContext context;
      // Against a test that waits for ever.
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      auto reader = stub->RequestAccess(&context, {});
      Response response;
      ASSERT_TRUE(reader->Read(&response)) << "in round " << i;
      ASSERT_FALSE(reader->Read(&response));
      ASSERT_TRUE(reader->Finish().ok());
    }
  }
  (*connection)->Shutdown();
}

}  // namespace
}  // namespace smartkey
