// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <future>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/model/registration.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// Registrations in which every field has a value of its own, and calls that wait for the store.

inline Generation SampleGeneration(const std::string& id, int number) {
  const std::string unique = absl::StrCat(id, "-", number);
  Generation g;
  g.number = number;
  g.state = GenerationState::kActive;
  g.enrollment_id = absl::StrCat("enrollment-", unique);
  g.request_id = absl::StrCat("request-", unique);
  g.key.provider = "tpm";
  g.key.blob = absl::StrCat(std::string("\0\1\xff", 3), "blob-", unique, std::string(200, 'b'));
  g.algorithm = SignatureAlgorithm::kEs384;
  g.public_key.type = KeyType::kEcP384;
  g.public_key.x = std::string(1, '\0') + std::string(47, 'x');
  g.public_key.y = std::string(48, 'y');
  g.key_attributes = {{"sign", true}, {"decrypt", false}, {"fixedtpm", true}};
  g.key_public_area = absl::StrCat(std::string("\0\x23", 2), "public-area-", unique);
  g.thumbprint = absl::StrCat("thumbprint-", unique);
  g.initial_client_id = "initial-client";
  g.software_id = "software";
  g.client_id = absl::StrCat("client-", unique);
  g.requires_client_authentication = true;
  g.token_endpoint = "https://ehr.example.com/oauth2/token";
  g.registration_endpoint = "https://ehr.example.com/oauth2/register";
  g.revocation_endpoint = "https://ehr.example.com/oauth2/revoke";
  g.management_endpoint = "https://ehr.example.com/manage";
  g.assertion_audience = "https://other.example.com/token";
  g.granted_scope = "openid patient/*.rs";
  g.created_at = absl::FromUnixMillis(1'800'000'000'001);
  g.registered_at = absl::FromUnixMillis(1'800'000'001'002);
  g.first_token_at = absl::FromUnixMillis(1'800'000'002'003);
  g.last_token_at = absl::FromUnixMillis(1'800'000'003'004);
  g.refusals = 3;
  g.first_refusal_at = absl::FromUnixMillis(1'800'000'004'005);
  g.last_refusal_at = absl::FromUnixMillis(1'800'000'004'006);
  g.access_for = absl::Hours(24 * 365);
  g.ended_at = absl::FromUnixMillis(1'800'000'004'007);
  g.patient = Identifying(absl::StrCat("own-patient-", unique));
  g.fhir_user = Identifying(absl::StrCat("Patient/own-", unique));
  g.accepts_new_patient = true;
  g.last_error = Reason::kServerBusy;
  return g;
}

inline Registration SampleRegistration(const std::string& id) {
  Registration r;
  r.id = id;
  r.kind = RegistrationKind::kBackend;
  r.owner_uid = 4'000'000'000;  // uids have all 32 bits
  r.owner_name = "alice";
  r.app_id = "org.example.viewer";
  r.server_name = "mercy";
  r.fhir_base = "https://ehr.example.com/fhir";
  r.ca_file = "/etc/ssl/mercy.pem";
  r.allow_loopback_http = true;
  r.name = Identifying(absl::StrCat("name-", id));
  r.label = Identifying("Mother \xc3\xa4");
  r.patient = Identifying(absl::StrCat("patient-", id));
  r.fhir_user = Identifying("Practitioner/7");
  r.context_varies = true;
  r.created_at = absl::FromUnixMillis(1'800'000'000'000);
  r.earlier_lifetimes = {absl::Hours(24 * 90), absl::Seconds(7'776'001)};
  r.suspension = Suspension{3'000'000'000, "carol", true, "lost laptop",
                            absl::FromUnixMillis(1'800'000'006'007)};
  r.generations = {SampleGeneration(id, 1), SampleGeneration(id, 4)};
  Share share;
  share.id = absl::StrCat("share-b-", id);
  share.principal = "user:bob+unit:viewer.service";
  share.uid = 1001;
  share.gid = 77;
  share.user_name = "bob";
  share.unit = "viewer.service";
  share.scopes = {"patient/*.rs", "openid"};
  share.operations = {"token", "dpop"};
  share.created_at = absl::FromUnixMillis(1'800'000'005'006);
  share.ends_at = absl::FromUnixMillis(1'900'000'000'007);
  share.created_by = 1000;
  share.created_by_name = "alice";
  Share endless = share;
  endless.id = absl::StrCat("share-a-", id);
  endless.ends_at = absl::InfiniteFuture();
  endless.scopes.clear();
  endless.made_under = share.id;
  r.shares = {share, endless};
  r.shares_only = true;
  r.resumed_at = absl::FromUnixMillis(1'800'000'007'008);
  r.denials = {
      {1003, "dora", absl::FromUnixMillis(1'800'000'006'007), absl::InfiniteFuture()},
      {4000, "", absl::FromUnixMillis(1'800'000'006'008), absl::FromUnixMillis(1'800'086'406'008)}};
  return r;
}

inline absl::Status InsertNow(RegistrationStore& store, Registration registration) {
  std::promise<absl::Status> done;
  store.Insert(std::move(registration), [&](absl::Status s) { done.set_value(std::move(s)); });
  return done.get_future().get();
}

inline absl::StatusOr<RegistrationStore::Snapshot> UpdateNow(
    RegistrationStore& store, const std::string& id,
    absl::AnyInvocable<absl::Status(Registration&)> change) {
  std::promise<absl::StatusOr<RegistrationStore::Snapshot>> done;
  store.Update(id, std::move(change), [&](absl::StatusOr<RegistrationStore::Snapshot> s) {
    done.set_value(std::move(s));
  });
  return done.get_future().get();
}

inline absl::Status RemoveNow(RegistrationStore& store, const std::string& id) {
  std::promise<absl::Status> done;
  store.Remove(id, [&](absl::Status s) { done.set_value(std::move(s)); });
  return done.get_future().get();
}

}  // namespace smartkey
