// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "base/secret.h"

// What smartkeyd says, as plain structs. Field for field as in proto/smartkey/v1, where each one is
// explained; an empty string, an empty list and an absent time all mean "not given" or "not known".
// IDENTIFYING as there: may tell who a patient is, so it is for the owner's eyes and never for
// logs.
namespace smartkey::client {

// Numbers and meanings are those of smartkey.v1.RegistrationState. A newer daemon may send others:
// have a default.
enum class RegistrationState : int {
  kUnspecified = 0,
  kPending = 1,
  kRegistering = 2,
  kVerifying = 3,
  kActive = 4,
  kSuspect = 5,
  kReauthRequired = 6,
  kMisconfigured = 7,
  kContextChanged = 8,
  kOrphaned = 9,
  kKeyUnavailable = 10,
  kKeyLost = 11,
  kDeleting = 12,
};

enum class Relation : int { kUnspecified = 0, kOwn = 1, kShared = 2, kAdministered = 3 };

enum class KeyProviderType : int { kUnspecified = 0, kTpm = 1, kPkcs11 = 2 };

enum class HardwareState : int { kUnspecified = 0, kReady = 1, kDegraded = 2, kAbsent = 3 };

enum class TokenSource : int { kUnspecified = 0, kCache = 1, kFresh = 2, kStaleValid = 3 };

enum class EndSource : int { kUnspecified = 0, kPerson = 1, kEarlierGenerations = 2 };

enum class WatchEvent : int {
  kUnspecified = 0,
  kCurrent = 1,
  kRemoved = 2,
  kSynced = 3,
  kEnding = 4,
};

enum class AccessRequestState : int {
  kUnspecified = 0,
  kPending = 1,
  kApproved = 2,
  kDenied = 3,
  kLapsed = 4,
};

enum class EnrollmentStep : int {
  kUnspecified = 0,
  kWaitingForBrowser = 1,
  kExchangingCode = 2,
  kSendingRegistration = 3,
  kAwaitingFirstToken = 4,
  kDone = 5,
  kFailed = 6,
};

// The proto's names: "ACTIVE", "TPM", "STALE_VALID". A number that this build does not know gives
// "UNKNOWN".
absl::string_view Name(RegistrationState state);
absl::string_view Name(Relation relation);
absl::string_view Name(KeyProviderType provider);
absl::string_view Name(HardwareState state);
absl::string_view Name(TokenSource source);
absl::string_view Name(EnrollmentStep step);
absl::string_view Name(EndSource source);
absl::string_view Name(WatchEvent event);
absl::string_view Name(AccessRequestState state);

// Why something is as it is, where no call failed.
struct Cause {
  Reason reason = Reason::kUnspecified;
  std::string remedy;
  absl::optional<absl::Duration> retry_after;
};

struct User {
  uint32_t uid = 0;
  std::string name;  // Empty if the uid had none.
};

struct Key {
  std::string algorithm;   // "ES256", ...
  std::string thumbprint;  // RFC 7638, also the kid.
  KeyProviderType provider = KeyProviderType::kUnspecified;
  std::vector<std::pair<std::string, bool>> attributes;  // As the hardware reports them.
  std::string tpm_public;                                // TPM2B_PUBLIC; empty for PKCS#11.
  std::string public_jwk;                                // JSON text.
  absl::optional<absl::Time> created_at;
};

struct Generation {
  uint32_t number = 0;
  RegistrationState state = RegistrationState::kUnspecified;
  std::string client_id;
  absl::optional<Key> key;
  absl::optional<absl::Time> created_at;
  absl::optional<absl::Time> registered_at;
  absl::optional<absl::Time> first_token_at;
};

struct Suspension {
  User by;
  bool by_administrator = false;
  std::string why;
  absl::optional<absl::Time> since;
};

// When the access will probably end: a reason to renew before, never a certainty.
struct ExpectedEnd {
  absl::Time time;
  EndSource source = EndSource::kUnspecified;
};

// Somebody else's right to use a registration.
struct Share {
  std::string principal;                // As it is written: "user:bob".
  std::vector<std::string> operations;  // "TOKEN", "MANAGE", ...
  std::vector<std::string> scopes;      // Empty: all.
  absl::optional<absl::Time> expires_at;
  absl::optional<absl::Time> created_at;  // Absent where the configuration makes it, as the next.
  absl::optional<User> made_by;
  std::string policy;  // Where the configuration makes it, "file:line". Empty: a person did.
};

// Somebody's wish to use a registration, as its owner sees it.
struct AccessRequest {
  std::string id;
  std::string principal;  // Who asks: "user:bob".
  std::string registration_id;
  std::vector<std::string> operations;  // "TOKEN", "MANAGE", ...
  std::vector<std::string> scopes;      // Empty: all.
  std::string reason;                   // In his words. IDENTIFYING
  absl::optional<absl::Time> created_at;
  absl::optional<absl::Time> expires_at;
};

// How the caller's own request stands.
struct AccessAnswer {
  std::string request_id;
  AccessRequestState state = AccessRequestState::kUnspecified;
  std::string registration_id;  // With kApproved.
};

// What a principal may do with a registration, and why; as smartkey.v1.ExplainAccessResponse.
struct AccessExplanation {
  std::vector<std::string> operations;
  std::vector<std::string> scopes;
  std::vector<std::string> facts;
  std::vector<std::string> steps;
};

struct Registration {
  std::string id;
  std::string name;   // IDENTIFYING
  std::string label;  // IDENTIFYING
  User owner;
  Relation relation = Relation::kUnspecified;
  std::string app;
  std::string server;
  std::string fhir_base;
  RegistrationState state = RegistrationState::kUnspecified;
  std::string state_words;  // For people: "working", "needs you: renew", ...
  UserAction user_action = UserAction::kNone;
  absl::optional<Cause> cause;
  absl::optional<Suspension> suspended;
  absl::optional<Generation> generation;
  absl::optional<Generation> next_generation;
  std::vector<std::string> scopes;
  std::string token_endpoint;
  absl::optional<absl::Time> created_at;
  absl::optional<absl::Time> last_token_at;
  absl::optional<absl::Time> next_attempt_at;
  std::string patient;    // IDENTIFYING
  std::string fhir_user;  // IDENTIFYING
  // With kContextChanged: whom the token named that was dropped. For the owner only. IDENTIFYING
  std::string other_patient;
  std::string other_fhir_user;
  bool context_varies = false;
  absl::optional<ExpectedEnd> expected_end;
  std::vector<std::string> warnings;    // "SAME_APP_SAME_SERVER", ...
  std::vector<std::string> operations;  // "TOKEN", "MANAGE", ...
  std::vector<Share> shares;            // For who may manage it.
  bool shares_only = false;
  std::string management_url;
};

struct BegunEnrollment {
  std::string enrollment_id;
  std::string registration_id;
  std::string authorization_url;  // To be opened in the person's own browser, as it is.
  std::string redirect_uri;
  absl::optional<absl::Time> expires_at;
  std::string client_id;
  std::string server;
  std::string app;
  std::string authorization_host;
  std::string token_host;
  std::string fhir_base;
  std::vector<std::string> scopes;
  std::vector<std::string> warnings;
};

struct EnrollmentProgress {
  EnrollmentStep step = EnrollmentStep::kUnspecified;
  bool key_ready = false;
  absl::optional<Registration> registration;
  absl::optional<Cause> error;  // With kFailed, as the next.
  std::string message;          // What happened, in words.
};

// Whoever gets a token sends it only to URLs below its fhir_base, over https, and follows no
// redirect with it.
struct AccessToken {
  Secret token;
  std::string type;  // "Bearer" or "DPoP"
  absl::optional<absl::Time> expires_at;
  absl::optional<absl::Time> refresh_after;
  TokenSource source = TokenSource::kUnspecified;
  std::string scope;
  bool scope_assumed = false;
  bool scope_narrowed = false;
  std::string fhir_base;
  std::string patient;         // IDENTIFYING
  std::string fhir_user;       // IDENTIFYING
  std::string launch_context;  // JSON text. IDENTIFYING
  std::string registration;    // Its id.
  uint32_t generation = 0;
  bool min_valid_unmet = false;
  absl::optional<Cause> refresh_error;  // With kStaleValid.
};

// How things stand for who watches a token; at least one of the two is there.
struct TokenState {
  absl::optional<AccessToken> token;  // The one to use. Absent: there is none just now.
  absl::optional<Cause> error;        // Why there is none, or why it could not be renewed yet.
};

struct Rejection {
  bool dropped = false;     // False: another one had replaced it already.
  bool refreshing = false;  // GetAccessToken waits for the new one.
};

struct ClientAssertion {
  Secret assertion;
  absl::optional<absl::Time> expires_at;
  std::string client_id;
  std::string token_endpoint;
  std::string jti;
};

struct Jwks {
  std::string jwks;          // A JWK set, JSON text.
  std::string app_jwt_jwks;  // Empty until an app JWT was first signed.
};

struct Deletion {
  std::string registration_id;
  bool server_may_still_list = false;
  std::string management_url;
  bool key_destroyed = false;
  uint32_t tokens_revoked = 0;
};

struct Resumption {
  std::vector<std::string> registration_ids;
  std::vector<std::string> still_suspended_ids;  // By an administrator.
};

struct RegistrationEvent {
  WatchEvent event = WatchEvent::kUnspecified;
  absl::optional<Registration> registration;  // With kRemoved only its id is set.
  uint32_t ending_days = 0;                   // With kEnding: 14, 7 or 1.
};

struct Server {
  std::string name;
  std::string fhir_base;
  std::string profile;
  std::vector<std::string> apps;  // Ids of the apps that have a client_id for it.
  bool refusing_all = false;      // It refuses several registrations: taken to be out of order.
};

struct App {
  struct Client {
    std::vector<std::string> servers;  // Globs over server names.
    std::string client_id;
    std::string software_id;
  };
  std::string id;
  std::string name;
  std::vector<std::string> redirect_uris;
  std::vector<std::string> scopes;
  std::vector<Client> clients;
};

struct Hardware {
  HardwareState state = HardwareState::kUnspecified;
  KeyProviderType provider = KeyProviderType::kUnspecified;
  std::vector<std::string> algorithms;
  std::string description;
  absl::optional<Cause> cause;
  absl::optional<absl::Time> since;
};

struct DaemonInfo {
  std::string version;
  std::vector<std::string> features;
  Hardware hardware;
  std::string instance_id;
  bool admin = false;
  bool store_available = true;        // false: there seem to be no registrations, see the cause
  absl::optional<Cause> store_cause;  // why it cannot be read, or takes no changes
  std::string store_problem;          // the same in words
};

// Which entries of the audit log.
struct AuditQuery {
  absl::optional<absl::Time> since;
  bool follow = false;       // go on with new ones as they come
  std::string registration;  // name or id; empty: of all that the caller may read
};

// One entry; as smartkey.v1.AuditEntry, which explains each.
struct AuditEntry {
  uint64_t sequence = 0;
  absl::Time time;
  absl::optional<User> user;
  absl::optional<User> login;
  int32_t pid = 0;
  std::string unit;
  std::string executable;
  bool admin = false;
  std::string operation;
  std::string registration;  // id
  std::string outcome;       // "OK", or the name of a reason
  uint64_t repeats = 0;
  std::map<std::string, std::string> facts;
  std::string hash;
};

}  // namespace smartkey::client
