// SPDX-License-Identifier: Apache-2.0
// What Client and AdminClient do with the audit log, the metrics and the diagnostics.
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "clients/cpp/server_stream.h"
#include "smartkey/admin_client.h"
#include "smartkey/v1/admin.grpc.pb.h"
#include "smartkey/v1/registration.grpc.pb.h"

namespace smartkey::client {
namespace {

constexpr absl::Duration kCheckCall = absl::Minutes(10);
constexpr char kLevelPrefix[] = "LEVEL_";

}  // namespace

struct AuditStream::Rep {
  ServerStream<v1::RegistrationService::Stub, v1::ReadAuditLogResponse> stream;
};

AuditStream::AuditStream(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
AuditStream::~AuditStream() = default;

absl::StatusOr<absl::optional<AuditEntry>> AuditStream::Next() {
  const auto response = rep_->stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return absl::nullopt;
  return FromProto((*response)->entry());
}

void AuditStream::Cancel() {
  rep_->stream.Cancel();
}

absl::StatusOr<std::unique_ptr<AuditStream>> Client::ReadAuditLog(const AuditQuery& query,
                                                                  CallOptions options) {
  v1::ReadAuditLogRequest request;
  request.set_follow(query.follow);
  request.set_registration_id(query.registration);
  if (query.since.has_value())
    request.mutable_since()->set_seconds(absl::ToUnixSeconds(*query.since));
  return std::make_unique<AuditStream>(std::unique_ptr<AuditStream::Rep>(new AuditStream::Rep{
      {*channel_, v1::RegistrationService::NewStub(channel_->grpc()),
       &v1::RegistrationService::Stub::ReadAuditLog, request, options.timeout}}));
}

absl::StatusOr<AuditVerification> AdminClient::VerifyAuditLog(const std::string& anchor,
                                                              CallOptions options) {
  v1::ReadAuditLogRequest request;
  request.set_verify(true);
  request.set_anchor(anchor);
  ServerStream<v1::AdminService::Stub, v1::ReadAuditLogResponse> stream(
      channel(), v1::AdminService::NewStub(channel().grpc()), &v1::AdminService::Stub::ReadAuditLog,
      request, options.timeout.value_or(kCheckCall));
  const auto response = stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return MakeError(Reason::kInternal, "smartkeyd gave no outcome");
  return FromProto(**response);
}

absl::Status AdminClient::RunDiagnostics(const std::string& area, const std::string& server,
                                         const std::function<void(const DiagnosticResult&)>& tell,
                                         CallOptions options) {
  v1::RunDiagnosticsRequest request;
  request.set_area(area);
  request.set_server(server);
  ServerStream<v1::AdminService::Stub, v1::RunDiagnosticsResponse> stream(
      channel(), v1::AdminService::NewStub(channel().grpc()),
      &v1::AdminService::Stub::RunDiagnostics, request, options.timeout.value_or(kCheckCall));
  for (;;) {
    const auto response = stream.Next();
    if (!response.ok()) return response.status();
    if (!response->has_value()) return absl::OkStatus();
    tell(FromProto(**response));
  }
}

absl::StatusOr<std::string> AdminClient::GetMetrics(CallOptions options) {
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::GetMetrics, v1::GetMetricsRequest(),
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return response->text();
}

absl::StatusOr<std::string> AdminClient::SetLogLevel(const std::string& level,
                                                     CallOptions options) {
  v1::SetLogLevelRequest request;
  v1::SetLogLevelRequest::Level parsed;
  if (!v1::SetLogLevelRequest::Level_Parse(absl::StrCat(kLevelPrefix, absl::AsciiStrToUpper(level)),
                                           &parsed)) {
    return MakeError(Reason::kInvalidArgument,
                     "the level is none of error, warning, info and debug");
  }
  request.set_level(parsed);
  auto response = channel().Call(v1::AdminService::NewStub(channel().grpc()),
                                 &v1::AdminService::Stub::SetLogLevel, request,
                                 options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  const std::string name = v1::SetLogLevelRequest::Level_Name(response->previous());
  return absl::AsciiStrToLower(absl::StripPrefix(name, kLevelPrefix));
}

}  // namespace smartkey::client
