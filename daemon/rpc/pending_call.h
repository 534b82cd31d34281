// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <deque>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/rpc/rpc_status.h"

namespace smartkey {

// Lets exactly one of several threads end a call: the operation that completes, the peer that goes
// away (OnCancel), or the time limit. Thread-safe.
class CallGate {
 public:
  // True for the first caller only.
  bool Claim() { return !claimed_.exchange(true); }
  bool claimed() const { return claimed_.load(); }

  // What stops the operation below. Runs at most once: when the call is abandoned, inside this call
  // if it was abandoned already. Never after Release().
  void OnAbandon(absl::AnyInvocable<void()> stop);

  // The call was abandoned: runs what OnAbandon was given, now or when it is.
  void Abandon();

  // The operation has completed: drops what OnAbandon was given.
  void Release();

 private:
  std::atomic<bool> claimed_{false};

  Mutex mu_;
  bool abandoned_ ABSL_GUARDED_BY(mu_) = false;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  absl::AnyInvocable<void()> stop_ ABSL_GUARDED_BY(mu_);
};

// One unary call that is answered later, from any thread. Ends exactly once: by Finish, by the
// client's cancellation or deadline (gRPC says OnCancel for both), or when `limit` has passed.
// Nothing else calls gRPC's Finish: a handler that ignored OnCancel would keep its connection's
// server from being taken down.
//
// The handler's side:
//
//   auto call = PendingUnaryCall<Response>::Start(context, response, scheduler, limit);
//   const auto id = manager.DoIt(request, [call](absl::StatusOr<Result> result) {
//     call->Finish(result.status(), [&](Response& response) { Fill(response, *result); });
//   });
//   call->OnAbandon([&manager, id] { manager.Cancel(id); });
//   return call->reactor();
//
// The object may outlive the call (a completion that comes late finds it claimed and does nothing);
// gRPC's part is freed in OnDone, and `response` is touched only by the thread that ends the call.
// Thread-safe.
template <class Response>
class PendingUnaryCall : public std::enable_shared_from_this<PendingUnaryCall<Response>> {
 public:
  static std::shared_ptr<PendingUnaryCall> Start(grpc::CallbackServerContext* context,
                                                 Response* response, Scheduler& scheduler,
                                                 absl::Duration limit) {
    return std::shared_ptr<PendingUnaryCall>(
        new PendingUnaryCall(context, response, scheduler, limit));
  }

  // Answers with what `fill` writes when `status` is OK, else with the error. Does nothing when the
  // call is over.
  template <class Fill>
  void Finish(const absl::Status& status, Fill fill) {
    if (!gate_.Claim()) return;
    gate_.Release();
    if (status.ok()) fill(*response_);
    End(status);
  }
  void Fail(const absl::Status& status) {
    Finish(status, [](Response&) {});
  }

  // See CallGate. Call it once, after the operation was started.
  void OnAbandon(absl::AnyInvocable<void()> stop) { gate_.OnAbandon(std::move(stop)); }

  // What the handler returns; to be called once, or gRPC waits for ever. Starts the clock unless
  // the call is over already, as it is when the answer was at hand: such a call touches no timer,
  // and gRPC's own reactor ends it on this thread, where one of ours would have another thread
  // woken up for it (a fifth of such a call's time).
  grpc::ServerUnaryReactor* reactor() {
    Reactor* reactor = nullptr;
    {
      MutexLock lock(mu_);
      if (!ended_.has_value()) reactor = reactor_ = new Reactor(this->shared_from_this());
    }
    if (reactor == nullptr) {
      grpc::ServerUnaryReactor* at_once = context_->DefaultReactor();
      at_once->Finish(*ended_);
      return at_once;
    }
    const auto task = scheduler_.RunAfter(limit_, [weak = this->weak_from_this()] {
      if (auto call = weak.lock()) {
        call->Abandon(MakeError(Reason::kDeadlineExceeded, "the call took too long"));
      }
    });
    timer_.store(task);
    // Ended meanwhile: nobody may have seen the timer yet.
    if (gate_.claimed()) StopTimer();
    return reactor;
  }

 private:
  // gRPC's part. Holds the call so that it lives as long as gRPC may speak to it.
  class Reactor : public grpc::ServerUnaryReactor {
   public:
    explicit Reactor(std::shared_ptr<PendingUnaryCall> call) : call_(std::move(call)) {}
    void OnCancel() override {
      call_->Abandon(MakeError(Reason::kCancelled, "the caller gave up the call"));
    }
    void OnDone() override { delete this; }

   private:
    const std::shared_ptr<PendingUnaryCall> call_;
  };

  PendingUnaryCall(grpc::CallbackServerContext* context, Response* response, Scheduler& scheduler,
                   absl::Duration limit)
      : context_(context), response_(response), scheduler_(scheduler), limit_(limit) {}

