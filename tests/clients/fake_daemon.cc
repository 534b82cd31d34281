// SPDX-License-Identifier: Apache-2.0
#include "tests/clients/fake_daemon.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace smartkey {
namespace {

constexpr int64_t kEnrolledAt = 1767225600;   // 2026-01-01
constexpr int64_t kTokenEndsAt = 4102444800;  // 2100-01-01

v1::Registration MercyRegistration() {
  v1::Registration out;
  out.set_id("r-1");
  out.set_name("mercy");
  out.set_label("Mum");
  out.mutable_owner()->set_uid(1000);
  out.mutable_owner()->set_name("alice");
  out.set_relation(v1::OWN);
  out.set_app("org.example.viewer");
  out.set_server("mercy");
  out.set_fhir_base("https://ehr.example.com/fhir");
  out.set_kind(v1::DYNAMIC_CLIENT);
  out.set_state(v1::ACTIVE);
  out.set_state_words("working");
  out.add_scopes("launch/patient");
  out.add_scopes("patient/*.rs");
  out.set_token_endpoint("https://ehr.example.com/token");
  out.mutable_created_at()->set_seconds(kEnrolledAt);
  out.set_patient("p-7");
  v1::Generation& generation = *out.mutable_generation();
  generation.set_number(1);
  generation.set_state(v1::ACTIVE);
  generation.set_client_id("dyn-1");
  generation.mutable_key()->set_algorithm("ES384");
  generation.mutable_key()->set_thumbprint("thumb-1");
  generation.mutable_key()->set_provider(v1::TPM);
  for (const char* name : {"fixedtpm", "sign"}) {
    v1::KeyAttribute& attribute = *generation.mutable_key()->add_attributes();
    attribute.set_name(name);
    attribute.set_value(true);
  }
  generation.mutable_key()->add_attributes()->set_name("decrypt");
  return out;
}

}  // namespace

grpc::Status WireError(const absl::Status& error) {
  const ReasonRow& row = RowFor(ReasonOf(error));
  v1::ErrorDetail detail;
  detail.set_reason(static_cast<v1::ErrorDetail::Reason>(row.reason));
  detail.set_user_action(static_cast<v1::ErrorDetail::UserAction>(row.action));
  detail.set_remedy(RemedyOf(error));
  if (const auto wait = RetryAfterOf(error)) {
    detail.mutable_retry_after()->set_seconds(absl::ToInt64Seconds(*wait));
  }
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(error.code()));
  wire.set_message(std::string(error.message()));
  wire.add_details()->PackFrom(detail);
  return grpc::Status(static_cast<grpc::StatusCode>(error.code()), std::string(error.message()),
                      wire.SerializeAsString());
}

grpc::Status WireError(Reason reason) {
  return WireError(MakeError(reason, "refused by the fake"));
}

