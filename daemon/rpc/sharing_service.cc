// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/sharing_service.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/access/explanation.h"
#include "daemon/access/principal.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/share_terms.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr int kMostPrincipals = 4;

using Snapshot = RegistrationStore::Snapshot;

void Fill(const Explanation& explanation, v1::ExplainAccessResponse& response) {
  for (const Operation one : explanation.right.operations.list()) {
    if (ToProto(one) != v1::OPERATION_UNSPECIFIED) response.add_operations(ToProto(one));
  }
  if (explanation.right.scopes.has_value()) {
    for (const std::string& scope : *explanation.right.scopes) response.add_scopes(scope);
  }
  response.mutable_facts()->Add(explanation.facts.begin(), explanation.facts.end());
  response.mutable_steps()->Add(explanation.steps.begin(), explanation.steps.end());
}

// Adds what is true of one principal to what is true of the others.
absl::Status Merge(const Principal& one, Principal& all) {
  const auto add = [](const std::string& from, std::string& to) {
    if (from.empty()) return true;
    if (!to.empty() && to != from) return false;
    to = from;
    return true;
  };
  bool fits = add(one.user, all.user) && add(one.group, all.group) && add(one.unit, all.unit);
  if (one.uid.has_value()) {
    fits = fits && (!all.uid.has_value() || all.uid == one.uid);
    all.uid = one.uid;
  }
  if (fits && (all.user.empty() || !all.uid.has_value())) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "one caller has one user: ask for each user, group or unit by itself");
}

absl::Status ShareFromPolicy(const Share& share) {
  return WithRemedy(MakeError(Reason::kShareFromPolicy,
                              absl::StrCat("the configuration makes this share: ", share.policy)),
                    "ask the administrator, who takes it out there and reloads");
}

}  // namespace

grpc::ServerUnaryReactor* SharingService::ShareRegistration(
    grpc::CallbackServerContext* context, const v1::ShareRegistrationRequest* request,
    v1::ShareRegistrationResponse* response) {
  // Who may is asked first: what is wrong with a share is nobody else's business.
  const absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kManage, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  absl::StatusOr<Principal> principal = ParsePrincipal(request->principal());
  if (!principal.ok()) return FinishNow(context, principal.status());
  if (!principal->unit.empty() && principal->user.empty() && !principal->uid.has_value() &&
      !caller_.pid_pinned) {
    return FinishNow(
        context,
        WithRemedy(MakeError(Reason::kInvalidArgument,
                             "this kernel (older than 6.5) cannot hold a process while its unit is "
                             "looked at, so a unit alone would never have its share"),
                   "name the service's user too: user:NAME+unit:NAME.service"));
  }
  absl::StatusOr<Share> terms = ShareTermsFromProto(*request, caller_, parts_.clock.Now());
  if (!terms.ok()) return FinishNow(context, terms.status());
  if (terms->operations.empty()) terms->operations.emplace_back(OperationName(Operation::kToken));
  absl::Status fits = CheckShare(*terms, parts_.clock.Now());
  if (fits.ok()) fits = CheckShareScopes(*terms, **registration);
  if (!fits.ok()) return FinishNow(context, fits);
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::ShareRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.name_lookups.Run(caller_, [call, &parts = parts_, caller = caller_,
                                    id = (*registration)->id, principal = *std::move(principal),
                                    share = *std::move(terms), slot = *std::move(slot)]() mutable {
    const absl::StatusOr<Share> resolved = Resolve(principal, parts.users);
    if (!resolved.ok()) {
      slot.Release();
      return call->Finish(resolved.status(), [](v1::ShareRegistrationResponse&) {});
    }
    share.principal = resolved->principal;
    share.uid = resolved->uid;
    share.user_name = resolved->user_name;
    share.gid = resolved->gid;
    share.unit = resolved->unit;
    parts.store.Update(
        id,
        [share, caller, &access = parts.access](Registration& changed) mutable -> absl::Status {
          // The caller's right may have ended since it was looked at.
          absl::StatusOr<std::string> made_under = access.CheckShareBy(caller, changed, share);
          if (!made_under.ok()) return made_under.status();
          share.made_under = *std::move(made_under);
          return PutShare(changed, std::move(share));
        },
        [call, share, caller, id, &parts,
         slot = std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
          slot.Release();
          if (updated.ok()) {
            NoteShare(parts.audit, "SharingService/ShareRegistration", "registration shared", id,
                      share, caller);
          }
          call->Finish(updated.status(), [&](v1::ShareRegistrationResponse& answer) {
            FillShare(share, answer.mutable_share());
          });
        });
  });
  return call->reactor();
}

