// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: EnrollmentService.
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/clients/fake_services.h"

namespace smartkey {

grpc::Status FakeDaemon::Services::BeginEnrollment(grpc::ServerContext* context,
                                                   const v1::BeginEnrollmentRequest* request,
                                                   v1::BeginEnrollmentResponse* response) {
  Note(&Services::begin, *request);
  const grpc::Status status = Enter("BeginEnrollment", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  enrollment_ended = false;
  response->set_enrollment_id("e-1");
  response->set_registration_id("r-1");
  response->set_authorization_url(absl::StrCat(
      "https://ehr.example.com/authorize?redirect_uri=", request->redirect_uri(), "&state=st4te"));
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

grpc::Status FakeDaemon::Services::CompleteEnrollment(grpc::ServerContext* context,
                                                      const v1::CompleteEnrollmentRequest* request,
                                                      v1::CompleteEnrollmentResponse* response) {
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

grpc::Status FakeDaemon::Services::CancelEnrollment(grpc::ServerContext*,
                                                    const v1::CancelEnrollmentRequest*,
                                                    v1::CancelEnrollmentResponse*) {
  MutexLock lock(mu);
  calls.push_back("CancelEnrollment");
  enrollment_ended = true;
  called.NotifyAll();
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Services::WatchEnrollment(
    grpc::ServerContext* context, const v1::WatchEnrollmentRequest*,
    grpc::ServerWriter<v1::WatchEnrollmentResponse>* writer) {
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

grpc::Status FakeDaemon::Services::EnrollWithInitialToken(
    grpc::ServerContext* context, const v1::EnrollWithInitialTokenRequest* request,
    v1::EnrollWithInitialTokenResponse* response) {
  Note(&Services::with_token, *request);
  const grpc::Status status = Enter("EnrollWithInitialToken", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  *response->mutable_registration() = registration;
  return grpc::Status::OK;
}

}  // namespace smartkey
