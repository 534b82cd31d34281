// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/call_tracker.h"

#include <string>
#include <utility>

namespace smartkey {
namespace {

class TrackingInterceptor : public grpc::experimental::Interceptor {
 public:
  TrackingInterceptor(std::shared_ptr<CallTracker> tracker,
                      const grpc::experimental::ServerRpcInfo& info)
      : tracker_(std::move(tracker)),
        method_(info.method()),
        unary_(info.type() == grpc::experimental::ServerRpcInfo::Type::UNARY),
        begun_(tracker_->BeginCall()) {}
  ~TrackingInterceptor() override { tracker_->EndCall(method_, unary_, code_, begun_); }
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_STATUS)) {
      code_ = methods->GetSendStatus().error_code();
    }
    methods->Proceed();
  }

 private:
  const std::shared_ptr<CallTracker> tracker_;
  // A copy: of a method that gRPC does not know, its text is gone before this is.
  const std::string method_;
  const bool unary_;
  const BootTime begun_;
  grpc::StatusCode code_ = grpc::StatusCode::CANCELLED;  // what a call without an answer is
};

}  // namespace

BootTime CallTracker::BeginCall() {
  const BootTime now = clock_.Boot();
  MutexLock lock(mu_);
  ++active_;
  had_request_ = true;
  last_activity_ = now;
  return now;
}

void CallTracker::EndCall(absl::string_view method, bool unary, grpc::StatusCode code,
                          BootTime begun) {
  const BootTime now = clock_.Boot();
  std::function<void()> idle;
  {
    MutexLock lock(mu_);
    last_activity_ = now;
    if (--active_ == 0) idle = std::exchange(idle_, nullptr);
  }
  if (observer_ != nullptr) observer_->OnCallEnded(method, unary, code, now - begun);
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
    grpc::experimental::ServerRpcInfo* info) {
  return new TrackingInterceptor(tracker_, *info);
}

}  // namespace smartkey
