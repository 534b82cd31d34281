// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/error.h"
#include "base/mutex.h"
#include "grpcpp/server.h"
#include "grpcpp/support/status.h"
#include "smartkey/v1/admin.grpc.pb.h"
#include "smartkey/v1/enrollment.grpc.pb.h"
#include "smartkey/v1/registration.grpc.pb.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "smartkey/v1/sharing.grpc.pb.h"
#include "smartkey/v1/signing.grpc.pb.h"
#include "smartkey/v1/token.grpc.pb.h"

namespace smartkey {

// An error as smartkeyd puts it on the wire (docs of proto/smartkey/v1/error.proto).
grpc::Status WireError(const absl::Status& error);
grpc::Status WireError(Reason reason);

// What a client library speaks to in tests: the services of smartkey.v1 on a real unix socket, with
// one registration `mercy` of one app at one server, and no hardware, HTTP or rules behind them.
// Knows every other registration as not found. Thread-safe.
class FakeDaemon {
 public:
  static constexpr char kToken[] = "fake-access-token-7f3a";
  static constexpr char kAssertion[] = "fake.client.assertion-7f3a";

  // The socket is made at `path`, whose directory must exist.
  explicit FakeDaemon(std::string path);
  ~FakeDaemon();

  const std::string& path() const { return path_; }

  // Every call is refused with this from now on; OK: is answered.
  void FailWith(grpc::Status status);
  // Calls wait for their cancellation or deadline.
  void Hang();
  // Changes the answer about the registration, the status or the token, before it is sent.
  void EditRegistration(std::function<void(v1::Registration&)> edit);
  void EditStatus(std::function<void(v1::GetStatusResponse&)> edit);
  // Calls of one method are refused with this from now on, while all else is answered.
  void FailCallsOf(const std::string& method, grpc::Status status);
  // What reloads answer.
  void SetReload(v1::ReloadConfigurationResponse reload);
  // What a check of the audit log finds.
  void SetVerification(v1::ReadAuditLogResponse found);
  void EditToken(std::function<void(v1::GetAccessTokenResponse&)> edit);
  void SetRedirectUri(std::string registered);
  // How requests for access end.
  void Decide(v1::AccessRequest::State decision);

  // What was received: names of methods in order, and the last request of a kind.
  std::vector<std::string> calls() const;
  v1::BeginEnrollmentRequest begin() const;
  v1::CompleteEnrollmentRequest complete() const;
  v1::EnrollWithInitialTokenRequest with_token() const;
  v1::GetAccessTokenRequest token_request() const;
  v1::ReportRejectedTokenRequest rejected() const;
  v1::UpdateRegistrationRequest update() const;
  v1::ListRegistrationsRequest list() const;
  v1::SuspendRegistrationsRequest suspend() const;
  v1::ShareRegistrationRequest share() const;
  v1::UnshareRegistrationRequest unshare() const;
  v1::ExplainAccessRequest explain() const;
  v1::RequestAccessRequest request_access() const;
  v1::ResolveAccessRequestRequest resolve() const;
  v1::ResumeRegistrationsRequest resume() const;
  v1::RotateKeyRequest rotate() const;
  v1::WatchRegistrationsRequest watch() const;
  v1::ProvisionTpmRequest provision() const;

  // False if it was not received within ten seconds.
  bool WaitForCall(const std::string& method) const;

 private:
  struct Services;

  const std::string path_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace smartkey
