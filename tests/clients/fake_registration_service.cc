// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: RegistrationService.
#include "tests/clients/fake_services.h"

namespace smartkey {

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

// One registration a page, and a second page, so that paging is seen.
grpc::Status FakeDaemon::Services::ListRegistrations(grpc::ServerContext* context,
                                                     const v1::ListRegistrationsRequest* request,
                                                     v1::ListRegistrationsResponse* response) {
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

grpc::Status FakeDaemon::Services::GetRegistration(grpc::ServerContext* context,
                                                   const v1::GetRegistrationRequest* request,
                                                   v1::GetRegistrationResponse* response) {
  const grpc::Status status = Enter("GetRegistration", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  *response->mutable_registration() = registration;
  return Find(request->registration());
}

grpc::Status FakeDaemon::Services::UpdateRegistration(grpc::ServerContext* context,
                                                      const v1::UpdateRegistrationRequest* request,
                                                      v1::UpdateRegistrationResponse* response) {
  Note(&Services::update, *request);
  const grpc::Status status = Enter("UpdateRegistration", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  *response->mutable_registration() = registration;
  return Find(request->registration());
}

grpc::Status FakeDaemon::Services::DeleteRegistration(grpc::ServerContext* context,
                                                      const v1::DeleteRegistrationRequest* request,
                                                      v1::DeleteRegistrationResponse* response) {
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
grpc::Status FakeDaemon::Services::SuspendRegistrations(
    grpc::ServerContext* context, const v1::SuspendRegistrationsRequest* request,
    v1::SuspendRegistrationsResponse* response) {
  Note(&Services::suspend, *request);
  const grpc::Status status = Enter("SuspendRegistrations", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  if (!registration.has_suspended()) response->add_registration_ids(registration.id());
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Services::ResumeRegistrations(
    grpc::ServerContext* context, const v1::ResumeRegistrationsRequest* request,
    v1::ResumeRegistrationsResponse* response) {
  Note(&Services::resume, *request);
  const grpc::Status status = Enter("ResumeRegistrations", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  response->add_registration_ids(registration.id());
  response->add_still_suspended_ids("r-2");
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Services::RotateKey(grpc::ServerContext* context,
                                             const v1::RotateKeyRequest* request,
                                             v1::RotateKeyResponse* response) {
  Note(&Services::rotate, *request);
  const grpc::Status status = Enter("RotateKey", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  *response->mutable_registration() = registration;
  return Find(request->registration());
}

// Everything that may come, once; then the end, unless calls hang.
grpc::Status FakeDaemon::Services::WatchRegistrations(
    grpc::ServerContext* context, const v1::WatchRegistrationsRequest* request,
    grpc::ServerWriter<v1::WatchRegistrationsResponse>* writer) {
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

}  // namespace smartkey
