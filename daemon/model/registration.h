// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/secret.h"
#include "daemon/model/state_table.h"
#include "hsm/key_types.h"

namespace smartkey {

// One dynamic client_id with one hardware key. Holds its own copy of everything step 3 needs, so
// that a configuration that changes or goes away loses nothing (PROTOCOL: endpoints are pinned).
struct Generation {
  int number = 1;
  GenerationState state = GenerationState::kPending;
  std::string enrollment_id;
  std::string request_id;  // the caller's idempotency key for Begin; may be empty

  KeyReference key;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  PublicKey public_key;
  std::vector<KeyAttribute> key_attributes;
  std::string key_public_area;
  std::string thumbprint;  // RFC 7638, base64url: the kid

  std::string initial_client_id;
  std::string software_id;
  std::string client_id;  // dynamic; empty until a 201
  // The server registered private_key_jwt: each token request carries a second assertion (RFC
  // 7523 2.2).
  bool requires_client_authentication = false;
  std::string token_endpoint;
  std::string registration_endpoint;
  std::string revocation_endpoint;  // empty: none known
  std::string management_endpoint;  // a page for people; empty: none known
  std::string assertion_audience;   // what `aud` is, usually token_endpoint
  std::string granted_scope;        // at authorization, space separated; empty: unknown

  absl::Time created_at;
  absl::Time registered_at = absl::InfinitePast();  // InfinitePast: not yet
  absl::Time first_token_at = absl::InfinitePast();
  absl::Time last_token_at = absl::InfinitePast();

  // Whom this generation's own first token named; empty: nobody, or no token yet. What is pinned
  // stands in the registration. In CONTEXT_CHANGED: whom the token named that was dropped.
  Identifying patient;
  Identifying fhir_user;
  // A renewal whose first token may name another patient: it pins anew, and drops all shares.
  bool accepts_new_patient = false;

  // Refusals since the last success (PROTOCOL: what each answer means).
  int refusals = 0;
  absl::Time first_refusal_at = absl::InfinitePast();
  absl::Time last_refusal_at = absl::InfinitePast();
  // For how long the person said to have given access, from registered_at on; zero: not said.
  absl::Duration access_for;
  // When its access was found to have ended; InfinitePast: not yet.
  absl::Time ended_at = absl::InfinitePast();
  Reason last_error = Reason::kUnspecified;
};

enum class RegistrationKind { kDynamicClient = 1, kBackend = 2, kSession = 3 };

// Somebody else's right to use a registration; who has it and what it allows is share_rules.h's to
// say.
struct Share {
  std::string id;
  std::string principal;       // as written: "user:bob+unit:viewer.service"
  int64_t uid = -1, gid = -1;  // resolved when the share was made; -1: not part of the principal
  std::string user_name;  // of `uid` then; empty: it had none; without `uid`, by the name alone
  std::string unit;
  std::vector<std::string> scopes;      // empty: all
  std::vector<std::string> operations;  // "token", "dpop", "jwt", "assertion", "manage"
  absl::Time created_at;
  absl::Time ends_at = absl::InfiniteFuture();
  uid_t created_by = 0;
  std::string created_by_name;  // of that uid then; empty: not known
  std::string policy;           // "file:line" of the [[policy]] that makes it; empty: a person did
  std::string made_under;       // id of the share by which its maker manages; empty: by none
};

// That somebody who asked for a share was told no. He may ask again after it.
struct Denial {
  uid_t uid = 0;
  std::string user_name;  // of that uid then; empty: it had none
  absl::Time since;
  absl::Time until = absl::InfiniteFuture();
};

// That somebody switched a registration off.
struct Suspension {
  uid_t by_uid = 0;
  std::string by_name;                      // of that uid at that time; empty: not known
  bool by_administrator = false;            // on the admin socket: can be undone only there
  std::string why;                          // in the words of whoever did it; may be empty
  absl::Time since = absl::InfinitePast();  // InfinitePast: not known
};

// What apps, shares and the audit log point to. Lives through re-enrollments: each is a generation.
struct Registration {
  std::string id;
  RegistrationKind kind = RegistrationKind::kDynamicClient;
  uid_t owner_uid = 0;
  std::string owner_name;  // uids are recycled: both must still agree
  std::string app_id;
  std::string server_name;
  std::string fhir_base;
  std::string ca_file;               // copied from the server's configuration
  bool allow_loopback_http = false;  // likewise
  Identifying name;                  // unique per owner
  Identifying label;
  Identifying patient;          // pinned at the first token; empty: the server named none
  Identifying fhir_user;        // likewise
  bool context_varies = false;  // enrolled with --context varies: nothing is pinned
  absl::Time created_at;
  // How long the access of earlier generations lasted, oldest first, as far as their end was seen.
  std::vector<absl::Duration> earlier_lifetimes;
  absl::optional<Suspension> suspension;
  absl::Time resumed_at = absl::InfinitePast();  // last; InfinitePast: never
  std::vector<Generation> generations;           // ascending by number; at least one
  std::vector<Share> shares;
  std::vector<Denial> denials;
  bool shares_only = false;  // even the owner's own programs need a share

  // The generation that serves tokens: the newest whose first token was seen; null while there is
  // none.
  const Generation* serving() const;
  // The newest generation: what an enrollment or a renewal works on. Never null.
  const Generation& newest() const { return generations.back(); }
  Generation* FindGeneration(int number);
  const Generation* FindGeneration(int number) const;
  const Generation* FindEnrollment(absl::string_view enrollment_id) const;

  // What people and apps are shown: the serving generation's state, or else the newest's. A renewal
  // that came back for another patient shows as CONTEXT_CHANGED, though the generation before it
  // serves on.
  GenerationState state() const;
};

}  // namespace smartkey
