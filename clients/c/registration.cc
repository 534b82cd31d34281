// SPDX-License-Identifier: Apache-2.0
#include <utility>
#include <vector>

#include "clients/c/objects.h"

using smartkey::capi::Text;
using smartkey::capi::Try;
using smartkey::capi::UnixSeconds;
using smartkey::capi::Within;

smartkey_registration::smartkey_registration(smartkey::client::Registration from)
    : content(std::move(from)),
      scopes(smartkey::capi::Joined(content.scopes)),
      cause(smartkey::capi::ErrorOf(content.cause)) {}

struct smartkey_registration_list {
  std::vector<smartkey_registration> registrations;
};

smartkey_registration_list* smartkey_client_list_registrations(smartkey_client* client,
                                                               const char* app, const char* server,
                                                               const char* fhir_base,
                                                               int64_t timeout_ms,
                                                               smartkey_error** error) noexcept {
  auto found = Try(error, [&] {
    return client->client->ListRegistrations(
        {.app = Text(app), .fhir_base = Text(fhir_base), .server = Text(server)},
        Within(timeout_ms));
  });
  if (!found.ok()) return nullptr;
  auto* list = new smartkey_registration_list;
  for (auto& registration : *found) list->registrations.emplace_back(std::move(registration));
  return list;
}

size_t smartkey_registration_list_size(const smartkey_registration_list* list) noexcept {
  return list->registrations.size();
}

const smartkey_registration* smartkey_registration_list_at(const smartkey_registration_list* list,
                                                           size_t index) noexcept {
  return index < list->registrations.size() ? &list->registrations[index] : nullptr;
}

void smartkey_registration_list_free(smartkey_registration_list* list) noexcept {
  delete list;
}

smartkey_registration* smartkey_client_get_registration(smartkey_client* client,
                                                        const char* registration,
                                                        int64_t timeout_ms,
                                                        smartkey_error** error) noexcept {
  auto found = Try(error, [&] {
    return client->client->GetRegistration(Text(registration), Within(timeout_ms));
  });
  return found.ok() ? new smartkey_registration(*std::move(found)) : nullptr;
}

void smartkey_registration_free(smartkey_registration* registration) noexcept {
  delete registration;
}

const char* smartkey_registration_id(const smartkey_registration* registration) noexcept {
  return registration->content.id.c_str();
}

const char* smartkey_registration_name(const smartkey_registration* registration) noexcept {
  return registration->content.name.c_str();
}

const char* smartkey_registration_label(const smartkey_registration* registration) noexcept {
  return registration->content.label.c_str();
}

uint32_t smartkey_registration_owner_uid(const smartkey_registration* registration) noexcept {
  return registration->content.owner.uid;
}

const char* smartkey_registration_owner_name(const smartkey_registration* registration) noexcept {
  return registration->content.owner.name.c_str();
}

bool smartkey_registration_is_own(const smartkey_registration* registration) noexcept {
  return registration->content.relation == smartkey::client::Relation::kOwn;
}

const char* smartkey_registration_app(const smartkey_registration* registration) noexcept {
  return registration->content.app.c_str();
}

const char* smartkey_registration_server(const smartkey_registration* registration) noexcept {
  return registration->content.server.c_str();
}

const char* smartkey_registration_fhir_base(const smartkey_registration* registration) noexcept {
  return registration->content.fhir_base.c_str();
}

const char* smartkey_registration_scopes(const smartkey_registration* registration) noexcept {
  return registration->scopes.c_str();
}

const char* smartkey_registration_patient(const smartkey_registration* registration) noexcept {
  return registration->content.patient.c_str();
}

const char* smartkey_registration_fhir_user(const smartkey_registration* registration) noexcept {
  return registration->content.fhir_user.c_str();
}

int smartkey_registration_state(const smartkey_registration* registration) noexcept {
  return static_cast<int>(registration->content.state);
}

const char* smartkey_registration_state_name(const smartkey_registration* registration) noexcept {
  // Name() gives literals and the proto's own static strings.
  return smartkey::client::Name(registration->content.state).data();
}

const char* smartkey_registration_state_words(const smartkey_registration* registration) noexcept {
  return registration->content.state_words.c_str();
}

int smartkey_registration_user_action(const smartkey_registration* registration) noexcept {
  return static_cast<int>(registration->content.user_action);
}

const smartkey_error* smartkey_registration_cause(
    const smartkey_registration* registration) noexcept {
  return registration->cause.get();
}

bool smartkey_registration_suspended(const smartkey_registration* registration) noexcept {
  return registration->content.suspended.has_value();
}

int64_t smartkey_registration_created_at(const smartkey_registration* registration) noexcept {
  return UnixSeconds(registration->content.created_at);
}

int64_t smartkey_registration_expected_end(const smartkey_registration* registration) noexcept {
  const auto& end = registration->content.expected_end;
  return end.has_value() ? UnixSeconds(end->time) : 0;
}
