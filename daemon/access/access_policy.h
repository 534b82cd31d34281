// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "daemon/model/caller.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What a caller wants to do with a registration.
enum class Operation {
  kSee,        // list it, read its facts
  kToken,      // be given access tokens
  kAssertion,  // be given client assertions (an unscoped credential)
  kJwks,       // its public key
  kManage,     // label, name, renewal, deletion
};

// Which registrations an order is about: one, all of a server or an owner, or all there are.
struct RegistrationTarget {
  enum class Kind { kRegistration, kServer, kOwner, kAll };
  Kind kind = Kind::kRegistration;
  std::string value;  // a name or id; a server's name; a user name or "uid:N"; empty with kAll
};

// Decides who may do what. Every request asks anew, before any cache is looked at: a change of policy takes
// effect on live connections. Reads the store's memory only; never blocks. Thread-safe.
//
// The rules now: the owner (uid and user name, both) may do everything with his registrations. A caller
// on the admin socket sees and manages all, and is given neither tokens nor assertions. Everybody else is told
// that the registration does not exist, in the words used for a name that is none.
class AccessPolicy {
 public:
  explicit AccessPolicy(const RegistrationStore& store) : store_(store) {}

  // May this process ask for anything at all? Errors: kCallerUnidentified (uid 65534 or -1: what every
  // caller looks like from another user namespace; or a uid without a user name), kContainerDenied.
  absl::Status CheckCaller(const Caller& caller) const;

  // May it begin an enrollment, and own what comes of it? Errors: those of CheckCaller, kNotPermitted for a
  // caller on the admin socket (a registration belongs to a person), those of the store's availability().
  absl::Status CheckEnroll(const Caller& caller) const;

  // Finds a registration by id or by name: the caller's own; for an administrator also "alice/mercy".
  // Errors: those of CheckCaller, kRegistrationNotFound, kRegistrationAmbiguous, kOwnerChanged (the uid is
  // the owner's, the name no longer), kNotPermitted (an administrator asking for a token); instead of
  // kRegistrationNotFound those of the store's availability(), to everybody.
  absl::StatusOr<RegistrationStore::Snapshot> Find(const Caller& caller,
                                                   absl::string_view name_or_id,
                                                   Operation operation) const;

  // Those of `target` that the caller may manage, by creation time; at least one. Errors: as for Find,
  // kRegistrationNotFound also when a server or owner has none; kNotPermitted for another owner's on the public
  // socket, whether he has any or not.
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> Select(
      const Caller& caller, const RegistrationTarget& target) const;

  // What the caller may see, by creation time. Empty for a caller who may ask for nothing, and while the
  // store is unavailable: whoever says that there is none looks at that first.
  std::vector<RegistrationStore::Snapshot> List(const Caller& caller) const;

  // The same decision for a registration at hand.
  absl::Status Check(const Caller& caller, const Registration& registration,
                     Operation operation) const;

 private:
  const RegistrationStore& store_;
};

}  // namespace smartkey
