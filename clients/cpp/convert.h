// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "smartkey/admin_client.h"
#include "smartkey/types.h"
#include "smartkey/v1/admin.pb.h"
#include "smartkey/v1/enrollment.pb.h"
#include "smartkey/v1/registration.pb.h"
#include "smartkey/v1/server_info.pb.h"
#include "smartkey/v1/sharing.pb.h"
#include "smartkey/v1/signing.pb.h"
#include "smartkey/v1/token.pb.h"

// Messages of the proto to the structs of the public headers, field by field. Pure.
namespace smartkey::client {

Registration FromProto(const v1::Registration& in);
Share FromProto(const v1::Share& in);
AccessRequest FromProto(const v1::AccessRequest& in);
AccessAnswer FromProto(const v1::RequestAccessResponse& in);
AccessExplanation FromProto(const v1::ExplainAccessResponse& in);
BegunEnrollment FromProto(const v1::BeginEnrollmentResponse& in);
EnrollmentProgress FromProto(const v1::WatchEnrollmentResponse& in);
Deletion FromProto(const v1::DeleteRegistrationResponse& in);
Jwks FromProto(const v1::GetJwksResponse& in);
Server FromProto(const v1::Server& in);
App FromProto(const v1::App& in);
Hardware FromProto(const v1::Hardware& in);
DaemonInfo FromProto(const v1::GetServerInfoResponse& in);
DaemonStatus FromProto(const v1::GetStatusResponse& in);
RegistrationEvent FromProto(const v1::WatchRegistrationsResponse& in);
StoreCopy FromProto(const v1::StoreCopy& in);
ConfigProblem FromProto(const v1::ConfigProblem& in);
ConfigReload FromProto(const v1::ReloadConfigurationResponse& in);

AuditEntry FromProto(const v1::AuditEntry& in);
AuditVerification FromProto(const v1::ReadAuditLogResponse& in);
DiagnosticResult FromProto(const v1::RunDiagnosticsResponse& in);

google::protobuf::Duration ToProto(absl::Duration in);

// These two take the secret out of the message and leave no copy in it.
AccessToken TakeFromProto(v1::GetAccessTokenResponse& in);
ClientAssertion TakeFromProto(v1::SignClientAssertionResponse& in);

}  // namespace smartkey::client
