// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: AdminService; ReadAuditLog is RegistrationService's, too.
#include "tests/clients/fake_services.h"

namespace smartkey {

grpc::Status FakeDaemon::Services::GetStatus(grpc::ServerContext* context,
                                             const v1::GetStatusRequest*,
                                             v1::GetStatusResponse* response) {
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
grpc::Status FakeDaemon::Services::RunDiagnostics(
    grpc::ServerContext* context, const v1::RunDiagnosticsRequest*,
    grpc::ServerWriter<v1::RunDiagnosticsResponse>* writer) {
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

grpc::Status FakeDaemon::Services::GetMetrics(grpc::ServerContext* context,
                                              const v1::GetMetricsRequest*,
                                              v1::GetMetricsResponse* response) {
  response->set_text("smartkeyd_server_reachable{server=\"mercy\"} 1\n");
  return Enter("GetMetrics", context);
}

// What a check finds. The owners' service has the same call.
grpc::Status FakeDaemon::Services::ReadAuditLog(
    grpc::ServerContext* context, const v1::ReadAuditLogRequest* request,
    grpc::ServerWriter<v1::ReadAuditLogResponse>* writer) {
  // The log itself is empty.
  if (request->verify()) {
    MutexLock lock(mu);
    writer->Write(verification);
  }
  return Enter("ReadAuditLog", context);
}

grpc::Status FakeDaemon::Services::ReloadConfiguration(grpc::ServerContext* context,
                                                       const v1::ReloadConfigurationRequest*,
                                                       v1::ReloadConfigurationResponse* response) {
  {
    MutexLock lock(mu);
    *response = reload;
  }
  return Enter("ReloadConfiguration", context);
}

grpc::Status FakeDaemon::Services::ProvisionTpm(grpc::ServerContext* context,
                                                const v1::ProvisionTpmRequest* request,
                                                v1::ProvisionTpmResponse* response) {
  Note(&Services::provision, *request);
  response->set_handle(0x81000001);
  response->set_name(std::string("\x00\x0b\xca\xfe", 4));
  return Enter("ProvisionTpm", context);
}

grpc::Status FakeDaemon::Services::RecoverStore(grpc::ServerContext* context,
                                                const v1::RecoverStoreRequest* request,
                                                v1::RecoverStoreResponse* response) {
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

grpc::Status FakeDaemon::Services::ResetStore(grpc::ServerContext* context,
                                              const v1::ResetStoreRequest*,
                                              v1::ResetStoreResponse* response) {
  response->set_set_aside("set-aside/20261126-070000");
  return Enter("ResetStore", context);
}

grpc::Status FakeDaemon::Services::AdoptStore(grpc::ServerContext* context,
                                              const v1::AdoptStoreRequest*,
                                              v1::AdoptStoreResponse*) {
  return Enter("AdoptStore", context);
}

grpc::Status FakeDaemon::Services::ListStoredKeys(grpc::ServerContext* context,
                                                  const v1::ListStoredKeysRequest*,
                                                  v1::ListStoredKeysResponse* response) {
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

grpc::Status FakeDaemon::Services::RemoveStrayKeys(grpc::ServerContext* context,
                                                   const v1::RemoveStrayKeysRequest* request,
                                                   v1::RemoveStrayKeysResponse* response) {
  const bool chosen = request->all() || (request->ids_size() == 1 && request->ids(0) == "\x0a\x0b");
  if (chosen) {
    v1::StoredKey& stray = *response->add_keys();
    stray.set_label("smartkeyd:i-1:reg-9:2");
    stray.set_stray(true);
    stray.set_id("\x0a\x0b");
  }
  return Enter("RemoveStrayKeys", context);
}

}  // namespace smartkey
