// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/scheduler.h"
#include "base/secret.h"
#include "daemon/access/access_policy.h"
#include "daemon/model/access_token.h"
#include "daemon/model/caller.h"
#include "daemon/model/catalog.h"
#include "daemon/oauth/discovery.h"
#include "daemon/oauth/registration_endpoint.h"
#include "daemon/oauth/token_endpoint.h"
#include "daemon/store/registration_store.h"
#include "daemon/token/standing.h"
#include "daemon/token/token_manager.h"
#include "hsm/key_service.h"

namespace smartkey {

// What a person or an app wants to enroll.
struct EnrollmentRequest {
  std::string app_id;  // empty: the only app configured
  std::string server_name;
  std::string fhir_base;     // instead of server_name
  std::string redirect_uri;  // empty with an initial token: no browser is involved
  ScopeSet scopes;           // empty: the app's own
  Identifying name;          // empty: the server's name, with a number when taken
  Identifying label;
  std::string renews;  // a registration of the caller's (name or id) to give a next generation
  bool new_patient = false;  // with `renews`: another patient is taken, and all shares are dropped
  std::string request_id;    // a retry with the same one finds the first; empty: none
  absl::optional<SignatureAlgorithm> algorithm;  // nullopt: the best that hardware and server share
  bool context_varies = false;
  // For how long the person means to allow the access; zero: not said, also not by an earlier
  // generation.
  absl::Duration access_for;
};

struct BegunEnrollment {
  std::string enrollment_id;
  std::string registration_id;
  std::string authorization_url;
  std::string redirect_uri;
  std::string initial_client_id;
  std::string server_name;
  std::string authorization_host;  // for the person to recognise
  std::string token_host;
  absl::Time expires_at;
  std::vector<RegistrationWarning> warnings;  // for the person to know before going on
};

enum class EnrollmentStep {
  kWaitingForBrowser = 1,
  kExchangingCode = 2,
  kRegistering = 3,
  kVerifying = 4,
  kDone = 5,
  kFailed = 6,
};

struct EnrollmentProgress {
  EnrollmentStep step = EnrollmentStep::kWaitingForBrowser;
  bool key_ready = false;
  absl::Status error;  // with kFailed
  std::string registration_id;
};

// Steps 0 to 3 as one act, with the initial access token never leaving this process: begins an
// enrollment (endpoints, PKCE, state, hardware key), takes the redirect back, exchanges the code,
// registers in the same breath, and is done when a first token was seen.
//
// What is durable and when is in docs/enrollment.md; in short: the pending record before Begin
// answers, REGISTERING before the first byte of the registration request, the dynamic client_id
// before success is reported. State, verifier and the initial token live in memory only and die
// with the daemon.
//
// Asynchronous: `done` runs exactly once, on any thread, and must not block. Thread-safe.
//
// Errors beside those of the parts: kUnknownApp, kUnknownServer, kEnrollmentNotAllowed,
// kTooManyEnrollments (3 for a uid, 32 in all; what only waits for its first token does not count),
// kRedirectUriUnknown, kAlgorithmUnsupported, kNameTaken, kEnrollmentNotFound (also for another
// uid's), kEnrollmentExpired, kEnrollmentCancelled, kRegisterScopeNotGranted, kInitialTokenExpired,
// kRegisteredButNotDurable, kOrphaned, kServerRemoved (a renewal whose server is not configured any
// more, or has another FHIR base by now), kContextChanged (a renewal that came back for another
// patient: the registration says so from here on, its old generation serves on).
class EnrollmentManager {
 public:
  struct Parts {
    const CurrentCatalog& catalog;
    const AccessPolicy& access;
    RegistrationStore& store;
    KeyService& keys;
    HttpClient& http;
    TokenManager& tokens;
    Scheduler& scheduler;
    const Clock& clock;
  };
  using WatchId = uint64_t;
  using BeginDone = absl::AnyInvocable<void(absl::StatusOr<BegunEnrollment>)>;
  using EnrollDone = absl::AnyInvocable<void(absl::StatusOr<RegistrationStore::Snapshot>)>;
  using OnRecorded = absl::AnyInvocable<void(const std::string& registration_id)>;

  explicit EnrollmentManager(Parts parts);
  ~EnrollmentManager();

  // Clears up after the last run, before the first request: PENDING records end (key destroyed,
  // record removed), REGISTERING without a client_id becomes ORPHANED, VERIFYING is taken up again,
  // keys of generations that a renewal has retired, or that came back for another patient, are
  // destroyed.
  void Recover();

  // A request_id that the caller has used before finds that enrollment, unless it failed. kNotReady
  // while the first one is being prepared, and for a renewal of what is not finished itself.
  void Begin(const Caller& caller, EnrollmentRequest request, BeginDone done);

  // `redirect` is the redirect's query, or the whole redirect URL. Asking again with the same
  // enrollment id while it runs or after it succeeded gives the same answer. Only from the uid that
  // began.
  void Complete(const Caller& caller, std::string enrollment_id, Secret redirect, EnrollDone done);

  void Cancel(const Caller& caller, std::string enrollment_id,
              absl::AnyInvocable<void(absl::Status)> done);

  // Step 2 for an app that did step 1 itself. `expires_in` is what is left of the token's life, if
  // known. A request_id used before gives the first one's outcome, also after a restart. With
  // `on_recorded` the caller is told which registration it will be, before anything is made.
  void EnrollWithInitialToken(const Caller& caller, EnrollmentRequest request, Secret initial_token,
                              absl::optional<absl::Duration> expires_in, EnrollDone done,
                              OnRecorded on_recorded = nullptr);

  // Each step as it happens, the present one at once; after kDone or kFailed nothing follows.
  // `on_step` must not block and must not call back into this class. Errors: kEnrollmentNotFound.
  absl::StatusOr<WatchId> Watch(const Caller& caller, absl::string_view enrollment_id,
                                absl::AnyInvocable<void(const EnrollmentProgress&)> on_step);
  void Unwatch(WatchId id);

  // As whom an enrollment was begun: who acts for its owner says so to the methods above. nullopt:
  // there is none with this id.
  absl::optional<Caller> BegunBy(absl::string_view enrollment_id) const;

  int pending() const;
  // Registrations that the server has made and the store could not take yet: they would be lost
  // with this process.
  int unsaved() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace smartkey
