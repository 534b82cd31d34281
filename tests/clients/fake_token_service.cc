// SPDX-License-Identifier: Apache-2.0
// FakeDaemon: TokenService and SigningService.
#include "tests/clients/fake_services.h"

namespace smartkey {

grpc::Status FakeDaemon::Services::ReportRejectedToken(
    grpc::ServerContext* context, const v1::ReportRejectedTokenRequest* request,
    v1::ReportRejectedTokenResponse* response) {
  Note(&Services::rejected, *request);
  const grpc::Status status = Enter("ReportRejectedToken", context);
  if (!status.ok()) return status;
  response->set_dropped(request->access_token() == kToken);
  response->set_refreshing(response->dropped());
  return grpc::Status::OK;
}

// A token, the same with an error beside it, the error alone; then the end, unless calls hang.
grpc::Status FakeDaemon::Services::WatchAccessToken(
    grpc::ServerContext* context, const v1::WatchAccessTokenRequest* request,
    grpc::ServerWriter<v1::WatchAccessTokenResponse>* writer) {
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

void FakeDaemon::Services::FillToken(v1::GetAccessTokenResponse* response) {
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

grpc::Status FakeDaemon::Services::GetAccessToken(grpc::ServerContext* context,
                                                  const v1::GetAccessTokenRequest* request,
                                                  v1::GetAccessTokenResponse* response) {
  Note(&Services::token_request, *request);
  const grpc::Status status = Enter("GetAccessToken", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  FillToken(response);
  return request->has_context() ? grpc::Status::OK : Find(request->registration());
}

grpc::Status FakeDaemon::Services::SignClientAssertion(
    grpc::ServerContext* context, const v1::SignClientAssertionRequest* request,
    v1::SignClientAssertionResponse* response) {
  const grpc::Status status = Enter("SignClientAssertion", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  response->set_assertion(kAssertion);
  response->set_client_id("dyn-1");
  response->set_token_endpoint(registration.token_endpoint());
  response->set_jti("jti-1");
  return Find(request->registration());
}

grpc::Status FakeDaemon::Services::GetJwks(grpc::ServerContext* context,
                                           const v1::GetJwksRequest* request,
                                           v1::GetJwksResponse* response) {
  const grpc::Status status = Enter("GetJwks", context);
  if (!status.ok()) return status;
  MutexLock lock(mu);
  response->set_jwks(R"({"keys":[{"kty":"EC","kid":"thumb-1"}]})");
  return Find(request->registration());
}

}  // namespace smartkey
