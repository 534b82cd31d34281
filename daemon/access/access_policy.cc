// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access_policy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"

namespace smartkey {

namespace {

constexpr uid_t kNobody = 65534;
constexpr uid_t kNoUid = static_cast<uid_t>(-1);

bool IsOwner(const Caller& caller, const Registration& registration) {
  return caller.uid == registration.owner_uid && caller.user_name == registration.owner_name;
}

// The uid is the owner's, the login is not: recycled, or renamed.
bool IsFormerOwner(const Caller& caller, const Registration& registration) {
  return caller.uid == registration.owner_uid && caller.user_name != registration.owner_name;
}

// As it is written in a request: a user name, or "uid:1000".
bool IsUser(absl::string_view written, uid_t uid, absl::string_view name) {
  return (!name.empty() && written == name) || written == absl::StrCat("uid:", uid);
}

}  // namespace

absl::Status AccessPolicy::CheckCaller(const Caller& caller) const {
  if (caller.uid == kNobody || caller.uid == kNoUid) {
    return MakeError(Reason::kCallerUnidentified,
                     "the kernel does not say which user is calling (uid 65534: another user "
                     "namespace)");
  }
  if (caller.in_container) {
    return MakeError(Reason::kContainerDenied,
                     "the caller runs in a container, where uids do not mean the host's users");
  }
  if (caller.user_name.empty()) {
    return MakeError(Reason::kCallerUnidentified, "the caller's uid belongs to no user");
  }
  return absl::OkStatus();
}

absl::Status AccessPolicy::CheckEnroll(const Caller& caller) const {
  if (absl::Status status = CheckCaller(caller); !status.ok()) return status;
  if (caller.admin) {
    return MakeError(Reason::kNotPermitted,
                     "a registration belongs to a person: enroll on the public socket");
  }
  // Before a person is sent through a login for nothing.
  return store_.availability();
}

absl::Status AccessPolicy::Check(const Caller& caller, const Registration& registration,
                                 Operation operation) const {
  if (absl::Status status = CheckCaller(caller); !status.ok()) return status;
  if (caller.admin) {
    if (operation != Operation::kToken && operation != Operation::kAssertion) {
      return absl::OkStatus();
    }
    return MakeError(Reason::kNotPermitted,
                     "an administrator manages registrations and is given no tokens for them");
  }
  if (IsOwner(caller, registration)) return absl::OkStatus();
  if (IsFormerOwner(caller, registration)) {
    return MakeError(Reason::kOwnerChanged,
                     "the registration's owner had this uid under another user name");
  }
  return RegistrationNotFound();
}

absl::StatusOr<RegistrationStore::Snapshot> AccessPolicy::Find(const Caller& caller,
                                                               absl::string_view name_or_id,
                                                               Operation operation) const {
  if (absl::Status status = CheckCaller(caller); !status.ok()) return status;

  RegistrationStore::Snapshot found = store_.Find(name_or_id);
  if (found == nullptr) {
    const std::pair<std::string, std::string> owner_and_name =
        caller.admin ? std::pair<std::string, std::string>(
                           absl::StrSplit(name_or_id, absl::MaxSplits('/', 1)))
                     : std::pair<std::string, std::string>();
    for (const RegistrationStore::Snapshot& one : store_.List()) {
      const std::string& name = one->name.RevealIdentifying();
      const bool matches = caller.admin
                               ? name == name_or_id || (one->owner_name == owner_and_name.first &&
                                                        name == owner_and_name.second)
                               : name == name_or_id && IsOwner(caller, *one);
      if (!matches) continue;
      if (found != nullptr) {
        return MakeError(Reason::kRegistrationAmbiguous,
                         "several users have a registration of that name: say USER/NAME or the id");
      }
      found = one;
    }
  }
  if (found == nullptr) {
    // It may well exist: this says so to everybody alike.
    if (absl::Status status = store_.availability(); !status.ok()) return status;
    return RegistrationNotFound();
  }
  if (absl::Status status = Check(caller, *found, operation); !status.ok()) return status;
  return found;
}

absl::StatusOr<std::vector<RegistrationStore::Snapshot>> AccessPolicy::Select(
    const Caller& caller, const RegistrationTarget& target) const {
  using Kind = RegistrationTarget::Kind;
  if (absl::Status status = CheckCaller(caller); !status.ok()) return status;
  if (target.kind == Kind::kRegistration) {
    absl::StatusOr<RegistrationStore::Snapshot> one =
        Find(caller, target.value, Operation::kManage);
    if (!one.ok()) return one.status();
    return std::vector<RegistrationStore::Snapshot>{*std::move(one)};
  }
  if (target.kind == Kind::kOwner && !caller.admin &&
      !IsUser(target.value, caller.uid, caller.user_name)) {
    return MakeError(Reason::kNotPermitted,
                     "other users' registrations are managed on the admin socket");
  }
  std::vector<RegistrationStore::Snapshot> selected;
  for (RegistrationStore::Snapshot& one : store_.List()) {
    if (!Check(caller, *one, Operation::kManage).ok()) continue;
    if (target.kind == Kind::kServer && one->server_name != target.value) continue;
    if (target.kind == Kind::kOwner && !IsUser(target.value, one->owner_uid, one->owner_name)) {
      continue;
    }
    selected.push_back(std::move(one));
  }
  if (selected.empty()) {
    if (absl::Status status = store_.availability(); !status.ok()) return status;
    return RegistrationNotFound();
  }
  return selected;
}

std::vector<RegistrationStore::Snapshot> AccessPolicy::List(const Caller& caller) const {
  std::vector<RegistrationStore::Snapshot> visible;
  for (RegistrationStore::Snapshot& one : store_.List()) {
    if (Check(caller, *one, Operation::kSee).ok()) visible.push_back(std::move(one));
  }
  return visible;
}

}  // namespace smartkey