grpc::ServerUnaryReactor* SharingService::UnshareRegistration(
    grpc::CallbackServerContext* context, const v1::UnshareRegistrationRequest* request,
    v1::UnshareRegistrationResponse* response) {
  const absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kManage, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  const absl::StatusOr<Principal> principal = ParsePrincipal(request->principal());
  if (!principal.ok()) return FinishNow(context, principal.status());
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::UnshareRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  Share share;
  share.principal = ToString(*principal);
  parts_.store.Update(
      (*registration)->id,
      [text = share.principal, caller = caller_,
       &access = parts_.access](Registration& changed) -> absl::Status {
        if (absl::Status status =
                access.Noted(access.Check(caller, changed, Operation::kManage), caller,
                             OperationName(Operation::kManage), changed.id);
            !status.ok()) {
          return status;
        }
        for (const Share& one : access.SharesOf(changed)) {
          if (one.principal == text && !one.policy.empty()) {
            return ShareFromPolicy(one);
          }
        }
        return RemoveShare(changed, text);
      },
      [call, share, caller = caller_, id = (*registration)->id, &audit = parts_.audit,
       slot = *std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
        slot.Release();
        if (updated.ok()) {
          NoteShare(audit, "SharingService/UnshareRegistration", "share taken back", id, share,
                    caller);
        }
        call->Finish(updated.status(), [](v1::UnshareRegistrationResponse&) {});
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* SharingService::ExplainAccess(grpc::CallbackServerContext* context,
                                                        const v1::ExplainAccessRequest* request,
                                                        v1::ExplainAccessResponse* response) {
  const absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kSee, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  const bool manages =
      parts_.access.RightTo(caller_, **registration).operations.Has(Operation::kManage);
  if (request->principals().empty()) {
    Fill(Explain(parts_.access, caller_, **registration, manages, parts_.clock.Now()), *response);
    return FinishNow(context, absl::OkStatus());
  }
  if (!manages) {
    return FinishNow(
        context, parts_.access.Noted(
                     MakeError(Reason::kNotPermitted, "what others may do is the owner's to know"),
                     caller_, OperationName(Operation::kManage), (*registration)->id));
  }
  if (request->principals_size() > kMostPrincipals) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument, "too many principals"));
  }
  Principal all;
  for (const std::string& text : request->principals()) {
    const absl::StatusOr<Principal> one = ParsePrincipal(text);
    if (!one.ok()) return FinishNow(context, one.status());
    if (absl::Status status = Merge(*one, all); !status.ok()) return FinishNow(context, status);
  }
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);  // for the look-up's thread
  if (!slot.ok()) return FinishNow(context, slot.status());
  auto call = PendingUnaryCall<v1::ExplainAccessResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.name_lookups.Run(
      caller_, [call, &parts = parts_, pinned = caller_.pid_pinned, registration = *registration,
                all, slot = *std::move(slot)]() mutable {
        const absl::StatusOr<Share> resolved = Resolve(all, parts.users);
        slot.Release();
        call->Finish(resolved.status(), [&](v1::ExplainAccessResponse& answer) {
          Fill(Explain(parts.access, CallerLike(*resolved, pinned), *registration, true,
                       parts.clock.Now()),
               answer);
        });
      });
  return call->reactor();
}

}  // namespace smartkey
