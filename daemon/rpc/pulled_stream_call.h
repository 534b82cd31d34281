// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/mutex.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/rpc_status.h"

namespace smartkey {

// One server-streaming call that asks for its next message only when the peer has taken the last
// one. Nothing waits here for a peer that is slow: what it has missed is for the source to keep,
// which can keep it short. Ends exactly once: by Finish, after the message that is on its way; by
// an error of the source; or by the client's cancellation.
//
//   auto call = PulledStreamCall<Response>::Make();
//   const auto id = feed.Watch(..., [call] { call->Wake(); });
//   call->OnAbandon([&feed, id] { feed.Unwatch(id); });
//   call->Start([&feed, id] { return Translate(feed.Next(id)); });
//   return call->reactor();
//
// Lifetime as for PendingUnaryCall. Thread-safe.
template <class Response>
class PulledStreamCall : public std::enable_shared_from_this<PulledStreamCall<Response>> {
 public:
  // nullopt: there is nothing now, and Wake() is called when there is. An error ends the call.
  // One call at a time, on any thread; must not block.
  using Source = std::function<absl::StatusOr<absl::optional<Response>>()>;

  static std::shared_ptr<PulledStreamCall> Make() {
    std::shared_ptr<PulledStreamCall> call(new PulledStreamCall);
    call->reactor_ = new Reactor(call);
    return call;
  }

  // Once. Whoever wakes it before has nothing lost: the source is asked now.
  void Start(Source source) {
    {
      MutexLock lock(mu_);
      source_ = std::move(source);
    }
    Pump();
  }

  // The source has something. Also when it had already, or when the call is over.
  void Wake() { Pump(); }

  void Finish(const absl::Status& status) {
    if (!gate_.Claim()) return;
    gate_.Release();
    SetLast(status);
  }

  // See CallGate: not run when the call ends by Finish or by its source.
  void OnAbandon(absl::AnyInvocable<void()> stop) { gate_.OnAbandon(std::move(stop)); }

  // What the handler returns; to be called once.
  grpc::ServerWriteReactor<Response>* reactor() { return reactor_; }

 private:
  class Reactor : public grpc::ServerWriteReactor<Response> {
   public:
    explicit Reactor(std::shared_ptr<PulledStreamCall> call) : call_(std::move(call)) {}
    void OnWriteDone(bool ok) override { call_->WriteDone(ok); }
    void OnCancel() override { call_->Abandon(); }
    void OnDone() override { delete this; }

   private:
    const std::shared_ptr<PulledStreamCall> call_;
  };

  PulledStreamCall() = default;

  void Abandon() {
    if (gate_.Claim()) gate_.Abandon();
    SetLast(MakeError(Reason::kCancelled, "the caller gave up the call"));
  }

  void SetLast(const absl::Status& status) {
    {
      MutexLock lock(mu_);
      if (!last_.has_value()) last_ = status;
    }
    Pump();
  }

  void WriteDone(bool ok) {
    {
      MutexLock lock(mu_);
      busy_ = false;
    }
    if (!ok) return Abandon();
    Pump();
  }

  // Does the next thing, if nobody else is at it: `busy_` is a turn that one thread has from here
  // until its message was taken. Neither gRPC nor the source is called under the lock.
  void Pump() {
    for (;;) {
      bool over = false;
      {
        MutexLock lock(mu_);
        again_ = true;
        if (busy_ || ended_) return;
        over = last_.has_value();
        if (!over && !source_) return;  // Start comes here again
        ended_ = over;
        again_ = false;
        busy_ = !over;
      }
      if (over) return reactor_->Finish(ToGrpcStatus(*last_));

      absl::StatusOr<absl::optional<Response>> next = source_();
      if (next.ok() && next->has_value()) {
        current_ = **std::move(next);
        return reactor_->StartWrite(&current_);
      }
      bool more = false;
      {
        MutexLock lock(mu_);
        busy_ = false;
        if (!next.ok() && !last_.has_value()) last_ = next.status();
        more = again_ || last_.has_value();
      }
      if (!next.ok() && gate_.Claim()) gate_.Release();
      if (!more) return;
    }
  }

  CallGate gate_;
  Reactor* reactor_ = nullptr;
  Source source_;     // set once, under mu_; called by whoever has the turn
  Response current_;  // gRPC's while a write is under way

  Mutex mu_;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;
  bool again_ ABSL_GUARDED_BY(mu_) = false;  // somebody called Pump during the present turn
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::optional<absl::Status> last_;  // set under mu_ once; read by the one who set `ended_`
};

}  // namespace smartkey
