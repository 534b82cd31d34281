// SPDX-License-Identifier: Apache-2.0
#include "tests/clients/fake_daemon.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "tests/clients/fake_services.h"

namespace smartkey {

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
