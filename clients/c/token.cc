// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "clients/c/objects.h"

using smartkey::Secret;
using smartkey::capi::Text;
using smartkey::capi::Try;
using smartkey::capi::UnixSeconds;
using smartkey::capi::Within;

namespace {

Secret WithNul(const Secret& value) {
  std::string text;
  text.reserve(value.size() + 1);  // No shorter buffer is left behind.
  text.append(value.RevealSecret().data(), value.size());
  text.push_back('\0');
  return Secret(std::move(text));
}

}  // namespace

smartkey_token::smartkey_token(smartkey::client::AccessToken from) {
  auto made = std::make_shared<Content>();
  made->value = WithNul(std::exchange(from.token, Secret()));
  made->refresh_error = smartkey::capi::ErrorOf(from.refresh_error);
  made->rest = std::move(from);
  content = std::move(made);
}

// ---- Asking.

smartkey_token_request* smartkey_token_request_new(const char* registration) noexcept {
  return new smartkey_token_request{{.registration = Text(registration)}};
}

void smartkey_token_request_set_context(smartkey_token_request* request, const char* app,
                                        const char* fhir_base, const char* patient) noexcept {
  request->wish.app = Text(app);
  request->wish.fhir_base = Text(fhir_base);
  request->wish.patient = Text(patient);
}

void smartkey_token_request_add_scope(smartkey_token_request* request, const char* scope) noexcept {
  request->wish.scopes.push_back(Text(scope));
}

void smartkey_token_request_set_min_valid(smartkey_token_request* request,
                                          int64_t seconds) noexcept {
  request->wish.min_valid = absl::Seconds(std::max<int64_t>(seconds, 0));
}

void smartkey_token_request_free(smartkey_token_request* request) noexcept {
  delete request;
}

smartkey_token* smartkey_client_get_token(smartkey_client* client,
                                          const smartkey_token_request* request, int64_t timeout_ms,
                                          smartkey_error** error) noexcept {
  auto token =
      Try(error, [&] { return client->client->GetAccessToken(request->wish, Within(timeout_ms)); });
  return token.ok() ? new smartkey_token(*std::move(token)) : nullptr;
}

bool smartkey_client_report_rejected(smartkey_client* client, const smartkey_token* token,
                                     int64_t timeout_ms, smartkey_error** error) noexcept {
  const Secret value = Secret::CopyOf(smartkey_token_value(token));
  return Try(error,
             [&] {
               return client->client->ReportRejectedToken(token->content->rest.registration, value,
                                                          Within(timeout_ms));
             })
      .ok();
}

// ---- What a token is.

const char* smartkey_token_value(const smartkey_token* token) noexcept {
  return token->content->value.RevealSecret().data();
}

const char* smartkey_token_type(const smartkey_token* token) noexcept {
  return token->content->rest.type.c_str();
}

bool smartkey_token_allows_url(const smartkey_token* token, const char* url) noexcept {
  return url != nullptr && smartkey::capi::IsBelow(token->content->rest.fhir_base, url);
}

const char* smartkey_token_fhir_base(const smartkey_token* token) noexcept {
  return token->content->rest.fhir_base.c_str();
}

int64_t smartkey_token_expires_at(const smartkey_token* token) noexcept {
  return UnixSeconds(token->content->rest.expires_at);
}

int64_t smartkey_token_refresh_after(const smartkey_token* token) noexcept {
  return UnixSeconds(token->content->rest.refresh_after);
}

const char* smartkey_token_scope(const smartkey_token* token) noexcept {
  return token->content->rest.scope.c_str();
}

bool smartkey_token_scope_narrowed(const smartkey_token* token) noexcept {
  return token->content->rest.scope_narrowed;
}

bool smartkey_token_min_valid_unmet(const smartkey_token* token) noexcept {
  return token->content->rest.min_valid_unmet;
}

const char* smartkey_token_patient(const smartkey_token* token) noexcept {
  return token->content->rest.patient.c_str();
}

const char* smartkey_token_fhir_user(const smartkey_token* token) noexcept {
  return token->content->rest.fhir_user.c_str();
}

const char* smartkey_token_launch_context(const smartkey_token* token) noexcept {
  return token->content->rest.launch_context.c_str();
}

const char* smartkey_token_registration_id(const smartkey_token* token) noexcept {
  return token->content->rest.registration.c_str();
}

uint32_t smartkey_token_generation(const smartkey_token* token) noexcept {
  return token->content->rest.generation;
}

const smartkey_error* smartkey_token_refresh_error(const smartkey_token* token) noexcept {
  return token->content->refresh_error.get();
}

smartkey_token* smartkey_token_copy(const smartkey_token* token) noexcept {
  return new smartkey_token(*token);
}

void smartkey_token_free(smartkey_token* token) noexcept {
  delete token;
}
