// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/registration_service.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "daemon/model/registration_name.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);
constexpr size_t kMaxPage = 1000;

using Snapshot = RegistrationStore::Snapshot;

bool Fits(const Registration& registration, const v1::RegistrationFilter& filter) {
  const auto& states = filter.states();
  const auto state = static_cast<int>(registration.state());
  return (filter.app().empty() || registration.app_id == filter.app()) &&
         (filter.fhir_base().empty() || absl::StripSuffix(registration.fhir_base, "/") ==
                                            absl::StripSuffix(filter.fhir_base(), "/")) &&
         (states.empty() || std::find(states.begin(), states.end(), state) != states.end()) &&
         (filter.server().empty() || registration.server_name == filter.server()) &&
         (filter.owner().empty() || registration.owner_name == filter.owner() ||
          absl::StrCat("uid:", registration.owner_uid) == filter.owner());
}

bool ByOwnerThenName(const Snapshot& a, const Snapshot& b) {
  return std::tie(a->owner_name, a->owner_uid, a->name.RevealIdentifying(), a->id) <
         std::tie(b->owner_name, b->owner_uid, b->name.RevealIdentifying(), b->id);
}

absl::Status CheckUpdate(const v1::UpdateRegistrationRequest& request) {
  if (request.has_shares_only() || request.has_context_varies() || request.has_access_for() ||
      request.add_jwt_audiences_size() > 0 || request.remove_jwt_audiences_size() > 0 ||
      request.has_owner()) {
    return NotImplemented("changing more than name and label");
  }
  if (request.has_name()) {
    if (absl::Status status = CheckName(request.name()); !status.ok()) return status;
  }
  return request.has_label() ? CheckLabel(request.label()) : absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* RegistrationService::ListRegistrations(
    grpc::CallbackServerContext* context, const v1::ListRegistrationsRequest* request,
    v1::ListRegistrationsResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  std::vector<Snapshot> all = parts_.access.List(caller_);
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const Snapshot& one) { return !Fits(*one, request->filter()); }),
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
    FillRegistration(*all[i], caller_, response->add_registrations());
  }
  if (end < all.size()) response->set_next_page_token(all[end - 1]->id);
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* RegistrationService::GetRegistration(
    grpc::CallbackServerContext* context, const v1::GetRegistrationRequest* request,
    v1::GetRegistrationResponse* response) {
  absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kSee);
  if (!registration.ok()) return FinishNow(context, registration.status());
  FillRegistration(**registration, caller_, response->mutable_registration());
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* RegistrationService::UpdateRegistration(
    grpc::CallbackServerContext* context, const v1::UpdateRegistrationRequest* request,
    v1::UpdateRegistrationResponse* response) {
  // Who may is asked first: what is wrong with a change is nobody else's business.
  absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kManage);
  if (!registration.ok()) return FinishNow(context, registration.status());
  if (absl::Status status = CheckUpdate(*request); !status.ok()) return FinishNow(context, status);
  absl::StatusOr<WriteLimiter::Slot> slot = writes_->Take(caller_.uid);
  if (!slot.ok()) return FinishNow(context, slot.status());

  absl::optional<Identifying> name, label;
  if (request->has_name()) name.emplace(request->name());
  if (request->has_label()) label.emplace(request->label());
  auto call = PendingUnaryCall<v1::UpdateRegistrationResponse>::Start(response, parts_.scheduler,
                                                                      TimeLeft(*context, kLimit));
  parts_.store.Update(
      (*registration)->id,
      [name, label](Registration& changed) {
        if (name.has_value()) changed.name = *name;
        if (label.has_value()) changed.label = *label;
        return absl::OkStatus();
      },
      [call, caller = caller_, slot = *std::move(slot)](absl::StatusOr<Snapshot> updated) mutable {
        slot.Release();
        call->Finish(updated.status(), [&](v1::UpdateRegistrationResponse& answer) {
          FillRegistration(**updated, caller, answer.mutable_registration());
        });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* RegistrationService::DeleteRegistration(
    grpc::CallbackServerContext* context, const v1::DeleteRegistrationRequest* request,
    v1::DeleteRegistrationResponse* response) {
  absl::StatusOr<Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kManage);
  if (!registration.ok()) return FinishNow(context, registration.status());
  absl::StatusOr<WriteLimiter::Slot> slot = writes_->Take(caller_.uid);
  if (!slot.ok()) return FinishNow(context, slot.status());

  const std::vector<Generation>& generations = (*registration)->generations;
  const bool known_there =
      std::any_of(generations.begin(), generations.end(), [](const Generation& one) {
        return !one.client_id.empty() || one.state == GenerationState::kOrphaned;
      });
  const std::string id = (*registration)->id;
  auto call = PendingUnaryCall<v1::DeleteRegistrationResponse>::Start(response, parts_.scheduler,
                                                                      TimeLeft(*context, kLimit));
  parts_.remover.Remove(id, [call, id, known_there, slot = *std::move(slot)](
                                absl::StatusOr<RegistrationRemover::Removed> removed) mutable {
    slot.Release();
    call->Finish(removed.status(), [&](v1::DeleteRegistrationResponse& answer) {
      answer.set_registration_id(id);
      answer.set_server_may_still_list(known_there);
      answer.set_management_url(removed->management_endpoint);
      answer.set_key_destroyed(removed->keys_destroyed);
      answer.set_tokens_revoked(removed->tokens_revoked);
    });
  });
  return call->reactor();
}

grpc::ServerWriteReactor<v1::WatchRegistrationsResponse>* RegistrationService::WatchRegistrations(
    grpc::CallbackServerContext*, const v1::WatchRegistrationsRequest*) {
  return FailStreamNotImplemented<v1::WatchRegistrationsResponse>("WatchRegistrations");
}

grpc::ServerUnaryReactor* RegistrationService::RotateKey(grpc::CallbackServerContext* context,
                                                         const v1::RotateKeyRequest*,
                                                         v1::RotateKeyResponse*) {
  return FailNotImplemented(context, "RotateKey");
}

grpc::ServerUnaryReactor* RegistrationService::GetKeyAttestation(
    grpc::CallbackServerContext* context, const v1::GetKeyAttestationRequest*,
    v1::GetKeyAttestationResponse*) {
  return FailNotImplemented(context, "GetKeyAttestation");
}

grpc::ServerUnaryReactor* RegistrationService::SuspendRegistrations(
    grpc::CallbackServerContext* context, const v1::SuspendRegistrationsRequest*,
    v1::SuspendRegistrationsResponse*) {
  return FailNotImplemented(context, "SuspendRegistrations");
}

grpc::ServerUnaryReactor* RegistrationService::ResumeRegistrations(
    grpc::CallbackServerContext* context, const v1::ResumeRegistrationsRequest*,
    v1::ResumeRegistrationsResponse*) {
  return FailNotImplemented(context, "ResumeRegistrations");
}

}  // namespace smartkey
