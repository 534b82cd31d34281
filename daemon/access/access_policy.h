// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/error.h"
#include "daemon/access/audit_log.h"
#include "daemon/access/share_rules.h"
#include "daemon/model/access_token.h"
#include "daemon/model/caller.h"
#include "daemon/model/catalog.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What a caller may do with a registration, and by what.
struct Right {
  enum class Relation { kNone = 0, kOwner = 1, kShared = 2, kAdministered = 3 };  // as in the proto
  Relation relation = Relation::kNone;
  OperationSet operations;
  absl::optional<ScopeSet> scopes;  // of its tokens; nullopt: all that it has
};

// Of the reasons that an answer may have: is it one about what the caller may do?
bool IsRefusal(Reason reason);

// Is it a user of this machine? AccessPolicy::CheckCaller without a note.
absl::Status CheckIdentity(const Caller& caller);

// Which registrations an order is about: one, all of a server or an owner, or all there are.
struct RegistrationTarget {
  enum class Kind { kRegistration, kServer, kOwner, kAll };
  Kind kind = Kind::kRegistration;
  std::string value;  // a name or id; a server's name; a user name or "uid:N"; empty with kAll
};

// Decides who may do what. Every request asks anew, before any cache is looked at: a change of
// policy takes effect on live connections. Reads the store's memory only; never blocks.
// Thread-safe.
//
// What stands before everything that is done (CheckCaller, Find, Select, CheckEnroll, CheckShareBy,
// CheckOwnerSays, WhyNone, NarrowScopes, CheckDelivery) notes what it refuses in the audit log;
// whoever refuses with what the others say, or by a rule of his own, does so with Noted. Where the
// configuration wants nothing done that cannot be written down, Find (for what changes something
// or is given out), CheckEnroll and CheckDelivery refuse it (kAuditUnavailable).
//
// The owner (uid and user name, both) may do everything with his registrations, unless he made one
// private: then even his programs get tokens and signatures only by a share. Whoever has a share
// may do what it allows; of several, what any of them does; the configuration may make shares, too.
// A caller on the admin socket sees and manages all, and is given neither tokens nor signatures. A
// caller in a container is nobody's owner and no administrator there: only a share reaches it.
// Everybody else is told that the registration does not exist, in the words used for a name that is
// none.
class AccessPolicy {
 public:
  // All outlive this. `audit` null: nothing is noted.
  AccessPolicy(const RegistrationStore& store, const CurrentCatalog& catalog, const Clock& clock,
               AuditLog* audit = nullptr)
      : store_(store), catalog_(catalog), clock_(clock), audit_(audit) {}

  // Is it a user of this machine, as whom it may own and administer? Errors: kCallerUnidentified
  // (uid 65534 or -1: what every caller looks like from another user namespace; or a uid without a
  // user name), kContainerDenied. `operation` is what he wants, for the audit log.
  absl::Status CheckCaller(const Caller& caller, absl::string_view operation) const;

  // May it begin an enrollment, or go on with one, and own what comes of it? Errors: those of
  // CheckCaller, kNotPermitted for a caller on the admin socket (a registration belongs to a
  // person), those of the store's availability(), kAuditUnavailable.
  absl::Status CheckEnroll(const Caller& caller) const;

  // The same for a new registration of that app at that server, which the configuration may
  // restrict. Errors: also kEnrollmentNotAllowed, kTooManyRegistrations.
  absl::Status CheckEnroll(const Caller& caller, absl::string_view server_name,
                           absl::string_view app_id) const;

  // All that it may do with a registration at hand; nothing for a caller without identity.
  Right RightTo(const Caller& caller, const Registration& registration) const;

  // The same for one operation. Errors: kShareLacksOperation for a caller with a share,
  // kNotPermitted (an administrator who asks for a token; the owner of a private one),
  // kOwnerChanged (the uid is the owner's, the name no longer), and for whoever has no right
  // kRegistrationNotFound, or what CheckCaller says.
  absl::Status Check(const Caller& caller, const Registration& registration,
                     Operation operation) const;

  // Says whether the caller may have something costly done now; nothing: he may.
  using Admission = std::function<absl::Status()>;

  // Finds a registration by id or by name: the caller's own before those that are shared with him;
  // others' also as "alice/mercy". An id to which he has a right and a name of his own are found at
  // once. For all else `admit` is asked before others' registrations are looked through; also for
  // an id to which he has no right, so that what it says tells nothing. Errors: those of Check,
  // kRegistrationAmbiguous, those of `admit`; instead of kRegistrationNotFound those of the store's
  // availability(), to everybody.
  absl::StatusOr<RegistrationStore::Snapshot> Find(const Caller& caller,
                                                   absl::string_view name_or_id,
                                                   Operation operation,
                                                   const Admission& admit = nullptr) const;
  // The same for what leaves no line in the audit log, and so works without one.
  absl::StatusOr<RegistrationStore::Snapshot> FindToRead(const Caller& caller,
                                                         absl::string_view name_or_id,
                                                         Operation operation,
                                                         const Admission& admit = nullptr) const;

