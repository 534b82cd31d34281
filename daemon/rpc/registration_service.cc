// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/registration_service.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "daemon/model/expected_end.h"
#include "daemon/model/registration_name.h"
#include "daemon/rpc/registration_filter.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr size_t kMaxPage = 1000;
constexpr char kDeleteRegistration[] = "RegistrationService/DeleteRegistration";

using Snapshot = RegistrationStore::Snapshot;

bool ByOwnerThenName(const Snapshot& a, const Snapshot& b) {
  return std::tie(a->owner_name, a->owner_uid, a->name.RevealIdentifying(), a->id) <
         std::tie(b->owner_name, b->owner_uid, b->name.RevealIdentifying(), b->id);
}

absl::Status CheckUpdate(const v1::UpdateRegistrationRequest& request) {
  if (request.has_context_varies() || request.add_jwt_audiences_size() > 0 ||
      request.remove_jwt_audiences_size() > 0) {
    return NotImplemented("changing context or JWT audiences");
  }
  if (request.has_access_for()) {
    const absl::StatusOr<absl::Duration> access_for = FromProto(request.access_for());
    if (!access_for.ok()) return access_for.status();
    if (*access_for != absl::ZeroDuration()) {
      if (absl::Status status = CheckAccessFor(*access_for); !status.ok()) return status;
    }
  }
  if (request.has_name()) {
    if (absl::Status status = CheckName(request.name()); !status.ok()) return status;
  }
  return request.has_label() ? CheckLabel(request.label()) : absl::OkStatus();
}

// Which of its fields; what they say now is nobody's business but the owner's.
AuditFacts ChangesOf(const v1::UpdateRegistrationRequest& request) {
  std::vector<std::string> changed;
  if (request.has_name()) changed.push_back("name");
  if (request.has_label()) changed.push_back("label");
  if (request.has_access_for()) changed.push_back("access_for");
  if (request.has_shares_only()) {
    changed.push_back(request.shares_only() ? "private" : "not private");
  }
  return {{"changed", absl::StrJoin(changed, ",")}};
}

}  // namespace

