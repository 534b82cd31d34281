// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/clients/fake_daemon.h"

// What is inside of FakeDaemon: a file for each of the services, fake_*_service.cc, has its calls.
namespace smartkey {

inline constexpr int64_t kEnrolledAt = 1767225600;   // 2026-01-01
inline constexpr int64_t kTokenEndsAt = 4102444800;  // 2100-01-01

// The one that there is.
v1::Registration MercyRegistration();

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

  // EnrollmentService.
  grpc::Status BeginEnrollment(grpc::ServerContext* context,
                               const v1::BeginEnrollmentRequest* request,
                               v1::BeginEnrollmentResponse* response) override;
  grpc::Status CompleteEnrollment(grpc::ServerContext* context,
                                  const v1::CompleteEnrollmentRequest* request,
                                  v1::CompleteEnrollmentResponse* response) override;
  grpc::Status CancelEnrollment(grpc::ServerContext*, const v1::CancelEnrollmentRequest*,
                                v1::CancelEnrollmentResponse*) override;
  grpc::Status WatchEnrollment(grpc::ServerContext* context, const v1::WatchEnrollmentRequest*,
                               grpc::ServerWriter<v1::WatchEnrollmentResponse>* writer) override;
  grpc::Status EnrollWithInitialToken(grpc::ServerContext* context,
                                      const v1::EnrollWithInitialTokenRequest* request,
                                      v1::EnrollWithInitialTokenResponse* response) override;

  // RegistrationService.
  grpc::Status ListRegistrations(grpc::ServerContext* context,
                                 const v1::ListRegistrationsRequest* request,
                                 v1::ListRegistrationsResponse* response) override;
  grpc::Status GetRegistration(grpc::ServerContext* context,
                               const v1::GetRegistrationRequest* request,
                               v1::GetRegistrationResponse* response) override;
  grpc::Status UpdateRegistration(grpc::ServerContext* context,
                                  const v1::UpdateRegistrationRequest* request,
                                  v1::UpdateRegistrationResponse* response) override;
  grpc::Status DeleteRegistration(grpc::ServerContext* context,
                                  const v1::DeleteRegistrationRequest* request,
                                  v1::DeleteRegistrationResponse* response) override;
  grpc::Status SuspendRegistrations(grpc::ServerContext* context,
                                    const v1::SuspendRegistrationsRequest* request,
                                    v1::SuspendRegistrationsResponse* response) override;
  grpc::Status ResumeRegistrations(grpc::ServerContext* context,
                                   const v1::ResumeRegistrationsRequest* request,
                                   v1::ResumeRegistrationsResponse* response) override;
  grpc::Status RotateKey(grpc::ServerContext* context, const v1::RotateKeyRequest* request,
                         v1::RotateKeyResponse* response) override;
  grpc::Status WatchRegistrations(
      grpc::ServerContext* context, const v1::WatchRegistrationsRequest* request,
      grpc::ServerWriter<v1::WatchRegistrationsResponse>* writer) override;

  // TokenService and SigningService.
  grpc::Status ReportRejectedToken(grpc::ServerContext* context,
                                   const v1::ReportRejectedTokenRequest* request,
                                   v1::ReportRejectedTokenResponse* response) override;
  grpc::Status WatchAccessToken(grpc::ServerContext* context,
                                const v1::WatchAccessTokenRequest* request,
                                grpc::ServerWriter<v1::WatchAccessTokenResponse>* writer) override;
  void FillToken(v1::GetAccessTokenResponse* response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  grpc::Status GetAccessToken(grpc::ServerContext* context,
                              const v1::GetAccessTokenRequest* request,
                              v1::GetAccessTokenResponse* response) override;
  grpc::Status SignClientAssertion(grpc::ServerContext* context,
                                   const v1::SignClientAssertionRequest* request,
                                   v1::SignClientAssertionResponse* response) override;
  grpc::Status GetJwks(grpc::ServerContext* context, const v1::GetJwksRequest* request,
                       v1::GetJwksResponse* response) override;

  // ServerInfoService.
  grpc::Status GetServerInfo(grpc::ServerContext* context, const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override;
  grpc::Status ListServers(grpc::ServerContext* context, const v1::ListServersRequest*,
                           v1::ListServersResponse* response) override;
  grpc::Status ListApps(grpc::ServerContext* context, const v1::ListAppsRequest*,
                        v1::ListAppsResponse* response) override;

  // AdminService; ReadAuditLog is RegistrationService's, too.
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override;
  grpc::Status RunDiagnostics(grpc::ServerContext* context, const v1::RunDiagnosticsRequest*,
                              grpc::ServerWriter<v1::RunDiagnosticsResponse>* writer) override;
  grpc::Status GetMetrics(grpc::ServerContext* context, const v1::GetMetricsRequest*,
                          v1::GetMetricsResponse* response) override;
  grpc::Status ReadAuditLog(grpc::ServerContext* context, const v1::ReadAuditLogRequest*,
                            grpc::ServerWriter<v1::ReadAuditLogResponse>* writer) override;
  grpc::Status ReloadConfiguration(grpc::ServerContext* context,
                                   const v1::ReloadConfigurationRequest*,
                                   v1::ReloadConfigurationResponse* response) override;
  grpc::Status ProvisionTpm(grpc::ServerContext* context, const v1::ProvisionTpmRequest* request,
                            v1::ProvisionTpmResponse* response) override;
  grpc::Status RecoverStore(grpc::ServerContext* context, const v1::RecoverStoreRequest* request,
                            v1::RecoverStoreResponse* response) override;
  grpc::Status ResetStore(grpc::ServerContext* context, const v1::ResetStoreRequest*,
                          v1::ResetStoreResponse* response) override;
  grpc::Status AdoptStore(grpc::ServerContext* context, const v1::AdoptStoreRequest*,
                          v1::AdoptStoreResponse*) override;
  grpc::Status ListStoredKeys(grpc::ServerContext* context, const v1::ListStoredKeysRequest*,
                              v1::ListStoredKeysResponse* response) override;
  grpc::Status RemoveStrayKeys(grpc::ServerContext* context,
                               const v1::RemoveStrayKeysRequest* request,
                               v1::RemoveStrayKeysResponse* response) override;

  // SharingService.
  grpc::Status ShareRegistration(grpc::ServerContext* context,
                                 const v1::ShareRegistrationRequest* request,
                                 v1::ShareRegistrationResponse* response) override;
  grpc::Status UnshareRegistration(grpc::ServerContext* context,
                                   const v1::UnshareRegistrationRequest* request,
                                   v1::UnshareRegistrationResponse*) override;
  grpc::Status RequestAccess(grpc::ServerContext* context, const v1::RequestAccessRequest* request,
                             grpc::ServerWriter<v1::RequestAccessResponse>* writer) override;
  grpc::Status ListAccessRequests(grpc::ServerContext* context,
                                  const v1::ListAccessRequestsRequest*,
                                  v1::ListAccessRequestsResponse* response) override;
  grpc::Status ResolveAccessRequest(grpc::ServerContext* context,
                                    const v1::ResolveAccessRequestRequest* request,
                                    v1::ResolveAccessRequestResponse* response) override;
  grpc::Status ExplainAccess(grpc::ServerContext* context, const v1::ExplainAccessRequest* request,
                             v1::ExplainAccessResponse* response) override;
};

}  // namespace smartkey
