// SPDX-License-Identifier: Apache-2.0
// What AdminService says and does about the database.
#include <utility>

#include "base/log.h"
#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/status_message.h"

namespace smartkey {
namespace {

// Reading, checking and writing a few thousand registrations on a slow disk. What takes longer is
// done all the same.
constexpr absl::Duration kDiskLimit = absl::Seconds(60);

// Who it was: the store itself knows no callers.
void NoteOrder(AuditLog& audit, absl::string_view operation, absl::string_view what,
               const Caller& caller, const absl::Status& outcome) {
  audit.Note(&caller, operation, "", outcome);
  if (outcome.ok()) {
    Log(LogLevel::kInfo, what, {{"uid", caller.uid}, {"outcome", "done"}});
  } else {
    Log(LogLevel::kWarning, what,
        {{"uid", caller.uid}, {"outcome", "refused"}, {"error", Printable(outcome.message())}});
  }
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::RecoverStore(grpc::CallbackServerContext* context,
                                                     const v1::RecoverStoreRequest* request,
                                                     v1::RecoverStoreResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::RecoverStoreResponse>::Start(context, response, parts_.scheduler,
                                                                TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Recover(request->copy(), [call, caller = caller_, &audit = parts_.audit](
                                                  absl::StatusOr<StoreRecovery> recovery) {
    NoteOrder(audit, "AdminService/RecoverStore", "an administrator has the store recovered",
              caller, recovery.status());
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
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ResetStoreResponse>::Start(context, response, parts_.scheduler,
                                                              TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Reset(
      [call, caller = caller_, &audit = parts_.audit](absl::StatusOr<std::string> folder) {
        NoteOrder(audit, "AdminService/ResetStore", "an administrator has the store reset", caller,
                  folder.status());
        call->Finish(folder.status(),
                     [&](v1::ResetStoreResponse& answer) { answer.set_set_aside(*folder); });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::AdoptStore(grpc::CallbackServerContext* context,
                                                   const v1::AdoptStoreRequest*,
                                                   v1::AdoptStoreResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::AdoptStoreResponse>::Start(context, response, parts_.scheduler,
                                                              TimeLeft(*context, kDiskLimit));
  parts_.maintenance.Adopt([call, caller = caller_, &audit = parts_.audit](absl::Status status) {
    NoteOrder(audit, "AdminService/AdoptStore", "an administrator has the store adopted", caller,
              status);
    call->Finish(std::move(status), [](v1::AdoptStoreResponse&) {});
  });
  return call->reactor();
}

}  // namespace smartkey