grpc::ServerUnaryReactor* RegistrationService::ListRegistrations(
    grpc::CallbackServerContext* context, const v1::ListRegistrationsRequest* request,
    v1::ListRegistrationsResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  std::vector<Snapshot> all = parts_.access.List(caller_);
  if (all.empty()) {
    // An empty list would say that there are none.
    if (absl::Status status = parts_.access.WhyNone(caller_, "see"); !status.ok()) {
      return FinishNow(context, status);
    }
  }
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const Snapshot& one) {
                             return !FitsFilter(*one, request->filter(), parts_.standings);
                           }),
            all.end());
  std::sort(all.begin(), all.end(), ByOwnerThenName);

  // The token is the id of the last registration before the page.
  size_t begin = 0;
  if (!request->page_token().empty()) {
    const auto last = std::find_if(all.begin(), all.end(), [&](const Snapshot& one) {
      return one->id == request->page_token();
    });
    if (last == all.end()) {
      return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                          "the page token is no longer good: list from the start"));
    }
    begin = last - all.begin() + 1;
  }
  const size_t size = request->page_size() == 0 || request->page_size() > kMaxPage
                          ? kMaxPage
                          : request->page_size();
  const size_t end = std::min(all.size(), begin + size);
  for (size_t i = begin; i < end; ++i) {
    FillRegistration(*all[i], caller_, parts_.access, parts_.standings,
                     response->add_registrations());
  }
  if (end < all.size()) response->set_next_page_token(all[end - 1]->id);
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* RegistrationService::GetRegistration(
    grpc::CallbackServerContext* context, const v1::GetRegistrationRequest* request,
    v1::GetRegistrationResponse* response) {
  absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kSee, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  FillRegistration(**registration, caller_, parts_.access, parts_.standings,
                   response->mutable_registration());
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* RegistrationService::UpdateRegistration(
    grpc::CallbackServerContext* context, const v1::UpdateRegistrationRequest* request,
    v1::UpdateRegistrationResponse* response) {
  // Who may is asked first: what is wrong with a change is nobody else's business.
  absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kManage, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  if (absl::Status status = CheckUpdate(*request); !status.ok()) return FinishNow(context, status);
  if (request->has_owner()) {
    return ChangeOwner(context, request, *std::move(registration), response);
  }
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  absl::optional<Identifying> name, label;
  if (request->has_name()) name.emplace(request->name());
  if (request->has_label()) label.emplace(request->label());
  absl::optional<absl::Duration> access_for;
  if (request->has_access_for()) access_for = FromProto(request->access_for()).value();
  absl::optional<bool> shares_only;
  if (request->has_shares_only()) shares_only = request->shares_only();
  auto call = PendingUnaryCall<v1::UpdateRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.store.Update(
      (*registration)->id,
      [name, label, access_for, shares_only, caller = caller_, &access = parts_.access,
       now = parts_.clock.Now()](Registration& changed) {
        // The right may have ended since it was looked at.
        if (absl::Status status =
                access.Noted(access.Check(caller, changed, Operation::kManage), caller,
                             OperationName(Operation::kManage), changed.id);
            !status.ok()) {
          return status;
        }
        // A name that is taken would tell a grantee which others the owner has.
        if (name.has_value() || shares_only.has_value()) {
          if (absl::Status status = access.CheckOwnerSays(caller, changed); !status.ok()) {
            return status;
          }
        }
        if (shares_only.has_value()) changed.shares_only = *shares_only;
        if (name.has_value()) changed.name = *name;
        if (label.has_value()) changed.label = *label;
        if (access_for.has_value()) SayAccessFor(changed, *access_for, now);
        return absl::OkStatus();
      },
      [call, caller = caller_, &access = parts_.access, &standings = parts_.standings,
       &audit = parts_.audit, facts = ChangesOf(*request),
       slot = *std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
        slot.Release();
        if (updated.ok()) {
          audit.Note(&caller, "RegistrationService/UpdateRegistration", (*updated)->id,
                     absl::OkStatus(), std::move(facts));
        }
        call->Finish(updated.status(), [&](v1::UpdateRegistrationResponse& answer) {
          FillRegistration(**updated, caller, access, standings, answer.mutable_registration());
        });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* RegistrationService::DeleteRegistration(
    grpc::CallbackServerContext* context, const v1::DeleteRegistrationRequest* request,
    v1::DeleteRegistrationResponse* response) {
  absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kManage, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  const std::vector<Generation>& generations = (*registration)->generations;
  const bool known_there =
      std::any_of(generations.begin(), generations.end(), [](const Generation& one) {
        return !one.client_id.empty() || one.state == GenerationState::kOrphaned;
      });
  const std::string id = (*registration)->id;
  auto call = PendingUnaryCall<v1::DeleteRegistrationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  // The right may have ended since it was looked at.
  const auto may = [caller = caller_, &access = parts_.access](const Registration& one) {
    return access.Noted(access.Check(caller, one, Operation::kManage), caller,
                        OperationName(Operation::kManage), one.id);
  };
  parts_.remover.Remove(
      id, may,
      [call, id, known_there, caller = caller_, &audit = parts_.audit,
       slot = *std::move(slot)](absl::StatusOr<RegistrationRemover::Removed> removed) mutable {
        slot.Release();
        if (!removed.ok() && !IsRefusal(ReasonOf(removed.status()))) {
          audit.Note(&caller, kDeleteRegistration, id, removed.status());
        }
        call->Finish(removed.status(), [&](v1::DeleteRegistrationResponse& answer) {
          answer.set_registration_id(id);
          answer.set_server_may_still_list(known_there);
          answer.set_management_url(removed->management_endpoint);
          answer.set_key_destroyed(removed->keys_destroyed);
          answer.set_tokens_revoked(removed->tokens_revoked);
        });
      },
      // The rest may take seconds, or a restart, after which nobody knows whose word it was.
      [id, caller = caller_, &audit = parts_.audit] {
        audit.Note(&caller, kDeleteRegistration, id, absl::OkStatus());
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* RegistrationService::GetKeyAttestation(
    grpc::CallbackServerContext* context, const v1::GetKeyAttestationRequest*,
    v1::GetKeyAttestationResponse*) {
  return FailNotImplemented(context, "GetKeyAttestation");
}

}  // namespace smartkey
