// SPDX-License-Identifier: Apache-2.0
// RegistrationService.UpdateRegistration with an owner: an administrator gives a registration to
// another user, or to the one whom its owner has become.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/access/principal.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/registration_service.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);

absl::Status CheckMayChangeOwner(const Caller& caller) {
  if (caller.admin && caller.uid == 0) return absl::OkStatus();
  return WithRemedy(MakeError(Reason::kNotPermitted, "only root gives a registration to another"),
                    "as root: 'smartkeyctl chown OWNER/NAME USER'");
}

absl::Status CheckAlone(const v1::UpdateRegistrationRequest& request) {
  if (!request.has_name() && !request.has_label() && !request.has_access_for() &&
      !request.has_shares_only()) {
    return absl::OkStatus();
  }
  return MakeError(Reason::kInvalidArgument, "an owner is changed without anything else");
}

absl::Status GiveTo(const Caller& owner, Registration& registration) {
  const GenerationState state = registration.newest().state;
  if (state == GenerationState::kPending || state == GenerationState::kRegistering ||
      state == GenerationState::kVerifying) {
    return WithRemedy(MakeError(Reason::kEnrollmentUnderWay,
                                "its owner has an enrollment or a renewal under way"),
                      "try again when that has ended");
  }
  if (state == GenerationState::kDeleting) return RegistrationNotFound();
  registration.owner_uid = owner.uid;
  registration.owner_name = owner.user_name;
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RegistrationService::ChangeOwner(
    grpc::CallbackServerContext* context, const v1::UpdateRegistrationRequest* request,
    RegistrationStore::Snapshot registration, v1::UpdateRegistrationResponse* response) {
  absl::Status status = parts_.access.Noted(CheckMayChangeOwner(caller_), caller_,
                                            OperationName(Operation::kManage), registration->id);
  if (status.ok()) status = CheckAlone(*request);
  if (!status.ok()) return FinishNow(context, status);
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  using Response = v1::UpdateRegistrationResponse;
  auto call = PendingUnaryCall<Response>::Start(context, response, parts_.scheduler,
                                                TimeLeft(*context, kLimit));
  parts_.name_lookups.Run(
      caller_, [call, &parts = parts_, caller = caller_, name = request->owner(),
                registration = std::move(registration), slot = *std::move(slot)]() mutable {
        const absl::StatusOr<Caller> owner = CallerNamed(name, parts.users);
        if (!owner.ok()) {
          slot.Release();
          return call->Finish(owner.status(), [](Response&) {});
        }
        parts.store.Update(
            registration->id,
            [owner = *owner](Registration& changed) { return GiveTo(owner, changed); },
            [call, &parts, caller, registration, owner = *owner,
             slot = std::move(slot)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
              slot.Release();
              if (updated.ok()) {
                Log(LogLevel::kInfo, "registration given to another owner",
                    {{"registration", registration->id},
                     {"from_uid", registration->owner_uid},
                     {"to_uid", owner.uid},
                     {"by", caller.uid}});
                parts.audit.Note(&caller, "RegistrationService/ChangeOwner", registration->id,
                                 absl::OkStatus(),
                                 {{"from", registration->owner_name},
                                  {"from_uid", absl::StrCat(registration->owner_uid)},
                                  {"to", owner.user_name},
                                  {"to_uid", absl::StrCat(owner.uid)}});
              }
              call->Finish(updated.status(), [&](Response& answer) {
                FillRegistration(**updated, caller, parts.access, parts.standings,
                                 answer.mutable_registration());
              });
            });
      });
  return call->reactor();
}

}  // namespace smartkey
