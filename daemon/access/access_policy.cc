// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access_policy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "daemon/access/policy_rules.h"
#include "daemon/model/scope_cover.h"

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

// The same of somebody who had a share.
bool IsFormerGrantee(const Caller& caller, const Registration& registration, absl::Time now) {
  return std::any_of(registration.shares.begin(), registration.shares.end(), [&](const Share& one) {
    return Match(one, caller, now) == ShareMatch::kUserChanged;
  });
}

// As it is written in a request: a user name, or "uid:1000".
bool IsUser(absl::string_view written, uid_t uid, absl::string_view name) {
  return (!name.empty() && written == name) || written == absl::StrCat("uid:", uid);
}

// Looking at what there is needs no line.
bool ChangesSomething(Operation operation) {
  return operation != Operation::kSee && operation != Operation::kJwks;
}

// As the audit log has it: what cannot be shared has a name only there.
absl::string_view NotedName(Operation operation) {
  if (operation == Operation::kSee) return "see";
  if (operation == Operation::kJwks) return "jwks";
  return OperationName(operation);
}

// Whom the kernel tells apart from others at all.
bool IsSomebody(const Caller& caller) {
  return caller.uid != kNobody && caller.uid != kNoUid;
}

}  // namespace

bool IsRefusal(Reason reason) {
  switch (reason) {
    case Reason::kNotPermitted:
    case Reason::kShareLacksOperation:
    case Reason::kShareLacksScope:
    case Reason::kContainerDenied:
    case Reason::kCallerUnidentified:
    case Reason::kOwnerChanged:
    case Reason::kEnrollmentNotAllowed:
    case Reason::kTooManyRegistrations:
    case Reason::kRegistrationNotFound:
    case Reason::kScopeUnproven:
      return true;
    default:
      return false;
  }
}

