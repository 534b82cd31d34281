// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <map>
#include <string>

#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace smartkey {

// How many requests a server has from us at a time: the rest wait their turn, in order, so that a
// thousand registrations of one hospital are no flood there, nor a thousand signatures for answers
// that would time out. Thread-safe.
class RequestSlots {
 public:
  explicit RequestSlots(int most) : most_(most) {}

  // Runs `start` inside the call, or when a place is free, on the thread of an End.
  void Start(const std::string& token_endpoint, absl::AnyInvocable<void()> start);
  // What was started has ended. Once for each `start` that ran, which may call it itself.
  void End(const std::string& token_endpoint);

 private:
  struct Server {
    int running = 0;
    bool starting = false;  // a thread is at it: what ends meanwhile is taken into account there
    std::deque<absl::AnyInvocable<void()>> waiting;
  };

  const int most_;
  Mutex mu_;
  std::map<std::string, Server> servers_ ABSL_GUARDED_BY(mu_);  // those with something to do
};

}  // namespace smartkey
