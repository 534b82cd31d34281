// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/token.grpc.pb.h"

namespace smartkey {

// smartkey.v1.TokenService for one caller. Every call asks AccessPolicy before it asks for a token,
// cached or not, and again before one is handed out. A cached token is not counted, unless others'
// registrations must be looked through to find which one is meant; a token that is reported as
// rejected is. Thread-safe.
class TokenService final : public v1::TokenService::CallbackService {
 public:
  // `limits` is shared by all connections of the socket.
  TokenService(const ServiceParts& parts, const Caller& caller, std::shared_ptr<CallLimiter> limits)
      : parts_(parts), caller_(caller), limits_(std::move(limits)) {}

  grpc::ServerUnaryReactor* GetAccessToken(grpc::CallbackServerContext* context,
                                           const v1::GetAccessTokenRequest* request,
                                           v1::GetAccessTokenResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchAccessTokenResponse>* WatchAccessToken(
      grpc::CallbackServerContext* context, const v1::WatchAccessTokenRequest* request) override;
  grpc::ServerUnaryReactor* ReportRejectedToken(grpc::CallbackServerContext* context,
                                                const v1::ReportRejectedTokenRequest* request,
                                                v1::ReportRejectedTokenResponse* response) override;

 private:
  absl::StatusOr<TokenRequest> Translate(const v1::GetAccessTokenRequest& request) const;
  absl::StatusOr<RegistrationStore::Snapshot> Select(
      const v1::GetAccessTokenRequest& request) const;

  const ServiceParts& parts_;
  const Caller caller_;
  const std::shared_ptr<CallLimiter> limits_;
};

}  // namespace smartkey