// All services in one class: where two of them have a method of the same name, it is the same.
struct FakeDaemon::Services : v1::EnrollmentService::Service,
                              v1::RegistrationService::Service,
                              v1::TokenService::Service,
                              v1::SigningService::Service,
                              v1::SharingService::Service,
                              v1::ServerInfoService::Service,
                              v1::AdminService::Service {
  mutable Mutex mu;
  mutable CondVar called;
  std::vector<std::string> calls ABSL_GUARDED_BY(mu);
  grpc::Status failure ABSL_GUARDED_BY(mu);
  std::map<std::string, grpc::Status> failures ABSL_GUARDED_BY(mu);  // by method
  bool hang ABSL_GUARDED_BY(mu) = false;
  v1::Registration registration ABSL_GUARDED_BY(mu) = MercyRegistration();
  std::string redirect_uri ABSL_GUARDED_BY(mu) = "http://127.0.0.1/callback";
  std::function<void(v1::GetAccessTokenResponse&)> edit_token ABSL_GUARDED_BY(mu);
  std::function<void(v1::GetStatusResponse&)> edit_status ABSL_GUARDED_BY(mu);
  v1::ReloadConfigurationResponse reload ABSL_GUARDED_BY(mu);
  v1::ReadAuditLogResponse verification ABSL_GUARDED_BY(mu);
  bool enrollment_ended ABSL_GUARDED_BY(mu) = false;
  bool completing ABSL_GUARDED_BY(mu) = false;
  v1::BeginEnrollmentRequest begin ABSL_GUARDED_BY(mu);
  v1::CompleteEnrollmentRequest complete ABSL_GUARDED_BY(mu);
  v1::EnrollWithInitialTokenRequest with_token ABSL_GUARDED_BY(mu);
  v1::GetAccessTokenRequest token_request ABSL_GUARDED_BY(mu);
  v1::ReportRejectedTokenRequest rejected ABSL_GUARDED_BY(mu);
  v1::UpdateRegistrationRequest update ABSL_GUARDED_BY(mu);
  v1::ListRegistrationsRequest list ABSL_GUARDED_BY(mu);
  v1::SuspendRegistrationsRequest suspend ABSL_GUARDED_BY(mu);
  v1::ShareRegistrationRequest share ABSL_GUARDED_BY(mu);
  v1::UnshareRegistrationRequest unshare ABSL_GUARDED_BY(mu);
  v1::ExplainAccessRequest explain ABSL_GUARDED_BY(mu);
  v1::RequestAccessRequest request_access ABSL_GUARDED_BY(mu);
  v1::AccessRequest::State decision ABSL_GUARDED_BY(mu) = v1::AccessRequest::APPROVED;
  v1::ResolveAccessRequestRequest resolve ABSL_GUARDED_BY(mu);
  v1::ResumeRegistrationsRequest resume ABSL_GUARDED_BY(mu);
  v1::RotateKeyRequest rotate ABSL_GUARDED_BY(mu);
  v1::WatchRegistrationsRequest watch ABSL_GUARDED_BY(mu);
  v1::ProvisionTpmRequest provision ABSL_GUARDED_BY(mu);

  // What was received is noted before the call is, for those who wait for the call.
  template <typename Value>
  void Note(Value Services::*where, const Value& value) ABSL_LOCKS_EXCLUDED(mu) {
    MutexLock lock(mu);
    this->*where = value;
  }

  // Notes the call; what it is to be refused with, if it is.
  grpc::Status Enter(const char* method, grpc::ServerContext* context) ABSL_LOCKS_EXCLUDED(mu) {
    MutexLock lock(mu);
    calls.push_back(method);
    called.NotifyAll();
    while (hang && !context->IsCancelled()) called.WaitFor(mu, absl::Milliseconds(5));
    const auto found = failures.find(method);
    return found != failures.end() ? found->second : failure;
  }

  grpc::Status Find(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (name == registration.name() || name == registration.id() ||
        name == absl::StrCat(registration.owner().name(), "/", registration.name())) {
      return grpc::Status::OK;
    }
    return WireError(RegistrationNotFound());
  }

  grpc::Status BeginEnrollment(grpc::ServerContext* context,
                               const v1::BeginEnrollmentRequest* request,
                               v1::BeginEnrollmentResponse* response) override {
    Note(&Services::begin, *request);
    const grpc::Status status = Enter("BeginEnrollment", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    enrollment_ended = false;
    response->set_enrollment_id("e-1");
    response->set_registration_id("r-1");
    response->set_authorization_url(absl::StrCat("https://ehr.example.com/authorize?redirect_uri=",
                                                 request->redirect_uri(), "&state=st4te"));
    response->set_redirect_uri(request->redirect_uri());
    response->set_client_id("initial-client");
    response->set_server("mercy");
    response->set_app(request->app());
    response->set_authorization_host("ehr.example.com");
    response->set_token_host("token.example.com");
    response->set_fhir_base("https://ehr.example.com/fhir");
    response->add_scopes("system/DynamicClient.register");
    response->add_warnings(v1::SAME_APP_SAME_SERVER);
    return grpc::Status::OK;
  }

  grpc::Status CompleteEnrollment(grpc::ServerContext* context,
                                  const v1::CompleteEnrollmentRequest* request,
                                  v1::CompleteEnrollmentResponse* response) override {
    Note(&Services::complete, *request);
    Note(&Services::completing, true);
    const grpc::Status status = Enter("CompleteEnrollment", context);
    MutexLock lock(mu);
    enrollment_ended = true;
    called.NotifyAll();
    if (!status.ok()) return status;
    *response->mutable_registration() = registration;
    return grpc::Status::OK;
  }

  grpc::Status CancelEnrollment(grpc::ServerContext*, const v1::CancelEnrollmentRequest*,
                                v1::CancelEnrollmentResponse*) override {
    MutexLock lock(mu);
    calls.push_back("CancelEnrollment");
    enrollment_ended = true;
    called.NotifyAll();
    return grpc::Status::OK;
  }

  grpc::Status WatchEnrollment(grpc::ServerContext* context, const v1::WatchEnrollmentRequest*,
                               grpc::ServerWriter<v1::WatchEnrollmentResponse>* writer) override {
    {
      MutexLock lock(mu);
      calls.push_back("WatchEnrollment");
      called.NotifyAll();
    }
    v1::WatchEnrollmentResponse step;
    step.set_enrollment_id("e-1");
    step.set_step(v1::WatchEnrollmentResponse::WAITING_FOR_BROWSER);
    step.set_key_ready(true);
    writer->Write(step);
    {
      MutexLock lock(mu);
      while (!completing && !enrollment_ended && !context->IsCancelled()) {
        called.WaitFor(mu, absl::Milliseconds(5));
      }
    }
    step.set_step(v1::WatchEnrollmentResponse::SENDING_REGISTRATION);
    writer->Write(step);
    step.set_step(v1::WatchEnrollmentResponse::DONE);
    writer->Write(step);
    return grpc::Status::OK;
  }

  grpc::Status EnrollWithInitialToken(grpc::ServerContext* context,
                                      const v1::EnrollWithInitialTokenRequest* request,
                                      v1::EnrollWithInitialTokenResponse* response) override {
    Note(&Services::with_token, *request);
    const grpc::Status status = Enter("EnrollWithInitialToken", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    *response->mutable_registration() = registration;
    return grpc::Status::OK;
  }

  // One registration a page, and a second page, so that paging is seen.
  grpc::Status ListRegistrations(grpc::ServerContext* context,
                                 const v1::ListRegistrationsRequest* request,
                                 v1::ListRegistrationsResponse* response) override {
    Note(&Services::list, *request);
    const grpc::Status status = Enter("ListRegistrations", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    *response->add_registrations() = registration;
    if (request->page_token().empty()) {
      response->set_next_page_token("page-2");
    } else {
      response->mutable_registrations(0)->set_id("r-2");
      response->mutable_registrations(0)->set_name("mercy-2");
      response->mutable_registrations(0)->set_relation(v1::SHARED);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetRegistration(grpc::ServerContext* context,
                               const v1::GetRegistrationRequest* request,
                               v1::GetRegistrationResponse* response) override {
    const grpc::Status status = Enter("GetRegistration", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    *response->mutable_registration() = registration;
    return Find(request->registration());
  }

  grpc::Status UpdateRegistration(grpc::ServerContext* context,
                                  const v1::UpdateRegistrationRequest* request,
                                  v1::UpdateRegistrationResponse* response) override {
    Note(&Services::update, *request);
    const grpc::Status status = Enter("UpdateRegistration", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    *response->mutable_registration() = registration;
    return Find(request->registration());
  }

  grpc::Status DeleteRegistration(grpc::ServerContext* context,
                                  const v1::DeleteRegistrationRequest* request,
                                  v1::DeleteRegistrationResponse* response) override {
    const grpc::Status status = Enter("DeleteRegistration", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    response->set_registration_id(registration.id());
    response->set_server_may_still_list(true);
    response->set_management_url("https://ehr.example.com/apps");
    response->set_key_destroyed(true);
    return Find(request->registration());
  }

  // The first is changed by it, another one is so already.
  grpc::Status SuspendRegistrations(grpc::ServerContext* context,
                                    const v1::SuspendRegistrationsRequest* request,
                                    v1::SuspendRegistrationsResponse* response) override {
    Note(&Services::suspend, *request);
    const grpc::Status status = Enter("SuspendRegistrations", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    if (!registration.has_suspended()) response->add_registration_ids(registration.id());
    return grpc::Status::OK;
  }

  grpc::Status ResumeRegistrations(grpc::ServerContext* context,
                                   const v1::ResumeRegistrationsRequest* request,
                                   v1::ResumeRegistrationsResponse* response) override {
    Note(&Services::resume, *request);
    const grpc::Status status = Enter("ResumeRegistrations", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    response->add_registration_ids(registration.id());
    response->add_still_suspended_ids("r-2");
    return grpc::Status::OK;
  }

  grpc::Status RotateKey(grpc::ServerContext* context, const v1::RotateKeyRequest* request,
                         v1::RotateKeyResponse* response) override {
    Note(&Services::rotate, *request);
    const grpc::Status status = Enter("RotateKey", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    *response->mutable_registration() = registration;
    return Find(request->registration());
  }

  // Everything that may come, once; then the end, unless calls hang.
  grpc::Status WatchRegistrations(
      grpc::ServerContext* context, const v1::WatchRegistrationsRequest* request,
      grpc::ServerWriter<v1::WatchRegistrationsResponse>* writer) override {
    Note(&Services::watch, *request);
    v1::WatchRegistrationsResponse current, synced, ending, removed;
    {
      MutexLock lock(mu);
      *current.mutable_registration() = registration;
    }
    current.set_event(v1::WatchRegistrationsResponse::CURRENT);
    synced.set_event(v1::WatchRegistrationsResponse::SYNCED);
    ending = current;
    ending.set_event(v1::WatchRegistrationsResponse::ENDING);
    ending.set_ending_days(7);
    removed.set_event(v1::WatchRegistrationsResponse::REMOVED);
    removed.mutable_registration()->set_id(current.registration().id());
    for (const auto& event : {current, synced, ending, removed}) writer->Write(event);
    return Enter("WatchRegistrations", context);
  }

  grpc::Status ReportRejectedToken(grpc::ServerContext* context,
                                   const v1::ReportRejectedTokenRequest* request,
                                   v1::ReportRejectedTokenResponse* response) override {
    Note(&Services::rejected, *request);
    const grpc::Status status = Enter("ReportRejectedToken", context);
    if (!status.ok()) return status;
    response->set_dropped(request->access_token() == kToken);
    response->set_refreshing(response->dropped());
    return grpc::Status::OK;
  }

  // A token, the same with an error beside it, the error alone; then the end, unless calls hang.
  grpc::Status WatchAccessToken(grpc::ServerContext* context,
                                const v1::WatchAccessTokenRequest* request,
                                grpc::ServerWriter<v1::WatchAccessTokenResponse>* writer) override {
    Note(&Services::token_request, request->token());
    v1::WatchAccessTokenResponse state;
    {
      MutexLock lock(mu);
      FillToken(state.mutable_token());
    }
    writer->Write(state);
    state.mutable_error()->set_reason(v1::ErrorDetail::SERVER_UNREACHABLE);
    writer->Write(state);
    state.clear_token();
    writer->Write(state);
    return Enter("WatchAccessToken", context);
  }

  void FillToken(v1::GetAccessTokenResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    response->set_access_token(kToken);
    response->set_token_type("Bearer");
    response->mutable_expires_at()->set_seconds(kTokenEndsAt);
    response->set_source(v1::CACHE);
    response->set_scope("patient/*.rs");
    response->set_fhir_base(registration.fhir_base());
    response->set_registration(registration.id());
    response->set_generation(1);
    if (edit_token) edit_token(*response);
  }

  grpc::Status GetAccessToken(grpc::ServerContext* context,
                              const v1::GetAccessTokenRequest* request,
                              v1::GetAccessTokenResponse* response) override {
    Note(&Services::token_request, *request);
    const grpc::Status status = Enter("GetAccessToken", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    FillToken(response);
    return request->has_context() ? grpc::Status::OK : Find(request->registration());
  }

  grpc::Status SignClientAssertion(grpc::ServerContext* context,
                                   const v1::SignClientAssertionRequest* request,
                                   v1::SignClientAssertionResponse* response) override {
    const grpc::Status status = Enter("SignClientAssertion", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    response->set_assertion(kAssertion);
    response->set_client_id("dyn-1");
    response->set_token_endpoint(registration.token_endpoint());
    response->set_jti("jti-1");
    return Find(request->registration());
  }

  grpc::Status GetJwks(grpc::ServerContext* context, const v1::GetJwksRequest* request,
                       v1::GetJwksResponse* response) override {
    const grpc::Status status = Enter("GetJwks", context);
    if (!status.ok()) return status;
    MutexLock lock(mu);
    response->set_jwks(R"({"keys":[{"kty":"EC","kid":"thumb-1"}]})");
    return Find(request->registration());
  }

  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override {
    response->set_version("9.8.7");
    response->mutable_hardware()->set_state(v1::READY);
    response->mutable_hardware()->set_provider(v1::TPM);
    return Enter("GetServerInfo", context);
  }

  grpc::Status ListServers(grpc::ServerContext* context, const v1::ListServersRequest*,
                           v1::ListServersResponse* response) override {
    v1::Server& server = *response->add_servers();
    server.set_name("mercy");
    server.set_fhir_base("https://ehr.example.com/fhir");
    server.set_profile("smart");
    server.add_apps("org.example.viewer");
    server.set_refusing_all(true);
    return Enter("ListServers", context);
  }

  grpc::Status ListApps(grpc::ServerContext* context, const v1::ListAppsRequest*,
                        v1::ListAppsResponse* response) override {
    const grpc::Status status = Enter("ListApps", context);
    MutexLock lock(mu);
    v1::App& app = *response->add_apps();
    app.set_id("org.example.viewer");
    app.set_name("Example Viewer");
    app.add_redirect_uris(redirect_uri);
    app.add_scopes("patient/*.rs");
    return status;
  }

  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    response->set_version("9.8.7");
    response->set_pid(4711);
    response->mutable_uptime()->set_seconds(3661);
    v1::HardwareStatus& hardware = *response->mutable_hardware();
    hardware.mutable_hardware()->set_state(v1::READY);
    hardware.mutable_hardware()->set_provider(v1::TPM);
    hardware.mutable_hardware()->add_algorithms("ES384");
    hardware.mutable_hardware()->mutable_since()->set_seconds(kEnrolledAt);
    hardware.set_detail("firmware 1.2");
    hardware.set_queue_depth(2);
    hardware.set_queue_limit(64);
    hardware.set_abandoned_operations(1);
    hardware.mutable_next_attempt_at()->set_seconds(kTokenEndsAt);
    response->mutable_store()->set_available(true);
    response->mutable_store()->set_schema_version(1);
    v1::StoreCopy& copy = *response->mutable_store()->add_copies();
    copy.set_file("copies/smartkeyd-20261125.db");
    copy.mutable_made_at()->set_seconds(1'795'000'000);
    {
      MutexLock lock(mu);
      if (edit_status) edit_status(*response);
    }
    v1::StateCount& count = *response->add_registrations();
    count.set_state(v1::ACTIVE);
    count.set_count(3);
    v1::ServerStatus& server = *response->add_servers();
    server.set_name("mercy");
    server.set_state(v1::ServerStatus::OK);
    server.set_registrations(3);
    v1::ConfigProblem& problem = *response->add_config_problems();
    problem.set_file("/etc/smartkeyd/smartkeyd.toml.d/x.toml");
    problem.set_line(7);
    problem.set_message("unknown key 'sever'; did you mean 'server'?");
    problem.set_file_disabled(true);
    return Enter("GetStatus", context);
  }

  // One result, which names a server, and whom it is about.
  grpc::Status RunDiagnostics(grpc::ServerContext* context, const v1::RunDiagnosticsRequest*,
                              grpc::ServerWriter<v1::RunDiagnosticsResponse>* writer) override {
    v1::RunDiagnosticsResponse result;
    result.set_number(21);
    result.set_area("servers");
    result.set_check("server mercy");
    result.set_outcome(v1::RunDiagnosticsResponse::BROKEN);
    result.set_finding("alice's mercy at https://ehr.example.com/fhir is refused");
    result.set_remedy("ask grace, who runs it");
    writer->Write(result);
    return Enter("RunDiagnostics", context);
  }

  grpc::Status GetMetrics(grpc::ServerContext* context, const v1::GetMetricsRequest*,
                          v1::GetMetricsResponse* response) override {
    response->set_text("smartkeyd_server_reachable{server=\"mercy\"} 1\n");
    return Enter("GetMetrics", context);
  }

  // What a check finds. The owners' service has the same call.
  grpc::Status ReadAuditLog(grpc::ServerContext* context, const v1::ReadAuditLogRequest*,
                            grpc::ServerWriter<v1::ReadAuditLogResponse>* writer) override {
    {
      MutexLock lock(mu);
      writer->Write(verification);
    }
    return Enter("ReadAuditLog", context);
  }

  grpc::Status ReloadConfiguration(grpc::ServerContext* context,
                                   const v1::ReloadConfigurationRequest*,
                                   v1::ReloadConfigurationResponse* response) override {
    {
      MutexLock lock(mu);
      *response = reload;
    }
    return Enter("ReloadConfiguration", context);
  }

  grpc::Status ProvisionTpm(grpc::ServerContext* context, const v1::ProvisionTpmRequest* request,
                            v1::ProvisionTpmResponse* response) override {
    Note(&Services::provision, *request);
    response->set_handle(0x81000001);
    response->set_name(std::string("\x00\x0b\xca\xfe", 4));
    return Enter("ProvisionTpm", context);
  }

  grpc::Status RecoverStore(grpc::ServerContext* context, const v1::RecoverStoreRequest* request,
                            v1::RecoverStoreResponse* response) override {
    response->set_from_damaged_file(3);
    // A copy that is named holds none.
    response->set_from_copy(request->copy().empty() ? 2 : 0);
    response->mutable_copy()->set_file(request->copy().empty() ? "copies/smartkeyd-20261125.db"
                                                               : request->copy());
    response->mutable_copy()->mutable_made_at()->set_seconds(1'795'000'000);
    response->set_incomplete(true);
    response->set_set_aside("set-aside/20261126-070000");
    return Enter("RecoverStore", context);
  }

  grpc::Status ResetStore(grpc::ServerContext* context, const v1::ResetStoreRequest*,
                          v1::ResetStoreResponse* response) override {
    response->set_set_aside("set-aside/20261126-070000");
    return Enter("ResetStore", context);
  }

  grpc::Status AdoptStore(grpc::ServerContext* context, const v1::AdoptStoreRequest*,
                          v1::AdoptStoreResponse*) override {
    return Enter("AdoptStore", context);
  }

  grpc::Status ListStoredKeys(grpc::ServerContext* context, const v1::ListStoredKeysRequest*,
                              v1::ListStoredKeysResponse* response) override {
    v1::StoredKey& used = *response->add_keys();
    used.set_label("smartkeyd:i-1:reg-1:1");
    used.set_registration_id("reg-1");
    used.set_generation(1);
    v1::StoredKey& stray = *response->add_keys();
    stray.set_label("smartkeyd:i-1:reg-9:2");
    stray.set_registration_id("reg-9");
    stray.set_generation(2);
    stray.set_stray(true);
    stray.set_id("\x0a\x0b");
    response->set_of_other_instances(5);
    return Enter("ListStoredKeys", context);
  }

  grpc::Status RemoveStrayKeys(grpc::ServerContext* context,
                               const v1::RemoveStrayKeysRequest* request,
                               v1::RemoveStrayKeysResponse* response) override {
    const bool chosen =
        request->all() || (request->ids_size() == 1 && request->ids(0) == "\x0a\x0b");
    if (chosen) {
      v1::StoredKey& stray = *response->add_keys();
      stray.set_label("smartkeyd:i-1:reg-9:2");
      stray.set_stray(true);
      stray.set_id("\x0a\x0b");
    }
    return Enter("RemoveStrayKeys", context);
  }

  grpc::Status ShareRegistration(grpc::ServerContext* context,
                                 const v1::ShareRegistrationRequest* request,
                                 v1::ShareRegistrationResponse* response) override {
    Note(&Services::share, *request);
    v1::Share& made = *response->mutable_share();
    made.mutable_principal()->set_text(request->principal());
    made.mutable_operations()->CopyFrom(request->operations());
    if (made.operations().empty()) made.add_operations(v1::TOKEN);
    made.mutable_scopes()->CopyFrom(request->scopes());
    made.mutable_expires_at()->set_seconds(1798761600);  // 2027-01-01
    return Enter("ShareRegistration", context);
  }

  grpc::Status UnshareRegistration(grpc::ServerContext* context,
                                   const v1::UnshareRegistrationRequest* request,
                                   v1::UnshareRegistrationResponse*) override {
    Note(&Services::unshare, *request);
    return Enter("UnshareRegistration", context);
  }

  grpc::Status RequestAccess(grpc::ServerContext* context, const v1::RequestAccessRequest* request,
                             grpc::ServerWriter<v1::RequestAccessResponse>* writer) override {
    Note(&Services::request_access, *request);
    grpc::Status status = Enter("RequestAccess", context);
    if (!status.ok()) return status;
    v1::RequestAccessResponse response;
    response.set_request_id("request-1");
    response.set_state(v1::AccessRequest::PENDING);
    writer->Write(response);
    MutexLock lock(mu);
    response.set_state(decision);
    if (decision == v1::AccessRequest::APPROVED) response.set_registration_id("r-1");
    writer->Write(response);
    return grpc::Status::OK;
  }

  grpc::Status ListAccessRequests(grpc::ServerContext* context,
                                  const v1::ListAccessRequestsRequest*,
                                  v1::ListAccessRequestsResponse* response) override {
    v1::AccessRequest& one = *response->add_requests();
    one.set_request_id("request-1");
    one.mutable_principal()->set_text("user:bob");
    one.set_registration_id("r-1");
    one.add_operations(v1::TOKEN);
    one.set_reason("for my viewer");
    one.mutable_created_at()->set_seconds(1798761600);  // 2027-01-01
    return Enter("ListAccessRequests", context);
  }

  grpc::Status ResolveAccessRequest(grpc::ServerContext* context,
                                    const v1::ResolveAccessRequestRequest* request,
                                    v1::ResolveAccessRequestResponse* response) override {
    Note(&Services::resolve, *request);
    if (request->decision() == v1::ResolveAccessRequestRequest::APPROVE) {
      response->mutable_share()->mutable_principal()->set_text("user:bob");
      response->mutable_share()->add_operations(v1::TOKEN);
    }
    return Enter("ResolveAccessRequest", context);
  }

  grpc::Status ExplainAccess(grpc::ServerContext* context, const v1::ExplainAccessRequest* request,
                             v1::ExplainAccessResponse* response) override {
    Note(&Services::explain, *request);
    response->add_operations(v1::TOKEN);
    response->add_facts("user: bob (uid 1001)");
    response->add_steps("share user:bob: allows token");
    return Enter("ExplainAccess", context);
  }
};

FakeDaemon::FakeDaemon(std::string path)
    : path_(std::move(path)), services_(std::make_unique<Services>()) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::EnrollmentService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::RegistrationService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::TokenService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::SigningService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::SharingService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::ServerInfoService::Service*>(services_.get()));
  builder.RegisterService(static_cast<v1::AdminService::Service*>(services_.get()));
  server_ = builder.BuildAndStart();
}

FakeDaemon::~FakeDaemon() {
  server_->Shutdown(std::chrono::system_clock::now());
}

void FakeDaemon::FailWith(grpc::Status status) {
  MutexLock lock(services_->mu);
  services_->failure = std::move(status);
}

void FakeDaemon::Hang() {
  MutexLock lock(services_->mu);
  services_->hang = true;
}

void FakeDaemon::EditRegistration(std::function<void(v1::Registration&)> edit) {
  MutexLock lock(services_->mu);
  edit(services_->registration);
}

void FakeDaemon::EditStatus(std::function<void(v1::GetStatusResponse&)> edit) {
  MutexLock lock(services_->mu);
  services_->edit_status = std::move(edit);
}

void FakeDaemon::SetReload(v1::ReloadConfigurationResponse reload) {
  MutexLock lock(services_->mu);
  services_->reload = std::move(reload);
}

void FakeDaemon::FailCallsOf(const std::string& method, grpc::Status status) {
  MutexLock lock(services_->mu);
  services_->failures[method] = std::move(status);
}

void FakeDaemon::SetVerification(v1::ReadAuditLogResponse found) {
  MutexLock lock(services_->mu);
  services_->verification = std::move(found);
}

void FakeDaemon::EditToken(std::function<void(v1::GetAccessTokenResponse&)> edit) {
  MutexLock lock(services_->mu);
  services_->edit_token = std::move(edit);
}

void FakeDaemon::SetRedirectUri(std::string registered) {
  MutexLock lock(services_->mu);
  services_->redirect_uri = std::move(registered);
}

std::vector<std::string> FakeDaemon::calls() const {
  MutexLock lock(services_->mu);
  return services_->calls;
}

v1::ReportRejectedTokenRequest FakeDaemon::rejected() const {
  MutexLock lock(services_->mu);
  return services_->rejected;
}

v1::BeginEnrollmentRequest FakeDaemon::begin() const {
  MutexLock lock(services_->mu);
  return services_->begin;
}

v1::CompleteEnrollmentRequest FakeDaemon::complete() const {
  MutexLock lock(services_->mu);
  return services_->complete;
}

v1::EnrollWithInitialTokenRequest FakeDaemon::with_token() const {
  MutexLock lock(services_->mu);
  return services_->with_token;
}

v1::GetAccessTokenRequest FakeDaemon::token_request() const {
  MutexLock lock(services_->mu);
  return services_->token_request;
}

v1::UpdateRegistrationRequest FakeDaemon::update() const {
  MutexLock lock(services_->mu);
  return services_->update;
}

v1::ListRegistrationsRequest FakeDaemon::list() const {
  MutexLock lock(services_->mu);
  return services_->list;
}

v1::ShareRegistrationRequest FakeDaemon::share() const {
  MutexLock lock(services_->mu);
  return services_->share;
}

v1::UnshareRegistrationRequest FakeDaemon::unshare() const {
  MutexLock lock(services_->mu);
  return services_->unshare;
}

v1::ExplainAccessRequest FakeDaemon::explain() const {
  MutexLock lock(services_->mu);
  return services_->explain;
}

void FakeDaemon::Decide(v1::AccessRequest::State decision) {
  MutexLock lock(services_->mu);
  services_->decision = decision;
}

v1::RequestAccessRequest FakeDaemon::request_access() const {
  MutexLock lock(services_->mu);
  return services_->request_access;
}

v1::ResolveAccessRequestRequest FakeDaemon::resolve() const {
  MutexLock lock(services_->mu);
  return services_->resolve;
}

v1::SuspendRegistrationsRequest FakeDaemon::suspend() const {
  MutexLock lock(services_->mu);
  return services_->suspend;
}

v1::ResumeRegistrationsRequest FakeDaemon::resume() const {
  MutexLock lock(services_->mu);
  return services_->resume;
}

v1::RotateKeyRequest FakeDaemon::rotate() const {
  MutexLock lock(services_->mu);
  return services_->rotate;
}

v1::WatchRegistrationsRequest FakeDaemon::watch() const {
  MutexLock lock(services_->mu);
  return services_->watch;
}

v1::ProvisionTpmRequest FakeDaemon::provision() const {
  MutexLock lock(services_->mu);
  return services_->provision;
}

bool FakeDaemon::WaitForCall(const std::string& method) const {
  const absl::Time limit = absl::Now() + absl::Seconds(10);
  MutexLock lock(services_->mu);
  while (std::find(services_->calls.begin(), services_->calls.end(), method) ==
         services_->calls.end()) {
    if (absl::Now() >= limit) return false;
    services_->called.WaitFor(services_->mu, limit - absl::Now());
  }
  return true;
}

}  // namespace smartkey
