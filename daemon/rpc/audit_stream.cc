// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/audit_stream.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/mutex.h"
#include "base/random.h"
#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/pulled_stream_call.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

using Response = v1::ReadAuditLogResponse;
using Call = PulledStreamCall<Response>;

void Fill(const AuditEntry::User& user, v1::User* message) {
  message->set_uid(user.uid);
  message->set_name(user.name);
}

Response ToProto(const AuditEntry& entry) {
  Response response;
  v1::AuditEntry* message = response.mutable_entry();
  message->set_sequence(entry.sequence);
  SetTime(entry.time, message, &v1::AuditEntry::mutable_time);
  if (entry.user.has_value()) Fill(*entry.user, message->mutable_user());
  if (entry.login.has_value()) Fill(*entry.login, message->mutable_login());
  message->set_pid(entry.pid);
  message->set_unit(entry.unit);
  message->set_executable(entry.executable);
  message->set_admin(entry.admin);
  message->set_operation(entry.operation);
  message->set_registration_id(entry.registration_id);
  message->set_outcome(static_cast<v1::ErrorDetail::Reason>(entry.outcome));
  message->set_repeats(entry.repeats);
  for (const auto& [name, value] : entry.facts) (*message->mutable_facts())[name] = value;
  message->set_hash(entry.hash);
  return response;
}

Response ToProto(const AuditVerification& found) {
  Response response;
  response.set_verified_entries(found.entries);
  if (found.first_broken.has_value()) response.set_first_broken(*found.first_broken);
  v1::AuditVerification* message = response.mutable_verification();
  message->set_first_sequence(found.first_sequence);
  message->set_head(found.head.ToString());
  message->set_signed_checkpoints(found.signed_checkpoints);
  message->set_unsigned_checkpoints(found.unsigned_checkpoints);
  message->set_signed_sequence(found.signed_sequence);
  message->mutable_key_thumbprints()->Add(found.key_thumbprints.begin(),
                                          found.key_thumbprints.end());
  message->set_anchored_sequence(found.anchored_sequence);
  message->mutable_problems()->Add(found.problems.begin(), found.problems.end());
  return response;
}

// What comes of a check, until the call takes it.
struct Outcome {
  std::atomic<bool> given_up{false};  // by the caller
  Mutex mu;
  absl::optional<absl::StatusOr<AuditVerification>> found ABSL_GUARDED_BY(mu);
  bool told ABSL_GUARDED_BY(mu) = false;
};

void Verify(const ServiceParts& parts, const v1::ReadAuditLogRequest& request,
            const std::shared_ptr<Call>& call) {
  absl::optional<AuditHead> anchor;
  if (!request.anchor().empty()) {
    anchor = AuditHead::Parse(request.anchor());
    if (!anchor.has_value()) {
      return call->Finish(MakeError(Reason::kInvalidArgument,
                                    "an anchor is a number, a colon and 64 hexadecimal digits"));
    }
  }
  auto outcome = std::make_shared<Outcome>();
  call->Start(
      [outcome, weak = std::weak_ptr<Call>(call)]() -> absl::StatusOr<absl::optional<Response>> {
        MutexLock lock(outcome->mu);
        if (!outcome->found.has_value()) return absl::optional<Response>();
        if (!outcome->found->ok()) return outcome->found->status();
        if (std::exchange(outcome->told, true)) {
          if (const auto live = weak.lock()) live->Finish(absl::OkStatus());
          return absl::optional<Response>();
        }
        return absl::make_optional(ToProto(**outcome->found));
      });
  call->OnAbandon([outcome] { outcome->given_up = true; });
  parts.audit.Verify(
      std::move(anchor), [outcome] { return !outcome->given_up; },
      [call, outcome](absl::StatusOr<AuditVerification> found) {
        {
          MutexLock lock(outcome->mu);
          outcome->found = std::move(found);
        }
        call->Wake();
      });
}

void Read(const ServiceParts& parts, const Caller& caller, const v1::ReadAuditLogRequest& request,
          const std::shared_ptr<Call>& call) {
  AuditLog::Query query;
  query.follow = request.follow();
  query.administrator = caller.admin;
  query.uid = caller.uid;
  if (request.has_since()) {
    query.since = absl::FromUnixSeconds(request.since().seconds()) +
                  absl::Nanoseconds(request.since().nanos());
  }
  std::string only = request.registration_id();
  if (!only.empty()) {
    const absl::StatusOr<RegistrationStore::Snapshot> found =
        parts.access.FindToRead(caller, only, Operation::kManage);
    // An administrator may also name one that is no more, by its id.
    const bool may_be_gone =
        caller.admin && IsId(only) && ReasonOf(found.status()) == Reason::kRegistrationNotFound;
    if (!found.ok() && !may_be_gone) return call->Finish(found.status());
    if (found.ok()) only = (*found)->id;
  }
  query.registration_id = only;
  query.wanted = [only, caller, &access = parts.access,
                  &store = parts.store](const AuditEntry& entry) {
    if (!only.empty() && entry.registration_id != only) return false;
    if (caller.admin) return true;
    if (entry.registration_id.empty()) return false;
    // Each time anew: his right may end while he reads.
    const RegistrationStore::Snapshot registration = store.Find(entry.registration_id);
    return registration != nullptr &&
           access.RightTo(caller, *registration).operations.Has(Operation::kManage);
  };
  const absl::StatusOr<std::shared_ptr<AuditLog::Reading>> opened =
      parts.audit.Read(std::move(query), [weak = std::weak_ptr<Call>(call)] {
        if (const auto live = weak.lock()) live->Wake();
      });
  if (!opened.ok()) return call->Finish(NotedIfTooMany(opened.status(), caller, parts.audit));
  const std::shared_ptr<AuditLog::Reading> reading = *opened;
  call->OnAbandon([reading] { reading->Stop(); });
  call->Start(
      [reading, weak = std::weak_ptr<Call>(call)]() -> absl::StatusOr<absl::optional<Response>> {
        const absl::StatusOr<absl::optional<AuditEntry>> entry = reading->Next();
        if (ReasonOf(entry.status()) == Reason::kCancelled) {
          if (const auto live = weak.lock()) live->Finish(absl::OkStatus());
          return absl::optional<Response>();
        }
        if (!entry.ok()) return entry.status();
        if (!entry->has_value()) return absl::optional<Response>();
        return absl::make_optional(ToProto(**entry));
      });
}

}  // namespace

grpc::ServerWriteReactor<Response>* StreamAuditLog(const ServiceParts& parts, const Caller& caller,
                                                   const v1::ReadAuditLogRequest& request) {
  auto call = Call::Make();
  if (absl::Status status = parts.access.CheckCaller(caller, "see"); !status.ok()) {
    call->Finish(status);
  } else if (request.verify() && !caller.admin) {
    const absl::Status refusal =
        WithRemedy(MakeError(Reason::kNotPermitted,
                             "the chain of the audit log is an administrator's to check"),
                   "as root: 'smartkeyctl audit --verify'");
    call->Finish(parts.access.Noted(refusal, caller, "manage", ""));
  } else if (request.verify()) {
    Verify(parts, request, call);
  } else {
    Read(parts, caller, request, call);
  }
  return call->reactor();
}

}  // namespace smartkey
