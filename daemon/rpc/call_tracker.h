// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace smartkey {

// Is told how calls end, for metrics. Thread-safe; must not block.
class CallObserver {
 public:
  virtual ~CallObserver() = default;
  // `method` as "/smartkey.v1.TokenService/GetAccessToken", but as the client wrote it: there may
  // be none of that name, and any number of such names. `unary` false: a stream, which takes as
  // long as its client likes.
  virtual void OnCallEnded(absl::string_view method, bool unary, grpc::StatusCode code,
                           absl::Duration took) = 0;
};

// Counts the calls of one connection, the health service's too. That tells when the connection is
// idle, whether its peer ever sent a whole request, and when its server can be taken down without
// waiting for a handler. Thread-safe.
class CallTracker {
 public:
  // Both outlive this. `observer` null: nobody.
  explicit CallTracker(const Clock& clock, CallObserver* observer = nullptr)
      : clock_(clock), observer_(observer), last_activity_(clock.Boot()) {}

  // Gives the time, for EndCall.
  BootTime BeginCall();
  void EndCall(absl::string_view method, bool unary, grpc::StatusCode code, BootTime begun);

  // Calls `idle` once, as soon as no call is running: now, or from the thread that ends the last
  // one.
  void WhenIdle(std::function<void()> idle);

  struct State {
    int active = 0;
    bool had_request = false;
    BootTime
        last_activity;  // beginning or end of the last call; before the first, of the connection
  };
  State state() const;

 private:
  const Clock& clock_;
  CallObserver* const observer_;

  mutable Mutex mu_;
  int active_ ABSL_GUARDED_BY(mu_) = 0;
  bool had_request_ ABSL_GUARDED_BY(mu_) = false;
  BootTime last_activity_ ABSL_GUARDED_BY(mu_);
  std::function<void()> idle_ ABSL_GUARDED_BY(mu_);
};

// Makes gRPC report each call to a tracker. gRPC makes the interceptor when the request of a unary
// or server-streaming call has arrived whole, and destroys it when the call is over.
class TrackingInterceptorFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit TrackingInterceptorFactory(std::shared_ptr<CallTracker> tracker)
      : tracker_(std::move(tracker)) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  const std::shared_ptr<CallTracker> tracker_;
};

}  // namespace smartkey