absl::Status CheckIdentity(const Caller& caller) {
  if (!IsSomebody(caller)) {
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

absl::Status AccessPolicy::CheckCaller(const Caller& caller, absl::string_view operation) const {
  return Noted(CheckIdentity(caller), caller, operation, "");
}

absl::Status AccessPolicy::NotVisible(const Caller& caller) const {
  if (absl::Status status = CheckIdentity(caller); !status.ok()) return status;
  return RegistrationNotFound();
}

absl::Status AccessPolicy::CheckEnroll(const Caller& caller) const {
  absl::Status status = CheckEnrollUnnoted(caller);
  if (status.ok()) status = CheckWritable(caller);
  return Noted(std::move(status), caller, "enroll", "");
}

absl::Status AccessPolicy::CheckEnrollUnnoted(const Caller& caller) const {
  if (absl::Status status = CheckIdentity(caller); !status.ok()) return status;
  if (caller.admin) {
    return MakeError(Reason::kNotPermitted,
                     "a registration belongs to a person: enroll on the public socket");
  }
  // Before a person is sent through a login for nothing.
  return store_.availability();
}

absl::Status AccessPolicy::CheckWritable(const Caller& caller) const {
  if (audit_ == nullptr) return absl::OkStatus();
  absl::Status status = audit_->CheckWritable(caller);
  if (ReasonOf(status) == Reason::kRateLimited) {
    audit_->NoteRefusal(caller, "access/call", "", status);
  }
  return status;
}

absl::Status AccessPolicy::Noted(absl::Status status, const Caller& caller,
                                 absl::string_view operation,
                                 absl::string_view registration_id) const {
  if (audit_ != nullptr && IsRefusal(ReasonOf(status))) {
    audit_->NoteRefusal(caller, absl::StrCat("access/", operation), registration_id, status);
  }
  return status;
}

absl::Status AccessPolicy::CheckEnroll(const Caller& caller, absl::string_view server_name,
                                       absl::string_view app_id) const {
  absl::Status status = CheckEnrollUnnoted(caller, server_name, app_id);
  if (status.ok()) status = CheckWritable(caller);
  return Noted(std::move(status), caller, "enroll", "");
}

absl::Status AccessPolicy::CheckEnrollUnnoted(const Caller& caller, absl::string_view server_name,
                                              absl::string_view app_id) const {
  if (absl::Status status = CheckEnrollUnnoted(caller); !status.ok()) return status;
  const std::shared_ptr<const Catalog> catalog = catalog_.Get();
  if (absl::Status status = CheckEnrollByPolicy(*catalog, caller, server_name, app_id);
      !status.ok()) {
    return status;
  }
  return CheckCountByPolicy(*catalog, caller, server_name, app_id,
                            store_.ListOwned(caller.user_name));
}

std::vector<Share> AccessPolicy::SharesOf(const Registration& registration) const {
  std::vector<Share> shares = registration.shares;
  for (Share& one : SharesByPolicy(*catalog_.Get(), registration)) shares.push_back(std::move(one));
  return shares;
}

Right AccessPolicy::RightTo(const Caller& caller, const Registration& registration) const {
  Right right;
  if (!IsSomebody(caller)) return right;
  const bool is_user = !caller.in_container && !caller.user_name.empty();
  if (is_user && caller.admin) {
    right.relation = Right::Relation::kAdministered;
    right.operations = {Operation::kSee, Operation::kJwks, Operation::kManage};
    return right;
  }
  if (is_user && IsOwner(caller, registration)) {
    right.relation = Right::Relation::kOwner;
    if (!registration.shares_only) {
      right.operations = OperationSet::All();
      return right;
    }
    right.operations = {Operation::kSee, Operation::kJwks, Operation::kManage};
  }
  const bool by_policy = catalog_.has_shares_by_policy();
  if (registration.shares.empty() && !by_policy) return right;  // as most have none
  const absl::Time now = clock_.Now();
  ScopeSet scopes;
  bool all_scopes = false;
  bool any = false;
  const auto add = [&](const Share& share) {
    if (Match(share, caller, now) != ShareMatch::kYes) return;
    any = true;
    const OperationSet operations = OperationsOf(share);
    right.operations.Add(operations);
    if (!operations.Has(Operation::kToken)) return;
    all_scopes = all_scopes || share.scopes.empty();
    scopes.insert(share.scopes.begin(), share.scopes.end());
  };
  for (const Share& share : registration.shares) add(share);
  if (by_policy) {
    for (const Share& share : SharesByPolicy(*catalog_.Get(), registration)) add(share);
  }
  if (!any) return right;
  right.operations.Add({Operation::kSee, Operation::kJwks});
  if (right.relation == Right::Relation::kNone) right.relation = Right::Relation::kShared;
  if (!all_scopes) right.scopes = std::move(scopes);
  return right;
}

absl::Status AccessPolicy::Check(const Caller& caller, const Registration& registration,
                                 Operation operation) const {
  const Right right = RightTo(caller, registration);
  if (right.operations.Has(operation)) return absl::OkStatus();
  switch (right.relation) {
    case Right::Relation::kAdministered:
      return MakeError(Reason::kNotPermitted,
                       "an administrator manages registrations and is given no tokens for them");
    case Right::Relation::kOwner:
      return WithRemedy(
          MakeError(Reason::kNotPermitted,
                    "the registration is private: even its owner's programs need a share"),
          "share it with the program's unit, or open it again: 'smartkeyctl share REG --open'");
    case Right::Relation::kShared:
      return MakeError(Reason::kShareLacksOperation,
                       absl::StrCat("the share does not allow '", OperationName(operation), "'"));
    case Right::Relation::kNone:
      break;
  }
  const absl::Status not_visible = NotVisible(caller);
  if (ReasonOf(not_visible) != Reason::kRegistrationNotFound) return not_visible;
  if (IsFormerOwner(caller, registration)) {
    return MakeError(Reason::kOwnerChanged,
                     "the registration's owner had this uid under another user name");
  }
  if (IsFormerGrantee(caller, registration, clock_.Now())) {
    return WithRemedy(
        MakeError(Reason::kOwnerChanged, "it was shared with this uid under another user name"),
        "ask its owner to share it with the present one");
  }
  return not_visible;
}

absl::StatusOr<RegistrationStore::Snapshot> AccessPolicy::Find(const Caller& caller,
                                                               absl::string_view name_or_id,
                                                               Operation operation,
                                                               const Admission& admit) const {
  absl::StatusOr<RegistrationStore::Snapshot> found =
      FindToRead(caller, name_or_id, operation, admit);
  if (found.ok() && ChangesSomething(operation)) {
    if (absl::Status status = CheckWritable(caller); !status.ok()) return status;
  }
  return found;
}

absl::StatusOr<RegistrationStore::Snapshot> AccessPolicy::FindToRead(const Caller& caller,
                                                                     absl::string_view name_or_id,
                                                                     Operation operation,
                                                                     const Admission& admit) const {
  RegistrationStore::Snapshot meant;
  absl::StatusOr<RegistrationStore::Snapshot> found =
      LookUp(caller, name_or_id, operation, admit, meant);
  if (!found.ok()) {
    return Noted(found.status(), caller, NotedName(operation),
                 meant != nullptr ? meant->id : std::string());
  }
  return found;
}

absl::StatusOr<RegistrationStore::Snapshot> AccessPolicy::LookUp(
    const Caller& caller, absl::string_view name_or_id, Operation operation, const Admission& admit,
    RegistrationStore::Snapshot& meant) const {
  if (!IsSomebody(caller)) return CheckIdentity(caller);
  RegistrationStore::Snapshot found = store_.Find(name_or_id);
  if (found == nullptr) {
    found = store_.FindOwned(caller.uid, caller.user_name, name_or_id);
    // From a container, or on the admin socket, it is one of many.
    if (found != nullptr && RightTo(caller, *found).relation != Right::Relation::kOwner) {
      found = nullptr;
    }
  }
  meant = found;
  if (found != nullptr) {
    const absl::Status status = Check(caller, *found, operation);
    if (status.ok()) return found;
    if (status != NotVisible(caller)) return status;
  }
  if (admit) {
    if (absl::Status status = admit(); !status.ok()) return status;
  }
  if (found == nullptr) {
    bool own = false;
    bool several = false;
    const auto consider = [&](const RegistrationStore::Snapshot& one, absl::string_view name) {
      if (one->name.RevealIdentifying() != name) return;
      const Right::Relation relation = RightTo(caller, *one).relation;
      if (relation == Right::Relation::kNone) return;
      const bool is_own = relation == Right::Relation::kOwner;
      if (own && !is_own) return;
      several = found != nullptr && own == is_own;
      own = is_own;
      found = one;
    };
    const std::vector<absl::string_view> parts =
        absl::StrSplit(name_or_id, absl::MaxSplits('/', 1));
    if (parts.size() == 2) {  // no name has a slash
      for (const auto& one : store_.ListOwned(parts[0])) {
        if (one->name.RevealIdentifying() == parts[1]) meant = one;
        consider(one, parts[1]);
      }
    } else {
      for (const auto& one : store_.List()) consider(one, name_or_id);
    }
    if (several) {
      return MakeError(Reason::kRegistrationAmbiguous,
                       "several users have a registration of that name: say USER/NAME or the id");
    }
  }
  if (found == nullptr) {
    // It may well exist: this says so to everybody alike.
    if (absl::Status status = store_.availability(); !status.ok()) return status;
    return NotVisible(caller);
  }
  meant = found;
  if (absl::Status status = Check(caller, *found, operation); !status.ok()) return status;
  return found;
}

absl::StatusOr<std::vector<RegistrationStore::Snapshot>> AccessPolicy::Select(
    const Caller& caller, const RegistrationTarget& target) const {
  if (target.kind == RegistrationTarget::Kind::kRegistration) {
    absl::StatusOr<RegistrationStore::Snapshot> one =
        FindToRead(caller, target.value, Operation::kManage, nullptr);
    if (!one.ok()) return one.status();
    return std::vector<RegistrationStore::Snapshot>{*std::move(one)};
  }
  absl::StatusOr<std::vector<RegistrationStore::Snapshot>> selected = SelectUnnoted(caller, target);
  if (!selected.ok()) {
    return Noted(selected.status(), caller, OperationName(Operation::kManage), "");
  }
  return selected;
}

absl::StatusOr<std::vector<RegistrationStore::Snapshot>> AccessPolicy::SelectUnnoted(
    const Caller& caller, const RegistrationTarget& target) const {
  using Kind = RegistrationTarget::Kind;
  if (target.kind == Kind::kOwner && !caller.admin &&
      !IsUser(target.value, caller.uid, caller.user_name)) {
    return MakeError(Reason::kNotPermitted,
                     "other users' registrations are managed on the admin socket");
  }
  std::vector<RegistrationStore::Snapshot> selected;
  for (const RegistrationStore::Snapshot& one : store_.List()) {
    if (!Check(caller, *one, Operation::kManage).ok()) continue;
    if (target.kind == Kind::kServer && one->server_name != target.value) continue;
    if (target.kind == Kind::kOwner && !IsUser(target.value, one->owner_uid, one->owner_name)) {
      continue;
    }
    selected.push_back(one);
  }
  if (selected.empty()) {
    if (absl::Status status = store_.availability(); !status.ok()) return status;
    return NotVisible(caller);
  }
  return selected;
}

absl::StatusOr<std::string> AccessPolicy::CheckShareBy(const Caller& caller,
                                                       const Registration& registration,
                                                       const Share& share) const {
  absl::StatusOr<std::string> made_under = CheckShareByUnnoted(caller, registration, share);
  if (!made_under.ok()) {
    return Noted(made_under.status(), caller, OperationName(Operation::kManage), registration.id);
  }
  return made_under;
}

absl::StatusOr<std::string> AccessPolicy::CheckShareByUnnoted(const Caller& caller,
                                                              const Registration& registration,
                                                              const Share& share) const {
  if (absl::Status status = Check(caller, registration, Operation::kManage); !status.ok()) {
    return status;
  }
  if (RightTo(caller, registration).relation != Right::Relation::kShared) return std::string();
  if (OperationsOf(share).Has(Operation::kManage)) {
    return MakeError(Reason::kNotPermitted, "only the owner and the administrator share 'manage'");
  }
  // All that one share, rather than something of each of his: what is passed on ends with it.
  const absl::Time now = clock_.Now();
  const Share* widest = nullptr;
  for (const Share& own : registration.shares) {
    if (!OperationsOf(own).Has(Operation::kManage)) continue;
    if (Match(own, caller, now) != ShareMatch::kYes) continue;
    if (own.principal == share.principal) {
      return MakeError(Reason::kNotPermitted,
                       "the share by which one manages is the owner's to change");
    }
    if (IsPartOf(share, own)) return own.id;
    if (widest == nullptr || widest->ends_at < own.ends_at) widest = &own;
  }
  if (widest == nullptr) {
    return MakeError(Reason::kNotPermitted,
                     "who manages by the configuration's word gives others nothing");
  }
  return MakeError(Reason::kNotPermitted,
                   absl::StrCat("who manages by a share gives others a part of it and for no "
                                "longer: ",
                                DescribeTerms(*widest)));
}

absl::Status AccessPolicy::CheckOwnerSays(const Caller& caller,
                                          const Registration& registration) const {
  absl::Status status = Check(caller, registration, Operation::kManage);
  if (status.ok() && RightTo(caller, registration).relation == Right::Relation::kShared) {
    status = MakeError(Reason::kNotPermitted,
                       "its name, and whether the owner's programs need a share, is the owner's to "
                       "say");
  }
  return Noted(std::move(status), caller, OperationName(Operation::kManage), registration.id);
}

std::vector<RegistrationStore::Snapshot> AccessPolicy::List(const Caller& caller) const {
  std::vector<RegistrationStore::Snapshot> visible;
  for (const RegistrationStore::Snapshot& one : store_.List()) {
    if (RightTo(caller, *one).operations.Has(Operation::kSee)) visible.push_back(one);
  }
  return visible;
}

std::vector<RegistrationStore::Snapshot> AccessPolicy::ListOwn(const Caller& caller) const {
  std::vector<RegistrationStore::Snapshot> own = store_.ListOwned(caller.user_name);
  std::erase_if(own, [&](const RegistrationStore::Snapshot& one) {
    return RightTo(caller, *one).relation != Right::Relation::kOwner;
  });
  return own;
}

absl::Status AccessPolicy::WhyNone(const Caller& caller, absl::string_view operation) const {
  if (absl::Status status = store_.availability(); !status.ok()) return status;
  return CheckCaller(caller, operation);
}

absl::StatusOr<ScopeSet> AccessPolicy::NarrowScopes(const Caller& caller,
                                                    const Registration& registration,
                                                    const ScopeSet& asked) const {
  Right right = RightTo(caller, registration);
  if (!right.operations.Has(Operation::kToken)) {
    return Noted(Check(caller, registration, Operation::kToken), caller,
                 OperationName(Operation::kToken), registration.id);
  }
  if (!right.scopes.has_value()) return asked;
  if (asked.empty()) return *std::move(right.scopes);
  if (Covers(*right.scopes, asked)) return asked;
  return Noted(MakeError(Reason::kShareLacksScope,
                         absl::StrCat("the share allows only: ", ToScopeString(*right.scopes))),
               caller, OperationName(Operation::kToken), registration.id);
}

absl::Status AccessPolicy::CheckDelivery(const Caller& caller, const std::string& registration_id,
                                         const ScopeSet& asked, const AccessToken& token) const {
  const absl::StatusOr<RegistrationStore::Snapshot> registration =
      Find(caller, registration_id, Operation::kToken);
  if (!registration.ok()) return registration.status();
  return Noted(CheckTokenScope(RightTo(caller, **registration), asked, token), caller,
               OperationName(Operation::kToken), registration_id);
}

absl::Status AccessPolicy::CheckTokenScope(const Right& right, const ScopeSet& asked,
                                           const AccessToken& token) const {
  if (!right.scopes.has_value()) return absl::OkStatus();
  // His right may have become narrower, and a set that is empty means everything.
  if (asked.empty() || !Covers(*right.scopes, asked)) {
    return MakeError(Reason::kShareLacksScope, "the share was made narrower meanwhile");
  }
  if (!token.granted.has_value()) {
    return MakeError(
        Reason::kScopeUnproven,
        "the server does not say which scopes its token has, and the share allows only "
        "some");
  }
  if (!Covers(*right.scopes, *token.granted)) {
    return MakeError(Reason::kScopeUnproven,
                     "the server gave a token with more scopes than the share allows");
  }
  return absl::OkStatus();
}

}  // namespace smartkey
