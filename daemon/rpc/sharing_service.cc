// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/sharing_service.h"

#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/access/explanation.h"
#include "daemon/access/principal.h"
#include "daemon/model/scope_cover.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
const absl::Duration kLongestShare = absl::Hours(24 * 366 * 10);
constexpr int kMostScopes = 100;
constexpr int kMostPrincipals = 4;

using Snapshot = RegistrationStore::Snapshot;

// What the share shall allow, for whom is resolved later.
absl::StatusOr<Share> TermsFromProto(const v1::ShareRegistrationRequest& request,
                                     const Caller& caller, absl::Time now) {
  Share terms;
  OperationSet operations;
  for (const int one : request.operations()) {
    const absl::optional<Operation> operation = FromProto(static_cast<v1::Operation>(one));
    if (!operation.has_value()) {
      return MakeError(Reason::kInvalidArgument, "an operation that this smartkeyd does not know");
    }
    operations.Add(*operation);
  }
  if (operations.empty()) operations.Add(Operation::kToken);
  for (const Operation one : operations.list()) terms.operations.emplace_back(OperationName(one));
  if (request.scopes_size() > kMostScopes) {
    return MakeError(Reason::kInvalidArgument, "too many scopes");
  }
  absl::StatusOr<ScopeSet> scopes = ScopesFromProto(request.scopes());
  if (!scopes.ok()) return scopes.status();
  terms.scopes.assign(scopes->begin(), scopes->end());
  if (request.has_valid_for()) {
    absl::StatusOr<absl::Duration> valid_for = FromProto(request.valid_for());
    if (!valid_for.ok()) return valid_for.status();
    if (*valid_for > kLongestShare) {
      return MakeError(Reason::kInvalidArgument,
                       "longer than ten years: leave the end out, and take the share back");
    }
    terms.ends_at = now + *valid_for;
  }
  terms.id = RandomId();
  terms.created_at = now;
  terms.created_by = caller.uid;
  terms.created_by_name = caller.user_name;
  if (absl::Status status = CheckShare(terms, now); !status.ok()) return status;
  return terms;
}

// The scopes must be some that a token of the registration can have, as far as the server said
// which: a misspelt one would make a share that is never any good.
absl::Status CheckScopes(const Registration& registration, const Share& share) {
  const Generation* serving = registration.serving();
  const Generation& generation = serving != nullptr ? *serving : registration.newest();
  const ScopeSet granted = ParseScope(generation.granted_scope);
  const ScopeSet shared(share.scopes.begin(), share.scopes.end());
  if (granted.empty() || Covers(granted, shared)) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument, absl::StrCat("the registration has other scopes: ",
                                                          absl::StrJoin(granted, " ")));
}

void LogShare(absl::string_view what, const std::string& registration, const Share& share,
              const Caller& caller) {
  Log(LogLevel::kInfo, what,
      {{"registration", registration},
       {"principal", share.principal},
       {"share_uid", share.uid},
       {"share_gid", share.gid},
       {"operations", absl::StrJoin(share.operations, ",")},
       {"by", caller.uid},
       {"administrator", caller.admin ? "yes" : "no"}});
}

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

}  // namespace

grpc::ServerUnaryReactor* SharingService::ShareRegistration(
    grpc::CallbackServerContext* context, const v1::ShareRegistrationRequest* request,
    v1::ShareRegistrationResponse* response) {
  // Who may is asked first: what is wrong with a share is nobody else's business.
  const absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kManage);
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
  absl::StatusOr<Share> terms = TermsFromProto(*request, caller_, parts_.clock.Now());
  if (!terms.ok()) return FinishNow(context, terms.status());
  if (absl::Status status = CheckScopes(**registration, *terms); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::StatusOr<WriteLimiter::Slot> slot = writes_->Take(caller_.uid);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::ShareRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.name_scheduler.RunAfter(
      absl::ZeroDuration(), [call, &parts = parts_, caller = caller_, id = (*registration)->id,
                             principal = *std::move(principal), share = *std::move(terms),
                             slot = *std::move(slot)]() mutable {
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
            [share, caller, &access = parts.access](Registration& changed) -> absl::Status {
              // The caller's right may have ended since it was looked at.
              if (absl::Status status = access.CheckShareBy(caller, changed, share); !status.ok()) {
                return status;
              }
              return PutShare(changed, share);
            },
            [call, share, caller, id,
             slot = std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
              slot.Release();
              if (updated.ok()) LogShare("registration shared", id, share, caller);
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
  const absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kManage);
  if (!registration.ok()) return FinishNow(context, registration.status());
  const absl::StatusOr<Principal> principal = ParsePrincipal(request->principal());
  if (!principal.ok()) return FinishNow(context, principal.status());
  absl::StatusOr<WriteLimiter::Slot> slot = writes_->Take(caller_.uid);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::UnshareRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  Share share;
  share.principal = ToString(*principal);
  parts_.store.Update((*registration)->id,
                      [text = share.principal, caller = caller_,
                       &access = parts_.access](Registration& changed) -> absl::Status {
                        if (absl::Status status = access.Check(caller, changed, Operation::kManage);
                            !status.ok()) {
                          return status;
                        }
                        return RemoveShare(changed, text);
                      },
                      [call, share, caller = caller_, id = (*registration)->id,
                       slot = *std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
                        slot.Release();
                        if (updated.ok()) LogShare("share taken back", id, share, caller);
                        call->Finish(updated.status(), [](v1::UnshareRegistrationResponse&) {});
                      });
  return call->reactor();
}

grpc::ServerUnaryReactor* SharingService::ExplainAccess(grpc::CallbackServerContext* context,
                                                        const v1::ExplainAccessRequest* request,
                                                        v1::ExplainAccessResponse* response) {
  const absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kSee);
  if (!registration.ok()) return FinishNow(context, registration.status());
  const bool manages =
      parts_.access.RightTo(caller_, **registration).operations.Has(Operation::kManage);
  if (request->principals().empty()) {
    Fill(Explain(parts_.access, caller_, **registration, manages, parts_.clock.Now()), *response);
    return FinishNow(context, absl::OkStatus());
  }
  if (!manages) {
    return FinishNow(context,
                     MakeError(Reason::kNotPermitted, "what others may do is the owner's to know"));
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
  absl::StatusOr<WriteLimiter::Slot> slot = writes_->Take(caller_.uid);  // for the look-up's thread
  if (!slot.ok()) return FinishNow(context, slot.status());
  auto call = PendingUnaryCall<v1::ExplainAccessResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.name_scheduler.RunAfter(
      absl::ZeroDuration(), [call, &parts = parts_, pinned = caller_.pid_pinned,
                             registration = *registration, all, slot = *std::move(slot)]() mutable {
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

grpc::ServerWriteReactor<v1::RequestAccessResponse>* SharingService::RequestAccess(
    grpc::CallbackServerContext*, const v1::RequestAccessRequest*) {
  return FailStreamNotImplemented<v1::RequestAccessResponse>("RequestAccess");
}

grpc::ServerUnaryReactor* SharingService::ListAccessRequests(grpc::CallbackServerContext* context,
                                                             const v1::ListAccessRequestsRequest*,
                                                             v1::ListAccessRequestsResponse*) {
  return FailNotImplemented(context, "ListAccessRequests");
}

grpc::ServerUnaryReactor* SharingService::ResolveAccessRequest(
    grpc::CallbackServerContext* context, const v1::ResolveAccessRequestRequest*,
    v1::ResolveAccessRequestResponse*) {
  return FailNotImplemented(context, "ResolveAccessRequest");
}

}  // namespace smartkey
