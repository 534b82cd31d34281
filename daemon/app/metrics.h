// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/error.h"
#include "daemon/http/http_client.h"
#include "daemon/rpc/call_tracker.h"
#include "hsm/key_observer.h"
#include "smartkey/v1/admin.pb.h"

namespace smartkey {

// What the daemon counts and measures, for Prometheus: docs/metrics.md names each. Labels are words
// of closed sets and the names of configured servers; no registration, no user, no address.
//
// What calls, the hardware and HTTP take is measured as it happens; how things stand is asked for
// when somebody looks. Thread-safe.
class Metrics : public CallObserver {
 public:
  Metrics();
  ~Metrics() override;

  void OnCallEnded(absl::string_view method, bool unary, grpc::StatusCode code,
                   absl::Duration took) override;
  void OnKeyOperation(const FinishedKeyOperation& operation);
  void OnHttp(absl::string_view method, const absl::StatusOr<HttpResponse>& answer,
              absl::Duration took);
  // What a look at the hardware said.
  void OnHardwareCondition(const HardwareCondition& condition);

  // All of it in the text format, with how things stand in `status`.
  std::string ToText(const v1::GetStatusResponse& status) const;

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

// Tells `metrics` of each operation, then goes on to `next`. Both outlive it.
class MeasuredKeys : public KeyObserver {
 public:
  MeasuredKeys(Metrics& metrics, KeyObserver& next) : metrics_(metrics), next_(next) {}
  void OnQueueDepth(int depth) override { next_.OnQueueDepth(depth); }
  void OnFinished(const FinishedKeyOperation& operation) override {
    metrics_.OnKeyOperation(operation);
    next_.OnFinished(operation);
  }
  void OnState(ProviderState state) override { next_.OnState(state); }
  void OnAbandonedThreads(int count) override { next_.OnAbandonedThreads(count); }

 private:
  Metrics& metrics_;
  KeyObserver& next_;
};

// Measures what `client` sends. All outlive it and its calls.
class MeasuredHttpClient : public HttpClient {
 public:
  MeasuredHttpClient(HttpClient& client, Metrics& metrics, const Clock& clock)
      : client_(client), metrics_(metrics), clock_(clock) {}

  CallId Send(HttpRequest request,
              absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) override;
  void Cancel(CallId id) override { client_.Cancel(id); }
  CallId Probe(HttpRequest request, absl::AnyInvocable<void(absl::Status)> done) override {
    return client_.Probe(std::move(request), std::move(done));
  }

 private:
  HttpClient& client_;
  Metrics& metrics_;
  const Clock& clock_;
};

}  // namespace smartkey