  void Abandon(const absl::Status& status) {
    if (!gate_.Claim()) return;
    gate_.Abandon();
    End(status);
  }

  // Only by the one who claimed the call: until here gRPC cannot have freed the reactor.
  void End(const absl::Status& status) {
    StopTimer();
    Reactor* reactor = nullptr;
    {
      MutexLock lock(mu_);
      reactor = reactor_;
      if (reactor == nullptr) ended_ = ToGrpcStatus(status);
    }
    if (reactor != nullptr) reactor->Finish(ToGrpcStatus(status));
  }

  void StopTimer() {
    if (const Scheduler::TaskId task = timer_.exchange(0)) scheduler_.Cancel(task);
  }

  grpc::CallbackServerContext* const context_;
  Response* const response_;
  Scheduler& scheduler_;
  const absl::Duration limit_;
  CallGate gate_;
  std::atomic<Scheduler::TaskId> timer_{0};

  Mutex mu_;
  Reactor* reactor_ ABSL_GUARDED_BY(mu_) = nullptr;
  absl::optional<grpc::Status> ended_;  // before there was a reactor; set under mu_ once
};

// One server-streaming call that is written to from any thread. What is written waits until the
// peer has taken what was written before; at most 32 messages do, then the oldest gives way, so it
// suits messages that each tell how things stand. Ends exactly once: by Finish, after what was
// written, or by the client's cancellation. Lifetime as for PendingUnaryCall. Thread-safe.
template <class Response>
class PendingStreamCall : public std::enable_shared_from_this<PendingStreamCall<Response>> {
 public:
  static std::shared_ptr<PendingStreamCall> Start() {
    std::shared_ptr<PendingStreamCall> call(new PendingStreamCall);
    call->reactor_ = new Reactor(call);
    return call;
  }

  // Nothing happens when the call is over.
  void Write(Response message) {
    {
      MutexLock lock(mu_);
      if (last_.has_value()) return;
      if (queue_.size() >= kMaxQueued) queue_.pop_front();
      queue_.push_back(std::move(message));
    }
    Pump();
  }

  void Finish(const absl::Status& status) {
    if (!gate_.Claim()) return;
    gate_.Release();
    SetLast(status, /*drop_queue=*/false);
  }

  void OnAbandon(absl::AnyInvocable<void()> stop) { gate_.OnAbandon(std::move(stop)); }

  // What the handler returns; to be called once.
  grpc::ServerWriteReactor<Response>* reactor() { return reactor_; }

 private:
  static constexpr size_t kMaxQueued = 32;

  class Reactor : public grpc::ServerWriteReactor<Response> {
   public:
    explicit Reactor(std::shared_ptr<PendingStreamCall> call) : call_(std::move(call)) {}
    void OnWriteDone(bool ok) override { call_->WriteDone(ok); }
    void OnCancel() override { call_->Abandon(); }
    void OnDone() override { delete this; }

   private:
    const std::shared_ptr<PendingStreamCall> call_;
  };

  PendingStreamCall() = default;

  void Abandon() {
    if (gate_.Claim()) gate_.Abandon();
    SetLast(MakeError(Reason::kCancelled, "the caller gave up the call"), /*drop_queue=*/true);
  }

  void SetLast(const absl::Status& status, bool drop_queue) {
    {
      MutexLock lock(mu_);
      if (drop_queue) queue_.clear();
      if (!last_.has_value()) last_ = status;
    }
    Pump();
  }

  void WriteDone(bool ok) {
    {
      MutexLock lock(mu_);
      writing_ = false;
    }
    if (!ok) return Abandon();
    Pump();
  }

  // Gives gRPC the next thing to do, one at a time; not under the lock, since gRPC may call back at
  // once.
  void Pump() {
    bool write = false;
    {
      MutexLock lock(mu_);
      if (writing_ || ended_) return;
      if (!queue_.empty()) {
        current_ = std::move(queue_.front());
        queue_.pop_front();
        write = writing_ = true;
      } else if (last_.has_value()) {
        ended_ = true;
      } else {
        return;
      }
    }
    if (write) {
      reactor_->StartWrite(&current_);
    } else {
      reactor_->Finish(ToGrpcStatus(*last_));
    }
  }

  CallGate gate_;
  Reactor* reactor_ = nullptr;

  Mutex mu_;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Response> queue_ ABSL_GUARDED_BY(mu_);
  Response current_;                   // gRPC's while `writing_`
  absl::optional<absl::Status> last_;  // set under mu_ once; read by the one who set `ended_`
};

// For a call whose answer is at hand, or that fails at once. The handler returns the result.
inline grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                           const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

}  // namespace smartkey
