// SPDX-License-Identifier: Apache-2.0
// What AdminService says and does about the database.
#include <utility>

#include "base/log.h"
#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

// Reading, checking and writing a few thousand registrations on a slow disk. What takes longer is
// done all the same.
constexpr absl::Duration kDiskLimit = absl::Seconds(60);

void FillCopy(const StoreCopy& copy, v1::StoreCopy* message) {
  message->set_file(copy.file);
  SetTime(copy.made_at, message, &v1::StoreCopy::mutable_made_at);
}

// Who it was: the store itself knows no callers.
void LogOrder(absl::string_view what, const Caller& caller, const absl::Status& outcome) {
  if (outcome.ok()) {
    Log(LogLevel::kInfo, what, {{"uid", caller.uid}, {"outcome", "done"}});
  } else {
    Log(LogLevel::kWarning, what,
        {{"uid", caller.uid}, {"outcome", "refused"}, {"error", Printable(outcome.message())}});
  }
}

}  // namespace

void AdminService::FillStore(v1::StoreStatus* response) const {
  const absl::Status health = parts_.store.health();
  response->set_available(health.ok());
  if (!health.ok()) {
    *response->mutable_cause() = ToErrorDetail(health);
    response->set_problem(Printable(health.message()));
  }
  response->set_unsaved_changes(static_cast<uint32_t>(parts_.enrollments.unsaved()));
  const StoreCondition condition = parts_.maintenance.condition();
  response->set_schema_version(static_cast<uint32_t>(condition.schema_version));
  for (const StoreCopy& copy : condition.copies) FillCopy(copy, response->add_copies());
  if (!condition.copying.ok()) {
    *response->mutable_copying_error() = ToErrorDetail(condition.copying);
  }
  for (const std::string& folder : condition.set_aside) response->add_set_aside(folder);
  response->set_of_another_machine(condition.of_another_machine);
}

grpc::ServerUnaryReactor* AdminService::RecoverStore(grpc::CallbackServerContext* context,
                                                     const v1::RecoverStoreRequest* request,
                                                     v1::RecoverStoreResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::RecoverStoreResponse>::Start(context, response, parts_.scheduler,
                                                                TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Recover(
      request->copy(), [call, caller = caller_](absl::StatusOr<StoreRecovery> recovery) {
        LogOrder("an administrator has the store recovered", caller, recovery.status());
        call->Finish(recovery.status(), [&](v1::RecoverStoreResponse& answer) {
          answer.set_from_memory(static_cast<uint32_t>(recovery->from_memory));
          answer.set_from_damaged_file(static_cast<uint32_t>(recovery->from_damaged_file));
          answer.set_from_copy(static_cast<uint32_t>(recovery->from_copy));
          if (!recovery->copy.file.empty()) FillCopy(recovery->copy, answer.mutable_copy());
          answer.set_incomplete(recovery->incomplete);
          answer.set_set_aside(recovery->set_aside);
        });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::ResetStore(grpc::CallbackServerContext* context,
                                                   const v1::ResetStoreRequest*,
                                                   v1::ResetStoreResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ResetStoreResponse>::Start(context, response, parts_.scheduler,
                                                              TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Reset([call, caller = caller_](absl::StatusOr<std::string> folder) {
    LogOrder("an administrator has the store reset", caller, folder.status());
    call->Finish(folder.status(),
                 [&](v1::ResetStoreResponse& answer) { answer.set_set_aside(*folder); });
  });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::AdoptStore(grpc::CallbackServerContext* context,
                                                   const v1::AdoptStoreRequest*,
                                                   v1::AdoptStoreResponse* response) {
  if (absl::Status status = parts_.access.CheckCaller(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::AdoptStoreResponse>::Start(context, response, parts_.scheduler,
                                                              TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Adopt([call, caller = caller_](absl::Status status) {
    LogOrder("an administrator has the store adopted", caller, status);
    call->Finish(std::move(status), [](v1::AdoptStoreResponse&) {});
  });
  return call->reactor();
}

}  // namespace smartkey
