// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/admin_service.h"

#include <deque>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "daemon/enrollment/stray_keys.h"
#include "daemon/rpc/audit_stream.h"
#include "daemon/rpc/diagnostics.h"
#include "daemon/rpc/pending_call.h"
#include "daemon/rpc/pulled_stream_call.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/status_message.h"

namespace smartkey {

namespace {
constexpr absl::Duration kHardwareLimit = absl::Seconds(30);
constexpr absl::Duration kFilesLimit = absl::Seconds(30);
constexpr char kRemoveStrayKeys[] = "AdminService/RemoveStrayKeys";

void FillStoredKey(const StoredKey& key, v1::StoredKey* message) {
  message->set_label(Printable(key.label));
  message->set_registration_id(key.registration_id);
  message->set_generation(key.generation);
  message->set_stray(key.stray);
  message->set_id(key.id);
}

absl::optional<LogLevel> FromProto(v1::SetLogLevelRequest::Level level) {
  switch (level) {
    case v1::SetLogLevelRequest::LEVEL_ERROR:
      return LogLevel::kError;
    case v1::SetLogLevelRequest::LEVEL_WARNING:
      return LogLevel::kWarning;
    case v1::SetLogLevelRequest::LEVEL_INFO:
      return LogLevel::kInfo;
    case v1::SetLogLevelRequest::LEVEL_DEBUG:
      return LogLevel::kDebug;
    default:
      return absl::nullopt;
  }
}

v1::SetLogLevelRequest::Level ToProto(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return v1::SetLogLevelRequest::LEVEL_ERROR;
    case LogLevel::kWarning:
      return v1::SetLogLevelRequest::LEVEL_WARNING;
    case LogLevel::kInfo:
      return v1::SetLogLevelRequest::LEVEL_INFO;
    case LogLevel::kDebug:
      return v1::SetLogLevelRequest::LEVEL_DEBUG;
  }
  return v1::SetLogLevelRequest::LEVEL_UNSPECIFIED;
}
}  // namespace

