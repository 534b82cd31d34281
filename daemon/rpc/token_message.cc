// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/token_message.h"

#include <algorithm>

#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

v1::TokenSource ToProto(TokenSource source) {
  switch (source) {
    case TokenSource::kCache:
      return v1::CACHE;
    case TokenSource::kFresh:
      return v1::FRESH;
    case TokenSource::kStaleValid:
      return v1::STALE_VALID;
  }
  return v1::TOKEN_SOURCE_UNSPECIFIED;
}

void FillScope(const TokenResult& result, const ScopeSet& requested,
               v1::GetAccessTokenResponse& response) {
  const Generation* generation = result.registration->FindGeneration(result.generation);
  ScopeSet granted;
  if (result.token->granted.has_value()) {
    granted = *result.token->granted;
  } else {
    response.set_scope_assumed(true);
    if (generation != nullptr) granted = ParseScope(generation->granted_scope);
  }
  response.set_scope(ToScopeString(granted));
  response.set_scope_narrowed(
      !granted.empty() &&
      !std::includes(granted.begin(), granted.end(), requested.begin(), requested.end()));
}

}  // namespace

void FillAccessToken(const TokenResult& result, const ScopeSet& requested,
                     v1::GetAccessTokenResponse& response) {
  const AccessToken& token = *result.token;
  const absl::string_view value = token.value.RevealSecret();
  response.set_access_token(value.data(), value.size());
  response.set_token_type(token.token_type);
  SetTime(token.expires_at, &response, &v1::GetAccessTokenResponse::mutable_expires_at);
  SetTime(token.refresh_after_at, &response, &v1::GetAccessTokenResponse::mutable_refresh_after);
  response.set_source(ToProto(result.source));
  FillScope(result, requested, response);
  response.set_fhir_base(result.registration->fhir_base);
  response.set_patient(token.patient.RevealIdentifying());
  response.set_fhir_user(token.fhir_user.RevealIdentifying());
  response.set_launch_context(token.launch_context_json.RevealIdentifying());
  response.set_registration(result.registration->id);
  response.set_generation(result.generation);
  response.set_min_valid_unmet(!result.min_valid_met);
  if (!result.refresh_error.ok()) {
    *response.mutable_refresh_error() = ToErrorDetail(result.refresh_error);
  }
}

}  // namespace smartkey
