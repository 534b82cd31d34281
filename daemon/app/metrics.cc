// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/metrics.h"

#include <google/protobuf/descriptor.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/mutex.h"
#include "smartkey/v1/enrollment.pb.h"
#include "smartkey/v1/registration.pb.h"
#include "smartkey/v1/server_info.pb.h"
#include "smartkey/v1/sharing.pb.h"
#include "smartkey/v1/signing.pb.h"
#include "smartkey/v1/token.pb.h"

namespace smartkey {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildHistogram;
using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;

// From a cached token to a TPM that makes an RSA key.
const Histogram::BucketBoundaries kSeconds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                              0.025,  0.05,    0.1,    0.25,  0.5,    1,     2.5,
                                              5,      10,      30,     60,    180};

const std::string kUnknownMethod = "unknown";

constexpr const char* kCodes[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

const char* CodeName(grpc::StatusCode code) {
  const size_t index = static_cast<size_t>(code);
  return index < std::size(kCodes) ? kCodes[index] : "UNKNOWN";
}

// The methods there are, as gRPC has them, with what stands for them in a label:
// "TokenService/GetAccessToken"; the health service's with its package.
absl::flat_hash_map<std::string, std::string> MethodNames() {
  absl::flat_hash_map<std::string, std::string> names = {
      {"/grpc.health.v1.Health/Check", "grpc.health.v1.Health/Check"},
      {"/grpc.health.v1.Health/Watch", "grpc.health.v1.Health/Watch"}};
  const google::protobuf::FileDescriptor* const files[] = {
      v1::GetStatusRequest::descriptor()->file(),
      v1::BeginEnrollmentRequest::descriptor()->file(),
      v1::GetRegistrationRequest::descriptor()->file(),
      v1::GetServerInfoRequest::descriptor()->file(),
      v1::ShareRegistrationRequest::descriptor()->file(),
      v1::SignClientAssertionRequest::descriptor()->file(),
      v1::GetAccessTokenRequest::descriptor()->file()};
  for (const auto* file : files) {
    for (int i = 0; i < file->service_count(); ++i) {
      const google::protobuf::ServiceDescriptor& service = *file->service(i);
      for (int j = 0; j < service.method_count(); ++j) {
        const std::string& method = service.method(j)->name();
        names[absl::StrCat("/", service.full_name(), "/", method)] =
            absl::StrCat(service.name(), "/", method);
      }
    }
  }
  return names;
}

std::string OutcomeName(Reason reason) {
  return reason == Reason::kUnspecified ? "OK" : std::string(ReasonName(reason));
}

// How things stand, put together anew for each look.
class Standing {
 public:
  using Labels = std::vector<ClientMetric::Label>;

  void Gauge(const char* name, const char* help, double value, Labels labels = {}) {
    Add(name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  void Count(const char* name, const char* help, double value, Labels labels = {}) {
    Add(name, help, MetricType::Counter, std::move(labels)).counter.value = value;
  }
  std::vector<MetricFamily> Take() {
    std::vector<MetricFamily> families;
    for (auto& [name, family] : families_) families.push_back(std::move(family));
    return families;
  }

 private:
  ClientMetric& Add(const char* name, const char* help, MetricType type, Labels labels) {
    MetricFamily& family = families_[name];
    family.name = name;
    family.help = help;
    family.type = type;
    ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::map<std::string, MetricFamily> families_;
};

Family<Counter>& Counters(prometheus::Registry& registry, const char* name, const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry);
}
Family<Histogram>& Histograms(prometheus::Registry& registry, const char* name, const char* help) {
  return BuildHistogram().Name(name).Help(help).Register(registry);
}

double Seconds(const google::protobuf::Timestamp& time) {
  return static_cast<double>(time.seconds()) + time.nanos() / 1e9;
}

void TakeServers(const v1::GetStatusResponse& status, Standing& now) {
  const double time = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  for (const v1::ServerStatus& server : status.servers()) {
    const Standing::Labels labels = {{"server", server.name()}};
    now.Gauge("smartkeyd_server_held_back",
              "1 while nothing is sent to the server, since it asked for time or failed",
              server.has_next_attempt_at() && Seconds(server.next_attempt_at()) > time ? 1 : 0,
              labels);
    now.Gauge("smartkeyd_server_refusing_all",
              "1 while the server refuses several registrations, none of which is blamed",
              server.state() == v1::ServerStatus::REFUSING_ALL ? 1 : 0, labels);
    now.Gauge("smartkeyd_server_failing", "1 if the server's last answer was none, or an error",
              server.state() == v1::ServerStatus::FAILING ? 1 : 0, labels);
    now.Gauge("smartkeyd_server_registrations", "Registrations at the server",
              server.registrations(), labels);
    if (server.has_last_ok_at()) {
      now.Gauge("smartkeyd_server_last_ok_timestamp_seconds",
                "When the server last gave a good answer", Seconds(server.last_ok_at()), labels);
    }
  }
}

void TakeHardware(const v1::GetStatusResponse& status, Standing& now) {
  const v1::HardwareStatus& hardware = status.hardware();
  for (const v1::HardwareState state : {v1::READY, v1::DEGRADED, v1::ABSENT}) {
    now.Gauge("smartkeyd_hardware_state", "1 for the state that the key hardware is in",
              hardware.hardware().state() == state ? 1 : 0,
              {{"state", v1::HardwareState_Name(state)}});
  }
  now.Gauge("smartkeyd_hardware_queue_depth", "Operations that wait for the key hardware",
            hardware.queue_depth());
  now.Gauge("smartkeyd_hardware_queue_limit", "Operations that may wait at most",
            hardware.queue_limit());
  now.Count("smartkeyd_hardware_abandoned_total", "Operations that hung and were given up",
            hardware.abandoned_operations());
}

void TakeRegistrations(const v1::GetStatusResponse& status, Standing& now) {
  // Also the states that none is in: what is absent cannot raise an alarm.
  std::map<v1::RegistrationState, uint32_t> counts;
  const auto* const states = v1::RegistrationState_descriptor();
  for (int i = 0; i < states->value_count(); ++i) {
    const auto state = static_cast<v1::RegistrationState>(states->value(i)->number());
    if (state != v1::REGISTRATION_STATE_UNSPECIFIED) counts[state] = 0;
  }
  for (const v1::StateCount& one : status.registrations()) counts[one.state()] = one.count();
  for (const auto& [state, count] : counts) {
    now.Gauge("smartkeyd_registrations", "Registrations in each state", count,
              {{"state", v1::RegistrationState_Name(state)}});
  }
  now.Gauge("smartkeyd_registrations_suspended", "Registrations that are suspended",
            status.suspended_registrations());
  now.Gauge("smartkeyd_enrollments_pending", "Enrollments that wait for a browser or a server",
            status.pending_enrollments());
}

void TakeDaemon(const v1::GetStatusResponse& status, Standing& now) {
  now.Gauge("smartkeyd_build_info", "1, with the version", 1, {{"version", status.version()}});
  now.Gauge("smartkeyd_uptime_seconds", "Since the start, suspended time included",
            static_cast<double>(status.uptime().seconds()));
  now.Gauge("smartkeyd_connections", "Open connections", status.connections().public_connections(),
            {{"socket", "public"}});
  now.Gauge("smartkeyd_connections", "Open connections", status.connections().admin_connections(),
            {{"socket", "admin"}});
  now.Count("smartkeyd_connections_accepted_total", "Connections that were accepted",
            static_cast<double>(status.connections().accepted()));
  now.Count("smartkeyd_connections_refused_total",
            "Connections that were refused, for limits or for lack of identity",
            static_cast<double>(status.connections().refused()));
  now.Gauge("smartkeyd_store_available", "1 while the database can be read and written",
            status.store().available() ? 1 : 0);
  now.Gauge("smartkeyd_store_unsaved_changes", "Changes that are only in memory",
            status.store().unsaved_changes());
  now.Gauge("smartkeyd_tokens_cached", "Access tokens in memory", status.cache().entries());
  now.Count("smartkeyd_token_cache_hits_total", "Calls answered from memory",
            static_cast<double>(status.cache().hits()));
  now.Count("smartkeyd_token_requests_total", "Token requests to servers",
            static_cast<double>(status.cache().token_requests()));
  now.Gauge("smartkeyd_token_requests_in_flight", "Token requests under way",
            status.cache().in_flight());
  now.Gauge("smartkeyd_audit_available", "1 while the audit log can be written",
            status.audit().available() ? 1 : 0);
  now.Count("smartkeyd_audit_lost_total", "Lines that the audit log has lost",
            static_cast<double>(status.audit().lost()));
  now.Gauge("smartkeyd_audit_waiting", "Lines that wait for the disk", status.audit().waiting());
  now.Gauge("smartkeyd_config_problems", "Mistakes in configuration files that are not in use",
            status.config_problems_size() + status.reload_errors_size());
}

}  // namespace

struct Metrics::Parts {
  // Found by a method's name, without labels being put together for each call.
  struct Method {
    Histogram* duration = nullptr;
    std::map<grpc::StatusCode, Counter*> calls;
  };

  prometheus::Registry registry;
  Family<Counter>& rpc_calls =
      Counters(registry, "smartkeyd_rpc_total", "Calls that ended, by method and code");
  Family<Histogram>& rpc_duration =
      Histograms(registry, "smartkeyd_rpc_duration_seconds", "How long unary calls took");
  Family<Counter>& key_operations =
      Counters(registry, "smartkeyd_hardware_operations_total",
               "Operations of the key hardware that ended, by outcome");
  Family<Histogram>& key_duration = Histograms(registry, "smartkeyd_hardware_duration_seconds",
                                               "How long operations took in the key hardware");
  Family<Histogram>& key_wait = Histograms(registry, "smartkeyd_hardware_wait_seconds",
                                           "How long operations waited for the key hardware");
  Family<Counter>& http_requests = Counters(registry, "smartkeyd_http_requests_total",
                                            "Requests to servers that ended, by outcome");
  Family<Histogram>& http_duration =
      Histograms(registry, "smartkeyd_http_duration_seconds", "How long requests to servers took");

  // Callers make up names of methods without end, and a series once made stays.
  const absl::flat_hash_map<std::string, std::string> method_names = MethodNames();

  mutable Mutex mu;
  absl::flat_hash_map<std::string, Method> methods ABSL_GUARDED_BY(mu);
  absl::optional<HardwareCondition::Lockout> lockout ABSL_GUARDED_BY(mu);
};

Metrics::Metrics() : parts_(std::make_unique<Parts>()) {}
Metrics::~Metrics() = default;

void Metrics::OnCallEnded(absl::string_view method, bool unary, grpc::StatusCode code,
                          absl::Duration took) {
  Counter* calls = nullptr;
  Histogram* duration = nullptr;
  const auto known = parts_->method_names.find(method);
  const std::string& name = known != parts_->method_names.end() ? known->second : kUnknownMethod;
  {
    MutexLock lock(parts_->mu);
    Parts::Method& entry = parts_->methods[name];
    Counter*& counter = entry.calls[code];
    if (counter == nullptr) {
      counter = &parts_->rpc_calls.Add({{"method", name}, {"code", CodeName(code)}});
    }
    if (unary && entry.duration == nullptr) {
      entry.duration = &parts_->rpc_duration.Add({{"method", name}}, kSeconds);
    }
    calls = counter;
    duration = entry.duration;
  }
  calls->Increment();
  if (unary) duration->Observe(absl::ToDoubleSeconds(took));
}

void Metrics::OnKeyOperation(const FinishedKeyOperation& operation) {
  const std::string kind(KeyOperationKindName(operation.kind));
  parts_->key_operations.Add({{"operation", kind}, {"outcome", OutcomeName(operation.outcome)}})
      .Increment();
  if (operation.in_hardware > absl::ZeroDuration()) {
    parts_->key_duration.Add({{"operation", kind}}, kSeconds)
        .Observe(absl::ToDoubleSeconds(operation.in_hardware));
  }
  if (operation.kind != KeyOperationKind::kOpen) {
    parts_->key_wait.Add({{"operation", kind}}, kSeconds)
        .Observe(absl::ToDoubleSeconds(operation.waited));
  }
}

void Metrics::OnHttp(absl::string_view method, const absl::StatusOr<HttpResponse>& answer,
                     absl::Duration took) {
  const std::string outcome = answer.ok() ? absl::StrCat(answer->status / 100, "xx")
                                          : OutcomeName(ReasonOf(answer.status()));
  parts_->http_requests.Add({{"method", std::string(method)}, {"outcome", outcome}}).Increment();
  parts_->http_duration.Add({{"method", std::string(method)}}, kSeconds)
      .Observe(absl::ToDoubleSeconds(took));
}

void Metrics::OnHardwareCondition(const HardwareCondition& condition) {
  MutexLock lock(parts_->mu);
  parts_->lockout = condition.lockout;
}

std::string Metrics::ToText(const v1::GetStatusResponse& status) const {
  Standing now;
  TakeDaemon(status, now);
  TakeRegistrations(status, now);
  TakeHardware(status, now);
  TakeServers(status, now);
  {
    MutexLock lock(parts_->mu);
    if (parts_->lockout.has_value()) {
      now.Gauge("smartkeyd_tpm_lockout_failures",
                "Failed authorizations that the TPM has counted, by whatever program",
                parts_->lockout->failures);
      now.Gauge("smartkeyd_tpm_lockout_limit", "At how many the TPM locks itself",
                parts_->lockout->limit);
    }
  }
  std::vector<MetricFamily> families = parts_->registry.Collect();
  for (MetricFamily& family : now.Take()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

MeasuredHttpClient::CallId MeasuredHttpClient::Send(
    HttpRequest request, absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) {
  const char* method = "GET";
  if (request.method == HttpRequest::Method::kPost) method = "POST";
  if (request.method == HttpRequest::Method::kPut) method = "PUT";
  if (request.method == HttpRequest::Method::kDelete) method = "DELETE";
  return client_.Send(std::move(request),
                      [this, method, begun = clock_.Boot(),
                       done = std::move(done)](absl::StatusOr<HttpResponse> answer) mutable {
                        metrics_.OnHttp(method, answer, clock_.Boot() - begun);
                        done(std::move(answer));
                      });
}

}  // namespace smartkey
