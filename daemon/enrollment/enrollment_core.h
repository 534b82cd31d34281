// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "daemon/enrollment/enrollment_manager.h"
#include "daemon/enrollment/enrollment_plan.h"
#include "daemon/oauth/authorization_request.h"

namespace smartkey {

// One enrollment under way. In memory only; what of it is durable stands in the store's record.
struct PendingEnrollment {
  enum class Phase {
    kPreparing,  // endpoints, record
    kWaiting,    // for the browser
    kRunning,    // code exchange, registration, verification: no longer to be cancelled
    kEnded,      // outcome is set
  };

  // Constant once the enrollment can be found by others.
  std::string id;
  uid_t uid = 0;
  Caller begun_by;  // nobody for one that was found at the start
  std::string request_id;
  bool renewal = false;
  bool context_varies = false;
  bool new_patient = false;
  EnrollmentPlan plan;
  ServerEndpoints endpoints;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  std::string registration_id;
  int generation = 1;
  Pkce pkce;
  std::string state;
  BegunEnrollment begun;

  // Guarded by EnrollmentManager::Core::mu_.
  Phase phase = Phase::kPreparing;
  bool unsaved = false;    // what the server answered is in memory only
  bool abandoned = false;  // a key that is still in the making is destroyed when it comes
  EnrollmentProgress progress;
  absl::optional<absl::StatusOr<CreatedKey>> key;  // made and durable, or why not
  KeyService::OperationId making_key = 0;
  absl::AnyInvocable<void()> when_key_is_ready;
  absl::optional<absl::StatusOr<RegistrationStore::Snapshot>> outcome;
  std::vector<EnrollmentManager::EnrollDone> waiters;
  std::map<EnrollmentManager::WatchId, absl::AnyInvocable<void(const EnrollmentProgress&)>> watches;
  Scheduler::TaskId expiry = 0;

  // Touched only by the one continuation that runs at a time.
  Secret initial_token;
  BootTime initial_token_expires = BootTime::InfiniteFuture();
  std::string granted_scope;
  int posts = 0;             // registration requests sent
  bool answer_lost = false;  // one of them may have made a client at the server
  std::string client_id;
  int verifications = 0;
  BootTime verify_since;
};

// The generation an enrollment works on, or null if it is gone or going: a registration that its
// owner deletes while an enrollment is under way is not brought back by the next step.
Generation* FindLive(Registration& registration, int number);

// The steps of EnrollmentManager. Callbacks under way hold it by shared_ptr, so that it may outlive
// the manager. Lock order: mu_ alone; nothing is called with it held, but watches.
class EnrollmentManager::Core : public std::enable_shared_from_this<EnrollmentManager::Core> {
 public:
  using Pending = std::shared_ptr<PendingEnrollment>;

  explicit Core(Parts parts);

  void Recover();
  void Begin(const Caller& caller, EnrollmentRequest request, BeginDone done);
  void Complete(const Caller& caller, const std::string& id, Secret redirect, EnrollDone done);
  void Cancel(const Caller& caller, const std::string& id,
              absl::AnyInvocable<void(absl::Status)> done);
  void EnrollWithInitialToken(const Caller& caller, EnrollmentRequest request, Secret initial_token,
                              absl::optional<absl::Duration> expires_in, EnrollDone done,
                              OnRecorded on_recorded = nullptr);
  absl::StatusOr<WatchId> Watch(const Caller& caller, absl::string_view id,
                                absl::AnyInvocable<void(const EnrollmentProgress&)> on_step);
  void Unwatch(WatchId id);
  void Stop();
  absl::optional<Caller> BegunBy(absl::string_view enrollment_id) const;
  int pending() const;
  int unsaved() const;

 private:
  using PrepareDone = absl::AnyInvocable<void(absl::StatusOr<Pending>)>;

