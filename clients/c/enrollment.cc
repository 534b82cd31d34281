// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "clients/c/objects.h"

using smartkey::Secret;
using smartkey::capi::Text;
using smartkey::capi::Try;
using smartkey::capi::Within;

struct smartkey_enrollment_request {
  smartkey::client::EnrollmentWish wish;
};

struct smartkey_enrollment {
  explicit smartkey_enrollment(smartkey::client::BegunEnrollment from)
      : content(std::move(from)),
        scopes(smartkey::capi::Joined(content.scopes)),
        warnings(smartkey::capi::Joined(content.warnings)) {}

  const smartkey::client::BegunEnrollment content;
  const std::string scopes;
  const std::string warnings;
};

// ---- What is wished for.

smartkey_enrollment_request* smartkey_enrollment_request_new(const char* server) noexcept {
  return new smartkey_enrollment_request{{.server = Text(server)}};
}

void smartkey_enrollment_request_set_fhir_base(smartkey_enrollment_request* request,
                                               const char* fhir_base) noexcept {
  request->wish.fhir_base = Text(fhir_base);
}

void smartkey_enrollment_request_set_app(smartkey_enrollment_request* request,
                                         const char* app) noexcept {
  request->wish.app = Text(app);
}

void smartkey_enrollment_request_add_scope(smartkey_enrollment_request* request,
                                           const char* scope) noexcept {
  request->wish.scopes.push_back(Text(scope));
}

void smartkey_enrollment_request_set_name(smartkey_enrollment_request* request,
                                          const char* name) noexcept {
  request->wish.name = Text(name);
}

void smartkey_enrollment_request_set_label(smartkey_enrollment_request* request,
                                           const char* label) noexcept {
  request->wish.label = Text(label);
}

void smartkey_enrollment_request_set_algorithm(smartkey_enrollment_request* request,
                                               const char* algorithm) noexcept {
  request->wish.algorithm = Text(algorithm);
}

void smartkey_enrollment_request_set_context_varies(smartkey_enrollment_request* request,
                                                    bool varies) noexcept {
  request->wish.context_varies = varies;
}

void smartkey_enrollment_request_set_renews(smartkey_enrollment_request* request,
                                            const char* registration, bool new_patient) noexcept {
  request->wish.renews = Text(registration);
  request->wish.new_patient = new_patient;
}

void smartkey_enrollment_request_set_request_id(smartkey_enrollment_request* request,
                                                const char* request_id) noexcept {
  request->wish.request_id = Text(request_id);
}

void smartkey_enrollment_request_set_access_for(smartkey_enrollment_request* request,
                                                int64_t seconds) noexcept {
  request->wish.access_for = absl::Seconds(std::max<int64_t>(seconds, 0));
}

void smartkey_enrollment_request_free(smartkey_enrollment_request* request) noexcept {
  delete request;
}

// ---- The calls.

smartkey_enrollment* smartkey_client_begin_enrollment(smartkey_client* client,
                                                      const smartkey_enrollment_request* request,
                                                      const char* redirect_uri, int64_t timeout_ms,
                                                      smartkey_error** error) noexcept {
  auto begun = Try(error, [&] {
    return client->client->BeginEnrollment(request->wish, Text(redirect_uri), Within(timeout_ms));
  });
  return begun.ok() ? new smartkey_enrollment(*std::move(begun)) : nullptr;
}

smartkey_registration* smartkey_client_complete_enrollment(smartkey_client* client,
                                                           const char* enrollment_id,
                                                           const char* redirect_query,
                                                           int64_t timeout_ms,
                                                           smartkey_error** error) noexcept {
  const Secret query = Secret::CopyOf(redirect_query == nullptr ? "" : redirect_query);
  auto registration = Try(error, [&] {
    return client->client->CompleteEnrollment(Text(enrollment_id), query, Within(timeout_ms));
  });
  return registration.ok() ? new smartkey_registration(*std::move(registration)) : nullptr;
}

bool smartkey_client_cancel_enrollment(smartkey_client* client, const char* enrollment_id,
                                       int64_t timeout_ms, smartkey_error** error) noexcept {
  return Try(error,
             [&] {
               return client->client->CancelEnrollment(Text(enrollment_id), Within(timeout_ms));
             })
      .ok();
}

// ---- What was begun.

const char* smartkey_enrollment_id(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.enrollment_id.c_str();
}

const char* smartkey_enrollment_registration_id(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.registration_id.c_str();
}

const char* smartkey_enrollment_authorization_url(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.authorization_url.c_str();
}

const char* smartkey_enrollment_redirect_uri(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.redirect_uri.c_str();
}

int64_t smartkey_enrollment_expires_at(const smartkey_enrollment* enrollment) noexcept {
  return smartkey::capi::UnixSeconds(enrollment->content.expires_at);
}

const char* smartkey_enrollment_authorization_host(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.authorization_host.c_str();
}

const char* smartkey_enrollment_token_host(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.token_host.c_str();
}

const char* smartkey_enrollment_fhir_base(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->content.fhir_base.c_str();
}

const char* smartkey_enrollment_scopes(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->scopes.c_str();
}

const char* smartkey_enrollment_warnings(const smartkey_enrollment* enrollment) noexcept {
  return enrollment->warnings.c_str();
}

void smartkey_enrollment_free(smartkey_enrollment* enrollment) noexcept {
  delete enrollment;
}