grpc::ServerUnaryReactor* AdminService::GetStatus(grpc::CallbackServerContext* context,
                                                  const v1::GetStatusRequest*,
                                                  v1::GetStatusResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  FillStatus(parts_, response);
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerWriteReactor<v1::RunDiagnosticsResponse>* AdminService::RunDiagnostics(
    grpc::CallbackServerContext*, const v1::RunDiagnosticsRequest* request) {
  using Call = PulledStreamCall<v1::RunDiagnosticsResponse>;
  auto call = Call::Make();
  if (absl::Status status = CheckCaller(); !status.ok()) {
    call->Finish(status);
    return call->reactor();
  }
  struct Results {
    Mutex mu;
    std::deque<v1::RunDiagnosticsResponse> waiting ABSL_GUARDED_BY(mu);
    bool complete ABSL_GUARDED_BY(mu) = false;
  };
  auto results = std::make_shared<Results>();
  call->Start([results, weak = std::weak_ptr<Call>(
                            call)]() -> absl::StatusOr<absl::optional<v1::RunDiagnosticsResponse>> {
    MutexLock lock(results->mu);
    if (!results->waiting.empty()) {
      v1::RunDiagnosticsResponse next = std::move(results->waiting.front());
      results->waiting.pop_front();
      return absl::make_optional(std::move(next));
    }
    if (results->complete) {
      if (const auto live = weak.lock()) live->Finish(absl::OkStatus());
    }
    return absl::optional<v1::RunDiagnosticsResponse>();
  });
  const std::shared_ptr<Diagnostics> run = Diagnostics::Start(
      parts_, caller_, *request, [results, call](const v1::RunDiagnosticsResponse* result) {
        {
          MutexLock lock(results->mu);
          if (result != nullptr) {
            results->waiting.push_back(*result);
          } else {
            results->complete = true;
          }
        }
        call->Wake();
      });
  call->OnAbandon([run] { run->Stop(); });
  return call->reactor();
}

grpc::ServerWriteReactor<v1::ReadAuditLogResponse>* AdminService::ReadAuditLog(
    grpc::CallbackServerContext*, const v1::ReadAuditLogRequest* request) {
  return StreamAuditLog(parts_, caller_, *request);
}

grpc::ServerUnaryReactor* AdminService::GetMetrics(grpc::CallbackServerContext* context,
                                                   const v1::GetMetricsRequest*,
                                                   v1::GetMetricsResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  if (!parts_.info.metrics) return FailNotImplemented(context, "GetMetrics");
  response->set_text(parts_.info.metrics());
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::ReloadConfiguration(
    grpc::CallbackServerContext* context, const v1::ReloadConfigurationRequest*,
    v1::ReloadConfigurationResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  Log(LogLevel::kInfo, "a reload of the configuration is asked for", {{"uid", caller_.uid}});
  auto call = PendingUnaryCall<v1::ReloadConfigurationResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kFilesLimit));
  parts_.config.Reload(
      [call, caller = caller_, &audit = parts_.audit](absl::StatusOr<ConfigReload> reload) {
        audit.Note(&caller, "AdminService/ReloadConfiguration", "", reload.status());
        call->Finish(reload.status(), [&](v1::ReloadConfigurationResponse& answer) {
          for (std::string& change : reload->changes) answer.add_changes(std::move(change));
          for (std::string& key : reload->needs_restart) answer.add_needs_restart(std::move(key));
          for (const ConfigProblem& problem : reload->problems) {
            FillProblem(problem, /*file_disabled=*/true, answer.add_problems());
          }
        });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::SetLogLevel(grpc::CallbackServerContext* context,
                                                    const v1::SetLogLevelRequest* request,
                                                    v1::SetLogLevelResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  const absl::optional<LogLevel> level = FromProto(request->level());
  if (!level.has_value()) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                        "the level is none of error, warning, info and debug"));
  }
  response->set_previous(ToProto(GetLogLevel()));
  smartkey::SetLogLevel(*level);
  parts_.audit.Note(&caller_, "AdminService/SetLogLevel", "", absl::OkStatus(),
                    {{"level", v1::SetLogLevelRequest::Level_Name(request->level())}});
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* AdminService::ProvisionTpm(grpc::CallbackServerContext* context,
                                                     const v1::ProvisionTpmRequest* request,
                                                     v1::ProvisionTpmResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ProvisionTpmResponse>::Start(context, response, parts_.scheduler,
                                                                TimeLeft(*context, kHardwareLimit));
  const KeyService::OperationId id = parts_.keys.ProvisionParent(
      Secret::CopyOf(request->owner_password()),
      [call, caller = caller_, &audit = parts_.audit](absl::StatusOr<ProvisionedParent> parent) {
        audit.Note(&caller, "AdminService/ProvisionTpm", "", parent.status());
        call->Finish(parent.status(), [&](v1::ProvisionTpmResponse& answer) {
          answer.set_handle(parent->handle);
          answer.set_name(parent->name);
          answer.set_already_there(parent->already_there);
        });
      });
  call->OnAbandon([&keys = parts_.keys, id] { keys.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::ListStoredKeys(grpc::CallbackServerContext* context,
                                                       const v1::ListStoredKeysRequest*,
                                                       v1::ListStoredKeysResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  // Without the registrations every key would be called one that nobody needs.
  if (absl::Status status = parts_.store.availability(); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::ListStoredKeysResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kHardwareLimit));
  const KeyService::OperationId id = parts_.keys.ListKeys(
      [call, &store = parts_.store, &audit = parts_.audit](absl::StatusOr<KeyInventory> inventory) {
        call->Finish(inventory.status(), [&](v1::ListStoredKeysResponse& answer) {
          answer.set_of_other_instances(inventory->of_other_instances);
          for (const StoredKey& key : FindStrayKeys(*inventory, store.instance_id(), store.List(),
                                                    audit.condition().key)) {
            FillStoredKey(key, answer.add_keys());
          }
        });
      });
  call->OnAbandon([&keys = parts_.keys, id] { keys.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* AdminService::RemoveStrayKeys(grpc::CallbackServerContext* context,
                                                        const v1::RemoveStrayKeysRequest* request,
                                                        v1::RemoveStrayKeysResponse* response) {
  if (absl::Status status = CheckCaller(); !status.ok()) {
    return FinishNow(context, status);
  }
  if (request->all() != (request->ids_size() == 0)) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                        "say which stray keys: either their ids, or all"));
  }
  auto call = PendingUnaryCall<v1::RemoveStrayKeysResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kHardwareLimit));
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  call->OnAbandon([cancelled] { *cancelled = true; });
  Log(LogLevel::kInfo, "removing stray keys",
      {{"uid", caller_.uid},
       {"which", request->all() ? "all" : absl::StrCat(request->ids_size())}});
  smartkey::RemoveStrayKeys(
      parts_.keys, parts_.store, parts_.audit,
      {.all = request->all(), .ids = {request->ids().begin(), request->ids().end()}}, cancelled,
      // Each by itself: what is gone stays gone, however the order ends.
      [caller = caller_, &audit = parts_.audit](const StoredKey& key) {
        audit.Note(&caller, kRemoveStrayKeys, key.registration_id, absl::OkStatus(),
                   {{"label", Printable(key.label)}, {"id", absl::BytesToHexString(key.id)}});
      },
      [call, caller = caller_,
       &audit = parts_.audit](absl::StatusOr<std::vector<StoredKey>> removed) {
        if (!removed.ok()) {
          audit.Note(&caller, kRemoveStrayKeys, "", removed.status(), {});
        }
        call->Finish(removed.status(), [&](v1::RemoveStrayKeysResponse& answer) {
          for (const StoredKey& key : *removed) FillStoredKey(key, answer.add_keys());
        });
      });
  return call->reactor();
}

}  // namespace smartkey