  // enrollment_begin.cc: from the request to a durable PENDING record with a key in the making.
  void Prepare(const Caller& caller, EnrollmentRequest request, bool with_browser,
               PrepareDone done);
  // The same, once it is known what the hardware can do, or that it cannot.
  void PrepareOnHardware(const Caller& caller, EnrollmentRequest request, bool with_browser,
                         PrepareDone done);
  void ProbeEndpoints(std::vector<std::string> urls, const Server& server,
                      absl::AnyInvocable<void(absl::Status)> done);
  void InsertRecord(Pending pending, Registration registration, int attempt, PrepareDone done);
  void AddGeneration(Pending pending, PrepareDone done);
  void MakeKey(Pending pending);
  void NoteKey(Pending pending, absl::StatusOr<CreatedKey> key);

  // enrollment_flow.cc: from the redirect to the first token.
  void ExchangeCode(Pending pending, Secret code);
  void TakeInitialToken(Pending pending, absl::StatusOr<AccessToken> token);
  void MarkRegistering(Pending pending);
  void PostRegistration(Pending pending);
  void RegistrationFailed(Pending pending, absl::Status error);
  void SaveClientId(Pending pending, RegisteredClient client, int attempt);
  void Verify(Pending pending);
  void VerificationFailed(Pending pending, absl::Status error);
  // A first token that can never come: the record says why.
  void VerificationEnded(Pending pending, absl::Status error);

  // enrollment_manager.cc: the table of pending enrollments, and how one ends.
  Pending FindPending(const Caller& caller, absl::string_view id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The caller's earlier enrollment with that request id, unless it failed; null when absent.
  Pending FindRequest(const Caller& caller, const std::string& request_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What came of the same request before a restart: a registration of the caller's own, or the one
  // to be renewed, of that app at that server. Null if nothing that is there still.
  RegistrationStore::Snapshot FindFinished(const Caller& caller,
                                           const EnrollmentRequest& request) const;
  // Whether who began a renewal may still manage the registration.
  absl::Status CheckStillManages(const PendingEnrollment& pending,
                                 const Registration& registration) const;
  // Adds it to the table, if the quotas allow.
  absl::Status Admit(const Pending& pending);
  void Step(const Pending& pending, EnrollmentStep step);
  // Nothing is left behind: key destroyed, record removed, then the outcome is told.
  void Abandon(Pending pending, absl::Status error);
  // A client may exist at the server whose id is lost: the record stays and says so.
  void Orphan(Pending pending, absl::Status error);
  // Tries until the store can be written; `tried` runs after the first time.
  void RecordOrphan(Pending pending, bool destroyed, int attempt, absl::AnyInvocable<void()> tried);
  void RemoveRecordLater(Pending pending, int attempt);
  void Succeed(Pending pending, RegistrationStore::Snapshot registration);
  void End(const Pending& pending, absl::StatusOr<RegistrationStore::Snapshot> outcome);
  // Tells the present waiters without ending the enrollment.
  void SetUnsaved(const Pending& pending, bool unsaved);
  void AnswerWaiters(const Pending& pending,
                     const absl::StatusOr<RegistrationStore::Snapshot>& answer);
  void RemoveRecord(const Pending& pending, absl::AnyInvocable<void(absl::Status)> done);
  // `done` is told whether it is gone, or ends with its record.
  void DestroyKeyOf(const Pending& pending, absl::AnyInvocable<void(bool)> done);
  void RecoverGeneration(const Registration& registration, const Generation& generation);

  // retired_keys.cc: keys of generations whose record is kept until they are destroyed.

  // All of a registration; what cannot be destroyed now is tried again hourly, and at each start.
  void ClearUp(const std::string& registration_id);
  void ClearUpLater(const std::string& registration_id);
  // Whether a key is gone, by what the hardware said. If not, it is tried again later.
  bool IsDestroyed(const std::string& registration_id, const absl::Status& destroyed,
                   bool ends_anyway);
  // Of a generation that a renewal has replaced: its record goes with its key.
  void DestroyRetired(const Registration& registration, const Generation& old);
  // Of a client that nobody can use: its record stays, for the owner to see.
  void DropKey(const Registration& registration, int number, absl::AnyInvocable<void()> done);

  const Parts parts_;
  const Discovery discovery_;
  const RegistrationEndpoint registration_endpoint_;
  const TokenEndpoint token_endpoint_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  WatchId next_watch_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::string, Pending, std::less<>> pending_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
