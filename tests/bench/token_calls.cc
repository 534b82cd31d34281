// SPDX-License-Identifier: Apache-2.0
// Asks for access tokens and says how long it took, as one line of JSON; token_bench.py starts it.
//
//   token_calls duel ROUNDS CLIENTS CALLS OUR_REGISTRATION OUR_SOCKET BARE_REGISTRATION BARE_SOCKET
//     Two daemons in turn, ROUNDS rounds each after one that is not counted. In a round CLIENTS
//     threads, each on a connection that it keeps, make CALLS calls in all, one after the other:
//     [{"ours": {"p50_us", "p99_us", "per_s"}, "bare": {...}}, ...]
//   token_calls crowd CONNECTIONS CALLS REGISTRATION SOCKET
//     CALLS calls at once, spread over connections that are there before: {"elapsed_us"}
//   token_calls nag CALLERS REGISTRATION SOCKET
//     CALLERS threads that ask again and again, whatever the answer, until standard input ends.
//
// Elsewhere a call that fails ends it: exit code 1, and the reason on standard error.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"
#include "smartkey/v1/token.grpc.pb.h"
#include "tests/bench/quantile.h"

namespace smartkey {
namespace {

using Clock = std::chrono::steady_clock;
using Stub = v1::TokenService::Stub;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "token_calls: %s\n", what.c_str());
  std::_Exit(1);
}

void Check(const grpc::Status& status) {
  if (!status.ok()) Fail(status.error_message());
}

// A daemon, over connections that are kept.
class Side {
 public:
  Side(std::string registration, const std::string& socket, int connections) {
    request_.set_registration(std::move(registration));
    grpc::ChannelArguments settings;
    settings.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    for (int i = 0; i < connections; ++i) {
      auto channel =
          grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), settings);
      if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60))) {
        Fail("no connection to " + socket);
      }
      stubs_.push_back(v1::TokenService::NewStub(channel));
    }
  }

  grpc::Status Call(size_t connection) const {
    grpc::ClientContext context;
    v1::GetAccessTokenResponse response;
    return stubs_[connection]->GetAccessToken(&context, request_, &response);
  }

  // Each connection has a thread.
  nlohmann::json Round(int calls) const {
    const size_t each = static_cast<size_t>(calls) / stubs_.size();
    std::vector<std::vector<double>> times(stubs_.size());
    std::vector<std::thread> threads;
    const auto start = Clock::now();
    for (size_t i = 0; i < stubs_.size(); ++i) {
      threads.emplace_back([this, each, i, &mine = times[i]] {
        mine.reserve(each);
        for (size_t call = 0; call < each; ++call) {
          const auto asked = Clock::now();
          Check(Call(i));
          mine.push_back(MicrosecondsSince(asked));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const double elapsed = MicrosecondsSince(start);
    std::vector<double> all;
    for (const std::vector<double>& some : times) all.insert(all.end(), some.begin(), some.end());
    return {{"p50_us", Quantile(all, 0.5)},
            {"p99_us", Quantile(all, 0.99)},
            {"per_s", static_cast<double>(all.size()) / elapsed * 1e6}};
  }

  nlohmann::json Crowd(int calls) const {
    struct One {
      grpc::ClientContext context;
      v1::GetAccessTokenResponse response;
    };
    std::vector<One> all(static_cast<size_t>(calls));
    std::mutex mu;
    std::condition_variable changed;
    size_t answered = 0;
    const auto start = Clock::now();
    for (size_t i = 0; i < all.size(); ++i) {
      stubs_[i % stubs_.size()]->async()->GetAccessToken(
          &all[i].context, &request_, &all[i].response, [&](const grpc::Status& status) {
            Check(status);
            const std::lock_guard<std::mutex> lock(mu);
            if (++answered == all.size()) changed.notify_one();
          });
    }
    std::unique_lock<std::mutex> lock(mu);
    changed.wait(lock, [&] { return answered == all.size(); });
    return {{"elapsed_us", MicrosecondsSince(start)}};
  }

 private:
  v1::GetAccessTokenRequest request_;
  std::vector<std::unique_ptr<Stub>> stubs_;
};

nlohmann::json Duel(int rounds, int calls, const Side& ours, const Side& bare) {
  nlohmann::json done = nlohmann::json::array();
  for (int round = 0; round <= rounds; ++round) {
    nlohmann::json one;
    // Who goes first takes turns too.
    for (const bool first : {true, false}) {
      const bool is_ours = first == (round % 2 == 0);
      one[is_ours ? "ours" : "bare"] = (is_ours ? ours : bare).Round(calls);
    }
    if (round > 0) done.push_back(std::move(one));
  }
  return done;
}

void Nag(const Side& side, size_t callers) {
  for (size_t i = 0; i < callers; ++i) {
    std::thread([&side, i] {
      for (;;) side.Call(i);
    }).detach();
  }
  while (std::getchar() != EOF) {
  }
  std::_Exit(0);
}

nlohmann::json Run(const std::vector<std::string>& arguments) {
  const auto number = [&](size_t at) {
    int value = 0;
    if (!absl::SimpleAtoi(arguments[at], &value) || value < 1) Fail("no number: " + arguments[at]);
    return value;
  };
  if (arguments.size() == 8 && arguments[0] == "duel") {
    const int clients = number(2);
    return Duel(number(1), number(3), Side(arguments[4], arguments[5], clients),
                Side(arguments[6], arguments[7], clients));
  }
  if (arguments.size() == 5 && arguments[0] == "crowd") {
    return Side(arguments[3], arguments[4], number(1)).Crowd(number(2));
  }
  if (arguments.size() == 4 && arguments[0] == "nag") {
    const int callers = number(1);
    Nag(Side(arguments[2], arguments[3], callers), static_cast<size_t>(callers));
  }
  Fail("no such command; the usage is in token_calls.cc");
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  std::printf("%s\n", smartkey::Run({argv + 1, argv + argc}).dump().c_str());
  return 0;
}
