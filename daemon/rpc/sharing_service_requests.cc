// SPDX-License-Identifier: Apache-2.0
// SharingService: what users ask owners for, and what owners say to it.
#include <memory>
#include <string>
#include <utility>

#include "daemon/rpc/pulled_stream_call.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/share_terms.h"
#include "daemon/rpc/sharing_service.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr size_t kMostText = 512;

absl::StatusOr<AccessWish> WishFromProto(const v1::RequestAccessRequest& request) {
  AccessWish wish;
  wish.owner = request.owner();
  wish.registration = request.registration();
  wish.app = request.app();
  wish.fhir_base = request.fhir_base();
  if (wish.owner.empty()) {
    return MakeError(Reason::kInvalidArgument, "say whose registration is asked for");
  }
  if (wish.registration.empty() && (wish.app.empty() || wish.fhir_base.empty())) {
    return MakeError(Reason::kInvalidArgument,
                     "say which registration: its name, or the app and the FHIR base");
  }
  if (!wish.registration.empty() && !(wish.app.empty() && wish.fhir_base.empty())) {
    return MakeError(Reason::kInvalidArgument,
                     "a registration's name, or an app and a FHIR base, not both");
  }
  for (const std::string* text : {&wish.owner, &wish.registration, &wish.app, &wish.fhir_base}) {
    if (text->size() > kMostText) {
      return MakeError(Reason::kInvalidArgument, "names and addresses have at most 512 bytes");
    }
  }
  const absl::StatusOr<OperationSet> operations = OperationsFromProto(request.operations());
  if (!operations.ok()) return operations.status();
  wish.operations = *operations;
  if (wish.operations.empty()) wish.operations.Add(Operation::kToken);
  absl::StatusOr<ScopeSet> scopes = ScopesFromProto(request.scopes());
  if (!scopes.ok()) return scopes.status();
  wish.scopes = *std::move(scopes);
  if (wish.operations.Has(Operation::kAssertion) && !wish.scopes.empty()) {
    return MakeError(Reason::kInvalidArgument,
                     "client assertions give every scope: ask for them without a subset");
  }
  absl::StatusOr<std::string> reason = CleanReason(request.reason());
  if (!reason.ok()) return reason.status();
  wish.reason = Identifying(*std::move(reason));
  return wish;
}

v1::RequestAccessResponse ToProto(const AccessAnswer& answer) {
  v1::RequestAccessResponse response;
  response.set_request_id(answer.request_id);
  response.set_state(static_cast<v1::AccessRequest::State>(answer.state));
  response.set_registration_id(answer.registration_id);
  return response;
}

void Fill(const AccessRequest& request, v1::AccessRequest* message) {
  message->set_request_id(request.id);
  v1::Principal* principal = message->mutable_principal();
  principal->set_text(request.principal);
  principal->mutable_user()->set_uid(request.from.uid);
  principal->mutable_user()->set_name(request.from.user_name);
  message->set_registration_id(request.registration_id);
  for (const Operation one : request.operations.list()) message->add_operations(ToProto(one));
  for (const std::string& scope : request.scopes) message->add_scopes(scope);
  message->set_reason(request.reason.RevealIdentifying());
  SetTime(request.created_at, message, &v1::AccessRequest::mutable_created_at);
  SetTime(request.expires_at, message, &v1::AccessRequest::mutable_expires_at);
  message->set_state(v1::AccessRequest::PENDING);
}

}  // namespace

