// SPDX-License-Identifier: Apache-2.0
// RegistrationService.WatchRegistrations: a stream that takes one event of the feed after the
// other, at its reader's pace.
#include <memory>
#include <string>
#include <utility>

#include "daemon/rpc/audit_stream.h"
#include "daemon/rpc/pulled_stream_call.h"
#include "daemon/rpc/registration_filter.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/registration_service.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

using Response = v1::WatchRegistrationsResponse;
using Snapshot = RegistrationStore::Snapshot;

Response ToProto(const RegistrationEvent& event, const Caller& caller, const ServiceParts& parts) {
  Response response;
  response.set_event(static_cast<Response::Event>(event.kind));
  response.set_ending_days(event.ending_days);
  if (event.registration != nullptr) {
    FillRegistration(*event.registration, caller, parts.access, parts.standings,
                     response.mutable_registration());
  } else if (!event.id.empty()) {
    response.mutable_registration()->set_id(event.id);
  }
  return response;
}

}  // namespace

grpc::ServerWriteReactor<Response>* RegistrationService::WatchRegistrations(
    grpc::CallbackServerContext*, const v1::WatchRegistrationsRequest* request) {
  auto call = PulledStreamCall<Response>::Make();
  if (const absl::Status kept = CheckKeptRequest(*request); !kept.ok()) {
    call->Finish(kept);
    return call->reactor();
  }
  // By its id from here on: a name may go to another one.
  std::string only;
  if (!request->registration().empty()) {
    absl::StatusOr<Snapshot> one = parts_.access.Find(caller_, request->registration(),
                                                      Operation::kSee, limits_->Admission(caller_));
    if (!one.ok()) {
      call->Finish(one.status());
      return call->reactor();
    }
    only = (*one)->id;
  }
  const absl::StatusOr<RegistrationFeed::WatchId> watch = parts_.feed.Watch(
      caller_,
      [only, filter = request->filter(),
       &standings = parts_.standings](const Registration& registration) {
        return (only.empty() || registration.id == only) &&
               FitsFilter(registration, filter, standings);
      },
      [call] { call->Wake(); });
  if (!watch.ok()) {
    call->Finish(NotedIfTooMany(watch.status(), caller_, parts_.audit));
    return call->reactor();
  }
  call->OnAbandon([&feed = parts_.feed, id = *watch] { feed.Unwatch(id); });
  call->Start([&parts = parts_, caller = caller_, id = *watch, only_one = !only.empty(),
               seen = false, weak = std::weak_ptr<PulledStreamCall<Response>>(call)]() mutable
              -> absl::StatusOr<absl::optional<Response>> {
    absl::StatusOr<absl::optional<RegistrationEvent>> event = parts.feed.Next(id);
    if (!event.ok()) return event.status();
    if (!event->has_value()) return absl::nullopt;
    const RegistrationEvent::Kind kind = (*event)->kind;
    seen = seen || kind == RegistrationEvent::Kind::kCurrent;
    if (only_one && kind == RegistrationEvent::Kind::kSynced && !seen) {
      parts.feed.Unwatch(id);
      return RegistrationNotFound();  // gone since it was looked up
    }
    if (only_one && kind == RegistrationEvent::Kind::kRemoved) {
      parts.feed.Unwatch(id);
      if (const auto call = weak.lock()) call->Finish(absl::OkStatus());
    }
    return ToProto(**event, caller, parts);
  });
  return call->reactor();
}

grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* RegistrationService::ReadAuditLog(
    grpc::CallbackServerContext*, const v1::ReadAuditLogRequest* request) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    auto call = PulledStreamCall<v1::ReadAuditLogResponse>::Make();
    call->Finish(status);
    return call->reactor();
  }
  return StreamAuditLog(parts_, caller_, *request);
}

}  // namespace smartkey
