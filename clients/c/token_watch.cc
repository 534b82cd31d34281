// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "clients/c/objects.h"

using smartkey::MakeError;
using smartkey::Reason;
using smartkey::capi::Try;
using smartkey::client::TokenState;
using smartkey::client::TokenWatch;

namespace {

// A thread in which no handler of the program's runs: its signals are for its own threads. What a
// thread's own fault raises stays as it is.
template <typename Run>
std::thread StartWithoutSignals(Run run) {
  sigset_t all, before;
  sigfillset(&all);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) {
    sigdelset(&all, fault);
  }
  struct Restored {
    ~Restored() { pthread_sigmask(SIG_SETMASK, &mask, nullptr); }
    const sigset_t& mask;
  };
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const Restored restored{before};
  return std::thread(std::move(run));
}

}  // namespace

// The states of a watch, handed to a function by a thread of its own.
struct smartkey_token_watch {
  smartkey_token_watch(std::shared_ptr<smartkey::client::Client> client,
                       std::unique_ptr<TokenWatch> states, smartkey_token_watch_fn function,
                       void* user_data)
      : client_(std::move(client)),
        states_(std::move(states)),
        function_(function),
        user_data_(user_data),
        thread_(StartWithoutSignals([this] { Run(); })) {}

  ~smartkey_token_watch() {
    stopped_ = true;
    states_->Cancel();
    thread_.join();
  }

 private:
  void Run() {
    bool more = true;
    while (more) {
      auto state = states_->Next();
      if (stopped_) return;
      if (!state.ok()) return End(state.status());
      if (!state->has_value()) {
        return End(MakeError(Reason::kShuttingDown, "smartkeyd has ended the watch"));
      }
      more = Hand(**std::move(state));
    }
    states_->Cancel();
  }

  bool Hand(TokenState state) {
    const auto error = smartkey::capi::ErrorOf(state.error);
    if (!state.token.has_value()) return function_(nullptr, error.get(), false, user_data_);
    const smartkey_token token(*std::move(state.token));
    return function_(&token, error.get(), false, user_data_);
  }

  void End(const absl::Status& why) {
    const smartkey_error error(why);
    function_(nullptr, &error, true, user_data_);
  }

  const std::shared_ptr<smartkey::client::Client> client_;
  const std::unique_ptr<TokenWatch> states_;
  const smartkey_token_watch_fn function_;
  void* const user_data_;
  std::atomic<bool> stopped_{false};
  std::thread thread_;  // Last: it uses all the others.
};

smartkey_token_watch* smartkey_client_watch_token(smartkey_client* client,
                                                  const smartkey_token_request* request,
                                                  smartkey_token_watch_fn function, void* user_data,
                                                  smartkey_error** error) noexcept {
  if (function == nullptr) {
    smartkey::capi::Report(MakeError(Reason::kInvalidArgument, "a watch needs a function"), error);
    return nullptr;
  }
  auto states = Try(error, [&] { return client->client->WatchAccessToken(request->wish); });
  if (!states.ok()) return nullptr;
  try {
    return new smartkey_token_watch(client->client, *std::move(states), function, user_data);
  } catch (const std::system_error&) {
    smartkey::capi::Report(MakeError(Reason::kInternal, "no thread can be started"), error);
    return nullptr;
  }
}

void smartkey_token_watch_free(smartkey_token_watch* watch) noexcept {
  // In a child it stays: its thread is not there.
  if (smartkey::capi::CheckProcess().ok()) delete watch;
}
