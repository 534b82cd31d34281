// SPDX-License-Identifier: Apache-2.0
// RegistrationService: what an owner or an administrator orders for one or many registrations.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/rpc/registration_service.h"
#include "daemon/rpc/service_support.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {
namespace {

// Each registration is a write of its own.
constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr char kSuspendRegistrations[] = "RegistrationService/SuspendRegistrations";
constexpr char kResumeRegistrations[] = "RegistrationService/ResumeRegistrations";

using Snapshot = RegistrationStore::Snapshot;

absl::StatusOr<RegistrationTarget> FromProto(const v1::SuspensionTarget& target) {
  using Kind = RegistrationTarget::Kind;
  RegistrationTarget translated;
  switch (target.target_case()) {
    case v1::SuspensionTarget::kRegistration:
      translated = {Kind::kRegistration, target.registration()};
      break;
    case v1::SuspensionTarget::kServer:
      translated = {Kind::kServer, target.server()};
      break;
    case v1::SuspensionTarget::kOwner:
      translated = {Kind::kOwner, target.owner()};
      break;
    case v1::SuspensionTarget::kAll:
      if (target.all()) return RegistrationTarget{Kind::kAll, ""};
      break;
    case v1::SuspensionTarget::TARGET_NOT_SET:
      break;
  }
  if (!translated.value.empty()) return translated;
  return MakeError(Reason::kInvalidArgument,
                   "say which registrations: one, those of a server or an owner, or all");
}

// A line for each registration by itself: what is changed stays changed, however the order ends.
std::function<void(const std::string&)> NoteEach(AuditLog& audit, const Caller& caller,
                                                 absl::string_view operation) {
  return [&audit, caller, operation](const std::string& id) {
    audit.Note(&caller, operation, id, absl::OkStatus());
  };
}

void NoteFailedOrder(AuditLog& audit, const Caller& caller, absl::string_view operation,
                     const absl::Status& outcome) {
  if (RegistrationStore::IsOut(outcome)) audit.Note(&caller, operation, "", outcome);
}

}  // namespace

grpc::ServerUnaryReactor* RegistrationService::SuspendRegistrations(
    grpc::CallbackServerContext* context, const v1::SuspendRegistrationsRequest* request,
    v1::SuspendRegistrationsResponse* response) {
  const absl::StatusOr<RegistrationTarget> target = FromProto(request->target());
  if (!target.ok()) return FinishNow(context, target.status());
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());
  auto call = PendingUnaryCall<v1::SuspendRegistrationsResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.suspender.Suspend(
      caller_, *target, request->why(),
      [call, caller = caller_, &audit = parts_.audit,
       slot = *std::move(slot)](absl::StatusOr<std::vector<std::string>> ids) mutable {
        slot.Release();
        NoteFailedOrder(audit, caller, kSuspendRegistrations, ids.status());
        call->Finish(ids.status(), [&](v1::SuspendRegistrationsResponse& answer) {
          answer.mutable_registration_ids()->Add(ids->begin(), ids->end());
        });
      },
      NoteEach(parts_.audit, caller_, kSuspendRegistrations));
  return call->reactor();
}

grpc::ServerUnaryReactor* RegistrationService::ResumeRegistrations(
    grpc::CallbackServerContext* context, const v1::ResumeRegistrationsRequest* request,
    v1::ResumeRegistrationsResponse* response) {
  const absl::StatusOr<RegistrationTarget> target = FromProto(request->target());
  if (!target.ok()) return FinishNow(context, target.status());
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());
  auto call = PendingUnaryCall<v1::ResumeRegistrationsResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.suspender.Resume(
      caller_, *target,
      [call, caller = caller_, &audit = parts_.audit,
       slot = *std::move(slot)](absl::StatusOr<RegistrationSuspender::Resumed> resumed) mutable {
        slot.Release();
        NoteFailedOrder(audit, caller, kResumeRegistrations, resumed.status());
        call->Finish(resumed.status(), [&](v1::ResumeRegistrationsResponse& answer) {
          answer.mutable_registration_ids()->Add(resumed->ids.begin(), resumed->ids.end());
          answer.mutable_still_suspended_ids()->Add(resumed->still_suspended.begin(),
                                                    resumed->still_suspended.end());
        });
      },
      NoteEach(parts_.audit, caller_, kResumeRegistrations));
  return call->reactor();
}

grpc::ServerUnaryReactor* RegistrationService::RotateKey(grpc::CallbackServerContext* context,
                                                         const v1::RotateKeyRequest* request,
                                                         v1::RotateKeyResponse*) {
  const absl::StatusOr<Snapshot> registration = parts_.access.Find(
      caller_, request->registration(), Operation::kManage, limits_->Admission(caller_));
  if (!registration.ok()) return FinishNow(context, registration.status());
  const auto algorithm = AlgorithmFromProto(request->algorithm());
  if (!algorithm.ok()) return FinishNow(context, algorithm.status());
  // What is suspended or being deleted cannot be renewed either.
  const absl::Status state = ServingGeneration(**registration).status();
  if (ReasonOf(state) == Reason::kSuspended || ReasonOf(state) == Reason::kDeleting) {
    return FinishNow(context, state);
  }
  // So far no registration has one: what a server's answer says of it is not kept.
  return FinishNow(context, MakeError(Reason::kRotationNeedsBrowser,
                                      "another key takes a login: no address is known at which "
                                      "the server lets a client replace its key (RFC 7592)"));
}

}  // namespace smartkey