grpc::ServerWriteReactor<v1::RequestAccessResponse>* SharingService::RequestAccess(
    grpc::CallbackServerContext*, const v1::RequestAccessRequest* request) {
  using Call = PulledStreamCall<v1::RequestAccessResponse>;
  auto call = Call::Make();
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    call->Finish(status);
    return call->reactor();
  }
  absl::StatusOr<AccessWish> wish = WishFromProto(*request);
  if (const absl::Status kept = CheckKeptRequest(*request); !kept.ok()) wish = kept;
  if (!wish.ok()) {
    call->Finish(wish.status());
    return call->reactor();
  }
  const absl::StatusOr<AccessRequests::WatchId> watch =
      parts_.access_requests.Ask(caller_, *std::move(wish), [call] { call->Wake(); });
  if (!watch.ok()) {
    call->Finish(NotedIfTooMany(watch.status(), caller_, parts_.audit));
    return call->reactor();
  }
  call->OnAbandon([&requests = parts_.access_requests, id = *watch] { requests.Leave(id); });
  call->Start([&requests = parts_.access_requests, id = *watch, weak = std::weak_ptr<Call>(call)]()
                  -> absl::StatusOr<absl::optional<v1::RequestAccessResponse>> {
    const absl::StatusOr<absl::optional<AccessAnswer>> answer = requests.Next(id);
    if (!answer.ok()) return answer.status();
    if (!answer->has_value()) return absl::nullopt;
    if ((*answer)->state != AccessAnswer::State::kPending) {
      requests.Leave(id);
      if (const auto call = weak.lock()) call->Finish(absl::OkStatus());
    }
    return ToProto(**answer);
  });
  return call->reactor();
}

grpc::ServerUnaryReactor* SharingService::ListAccessRequests(
    grpc::CallbackServerContext* context, const v1::ListAccessRequestsRequest* request,
    v1::ListAccessRequestsResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  std::string only;
  if (!request->registration().empty()) {
    const absl::StatusOr<RegistrationStore::Snapshot> one =
        parts_.access.FindToRead(caller_, request->registration(), Operation::kManage);
    if (!one.ok()) return FinishNow(context, one.status());
    only = (*one)->id;
  }
  const std::vector<AccessRequest> requests = parts_.access_requests.List(caller_);
  if (requests.empty()) {
    // An empty list is to mean that there are none.
    if (absl::Status status = parts_.access.WhyNone(caller_, OperationName(Operation::kManage));
        !status.ok()) {
      return FinishNow(context, status);
    }
  }
  for (const AccessRequest& one : requests) {
    if (only.empty() || one.registration_id == only) Fill(one, response->add_requests());
  }
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* SharingService::ResolveAccessRequest(
    grpc::CallbackServerContext* context, const v1::ResolveAccessRequestRequest* request,
    v1::ResolveAccessRequestResponse* response) {
  using Request = v1::ResolveAccessRequestRequest;
  const Request::Decision decision = request->decision();
  const bool approve = decision == Request::APPROVE;
  if (!approve && decision != Request::DENY && decision != Request::DENY_ALWAYS) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument, "say APPROVE or DENY"));
  }
  absl::StatusOr<Share> terms = ShareTermsFromProto(*request, caller_, parts_.clock.Now());
  if (!terms.ok()) return FinishNow(context, terms.status());
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::ResolveAccessRequestResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  if (approve) {
    parts_.access_requests.Approve(
        caller_, request->request_id(), *std::move(terms),
        [call, caller = caller_, &audit = parts_.audit,
         slot = *std::move(slot)](absl::StatusOr<AccessRequests::Approval> made) mutable {
          slot.Release();
          if (made.ok()) {
            NoteShare(audit, "SharingService/ApproveAccessRequest", "request for access approved",
                      made->registration_id, made->share, caller);
          }
          call->Finish(made.status(), [&](v1::ResolveAccessRequestResponse& answer) {
            FillShare(made->share, answer.mutable_share());
          });
        });
  } else {
    parts_.access_requests.Deny(
        caller_, request->request_id(), decision == Request::DENY_ALWAYS,
        [call, caller = caller_, &audit = parts_.audit, slot = *std::move(slot),
         id = request->request_id()](absl::StatusOr<AccessRequest> denied) mutable {
          slot.Release();
          if (denied.ok()) {
            Share nothing;
            nothing.principal = denied->principal;
            nothing.uid = denied->from.uid;
            NoteShare(audit, "SharingService/DenyAccessRequest", "request for access denied",
                      denied->registration_id, nothing, caller);
          }
          call->Finish(denied.status(), [](v1::ResolveAccessRequestResponse&) {});
        });
  }
  return call->reactor();
}

}  // namespace smartkey
