// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_tracker.h"

#include <utility>

namespace smartkey {
namespace {

class TrackingInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit TrackingInterceptor(std::shared_ptr<CallTracker> tracker)
      : tracker_(std::move(tracker)) {
    tracker_->BeginCall();
  }
  ~TrackingInterceptor() override { tracker_->EndCall(); }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    methods->Proceed();
  }

 private:
  const std::shared_ptr<CallTracker> tracker_;
};

}  // namespace

void CallTracker::BeginCall() {
  const BootTime now = clock_.Boot();
  MutexLock lock(mu_);
  ++active_;
  had_request_ = true;
  last_activity_ = now;
}

void CallTracker::EndCall() {
  const BootTime now = clock_.Boot();
  std::function<void()> idle;
  {
    MutexLock lock(mu_);
    last_activity_ = now;
    if (--active_ == 0) idle = std::exchange(idle_, nullptr);
  }
  if (idle) idle();
}

void CallTracker::WhenIdle(std::function<void()> idle) {
  {
    MutexLock lock(mu_);
    if (active_ > 0) {
      idle_ = std::move(idle);
      return;
    }
  }
  idle();
}

CallTracker::State CallTracker::state() const {
  MutexLock lock(mu_);
  return {active_, had_request_, last_activity_};
}

grpc::experimental::Interceptor* TrackingInterceptorFactory::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo*) {
  return new TrackingInterceptor(tracker_);
}

}  // namespace smartkey
