// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include "daemon/model/registration.h"

namespace smartkey {

// Compares field by field, so that a failure names the field and shows nothing identifying.

inline void ExpectEqual(const Generation& a, const Generation& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.enrollment_id, b.enrollment_id);
  EXPECT_EQ(a.request_id, b.request_id);
  EXPECT_TRUE(a.key == b.key);
  EXPECT_EQ(a.algorithm, b.algorithm);
  EXPECT_TRUE(a.public_key == b.public_key);
  ASSERT_EQ(a.key_attributes.size(), b.key_attributes.size());
  for (size_t i = 0; i < a.key_attributes.size(); ++i) {
    EXPECT_EQ(a.key_attributes[i].name, b.key_attributes[i].name);
    EXPECT_EQ(a.key_attributes[i].value, b.key_attributes[i].value);
  }
  EXPECT_EQ(a.key_public_area, b.key_public_area);
  EXPECT_EQ(a.thumbprint, b.thumbprint);
  EXPECT_EQ(a.initial_client_id, b.initial_client_id);
  EXPECT_EQ(a.software_id, b.software_id);
  EXPECT_EQ(a.client_id, b.client_id);
  EXPECT_EQ(a.requires_client_authentication, b.requires_client_authentication);
  EXPECT_EQ(a.token_endpoint, b.token_endpoint);
  EXPECT_EQ(a.registration_endpoint, b.registration_endpoint);
  EXPECT_EQ(a.revocation_endpoint, b.revocation_endpoint);
  EXPECT_EQ(a.management_endpoint, b.management_endpoint);
  EXPECT_EQ(a.assertion_audience, b.assertion_audience);
  EXPECT_EQ(a.granted_scope, b.granted_scope);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.registered_at, b.registered_at);
  EXPECT_EQ(a.first_token_at, b.first_token_at);
  EXPECT_EQ(a.last_token_at, b.last_token_at);
  EXPECT_EQ(a.refusals, b.refusals);
  EXPECT_EQ(a.first_refusal_at, b.first_refusal_at);
  EXPECT_EQ(a.last_refusal_at, b.last_refusal_at);
  EXPECT_EQ(a.access_for, b.access_for);
  EXPECT_EQ(a.ended_at, b.ended_at);
  EXPECT_EQ(a.accepts_new_patient, b.accepts_new_patient);
  EXPECT_TRUE(a.patient == b.patient);
  EXPECT_TRUE(a.fhir_user == b.fhir_user);
  EXPECT_EQ(a.last_error, b.last_error);
}

inline void ExpectEqual(const Share& a, const Share& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.principal, b.principal);
  EXPECT_EQ(a.uid, b.uid);
  EXPECT_EQ(a.gid, b.gid);
  EXPECT_EQ(a.user_name, b.user_name);
  EXPECT_EQ(a.unit, b.unit);
  EXPECT_EQ(a.scopes, b.scopes);
  EXPECT_EQ(a.operations, b.operations);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.ends_at, b.ends_at);
  EXPECT_EQ(a.created_by, b.created_by);
  EXPECT_EQ(a.created_by_name, b.created_by_name);
  EXPECT_EQ(a.made_under, b.made_under);
}

inline void ExpectEqual(const Denial& a, const Denial& b) {
  EXPECT_EQ(a.uid, b.uid);
  EXPECT_EQ(a.user_name, b.user_name);
  EXPECT_EQ(a.since, b.since);
  EXPECT_EQ(a.until, b.until);
}

inline void ExpectEqual(const Registration& a, const Registration& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.kind, b.kind);
  EXPECT_EQ(a.owner_uid, b.owner_uid);
  EXPECT_EQ(a.owner_name, b.owner_name);
  EXPECT_EQ(a.app_id, b.app_id);
  EXPECT_EQ(a.server_name, b.server_name);
  EXPECT_EQ(a.fhir_base, b.fhir_base);
  EXPECT_EQ(a.ca_file, b.ca_file);
  EXPECT_EQ(a.allow_loopback_http, b.allow_loopback_http);
  EXPECT_TRUE(a.name == b.name);
  EXPECT_TRUE(a.label == b.label);
  EXPECT_TRUE(a.patient == b.patient);
  EXPECT_TRUE(a.fhir_user == b.fhir_user);
  EXPECT_EQ(a.context_varies, b.context_varies);
  EXPECT_EQ(a.created_at, b.created_at);
  EXPECT_EQ(a.earlier_lifetimes, b.earlier_lifetimes);
  EXPECT_EQ(a.shares_only, b.shares_only);
  EXPECT_EQ(a.resumed_at, b.resumed_at);
  ASSERT_EQ(a.suspension.has_value(), b.suspension.has_value());
  if (a.suspension) {
    EXPECT_EQ(a.suspension->by_uid, b.suspension->by_uid);
    EXPECT_EQ(a.suspension->by_name, b.suspension->by_name);
    EXPECT_EQ(a.suspension->by_administrator, b.suspension->by_administrator);
    EXPECT_EQ(a.suspension->why, b.suspension->why);
    EXPECT_EQ(a.suspension->since, b.suspension->since);
  }
  ASSERT_EQ(a.generations.size(), b.generations.size());
  for (size_t i = 0; i < a.generations.size(); ++i) ExpectEqual(a.generations[i], b.generations[i]);
  ASSERT_EQ(a.shares.size(), b.shares.size());
  for (size_t i = 0; i < a.shares.size(); ++i) ExpectEqual(a.shares[i], b.shares[i]);
  ASSERT_EQ(a.denials.size(), b.denials.size());
  for (size_t i = 0; i < a.denials.size(); ++i) ExpectEqual(a.denials[i], b.denials[i]);
}

}  // namespace smartkey