  // Those of `target` that the caller may manage, by creation time; at least one. Does not ask
  // whether it can be written down: what takes rights away for a while has to work at any time, and
  // what gives them back asks CheckWritable. Errors: as for Find, kRegistrationNotFound also when a
  // server or owner has none; kNotPermitted for another owner's on the public socket, whether he
  // has any or not.
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> Select(
      const Caller& caller, const RegistrationTarget& target) const;

  // May the caller make this share? Whoever manages by a share himself passes on a part of that one
  // share, for no longer, and never the management nor the share's own place: so what the owner
  // gave away ends when he meant it to. Its id is what the new one is to be made under; "" for the
  // owner and the administrator. Errors: those of Check, kNotPermitted.
  absl::StatusOr<std::string> CheckShareBy(const Caller& caller, const Registration& registration,
                                           const Share& share) const;

  // The shares of a registration, those that the configuration makes after those that people made.
  std::vector<Share> SharesOf(const Registration& registration) const;

  // May the caller say what its owner alone says, and the administrator: its name, and whether even
  // the owner's programs need a share? Errors: those of Check, kNotPermitted for who manages by a
  // share.
  absl::Status CheckOwnerSays(const Caller& caller, const Registration& registration) const;

  // What the caller may see, by creation time. Empty for a caller who may ask for nothing, and
  // while the store is unavailable: whoever says that there is none asks WhyNone first.
  std::vector<RegistrationStore::Snapshot> List(const Caller& caller) const;

  // His own of them, by name. Costs no look at others'.
  std::vector<RegistrationStore::Snapshot> ListOwn(const Caller& caller) const;

  // Why List is empty, if that does not mean that there are none; `operation` as for CheckCaller.
  // Errors: those of CheckCaller and the store's availability().
  absl::Status WhyNone(const Caller& caller, absl::string_view operation) const;

  // What to ask the server for so that the caller may have the token: `asked`, or all he may have
  // if that is empty. Errors: those of Check, kShareLacksScope.
  absl::StatusOr<ScopeSet> NarrowScopes(const Caller& caller, const Registration& registration,
                                        const ScopeSet& asked) const;

  // To be asked when the token is at hand, for which the caller waited and which somebody else may
  // have asked for: may he still have it, `asked` being what NarrowScopes gave, and does it allow
  // no more than he may have? Errors: those of Find, kShareLacksScope, and kScopeUnproven for a
  // token that is wider than his right, or does not say how wide it is.
  absl::Status CheckDelivery(const Caller& caller, const std::string& registration_id,
                             const ScopeSet& asked, const AccessToken& token) const;

  // May the caller do something that has to be in the audit log? Errors: kAuditUnavailable,
  // kRateLimited.
  absl::Status CheckWritable(const Caller& caller) const;

  // Gives `status`, having noted it if it is a refusal of the caller.
  absl::Status Noted(absl::Status status, const Caller& caller, absl::string_view operation,
                     absl::string_view registration_id) const;

 private:
  // What is said of a registration to which the caller has no right, be there one or not.
  absl::Status NotVisible(const Caller& caller) const;
  // FindToRead without a note; `meant` is the registration that was meant, also where it is
  // refused.
  absl::StatusOr<RegistrationStore::Snapshot> LookUp(const Caller& caller,
                                                     absl::string_view name_or_id,
                                                     Operation operation, const Admission& admit,
                                                     RegistrationStore::Snapshot& meant) const;
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> SelectUnnoted(
      const Caller& caller, const RegistrationTarget& target) const;
  absl::Status CheckEnrollUnnoted(const Caller& caller) const;
  absl::Status CheckEnrollUnnoted(const Caller& caller, absl::string_view server_name,
                                  absl::string_view app_id) const;
  absl::StatusOr<std::string> CheckShareByUnnoted(const Caller& caller,
                                                  const Registration& registration,
                                                  const Share& share) const;
  absl::Status CheckTokenScope(const Right& right, const ScopeSet& asked,
                               const AccessToken& token) const;

  const RegistrationStore& store_;
  const CurrentCatalog& catalog_;
  const Clock& clock_;
  AuditLog* const audit_;
};

}  // namespace smartkey
