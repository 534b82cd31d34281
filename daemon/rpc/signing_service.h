// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/signing.grpc.pb.h"

namespace smartkey {

// smartkey.v1.SigningService for one caller. Thread-safe.
class SigningService final : public v1::SigningService::CallbackService {
 public:
  // `limits` is shared by all connections of the socket.
  SigningService(const ServiceParts& parts, const Caller& caller,
                 std::shared_ptr<CallLimiter> limits)
      : parts_(parts), caller_(caller), limits_(std::move(limits)) {}

  grpc::ServerUnaryReactor* SignClientAssertion(grpc::CallbackServerContext* context,
                                                const v1::SignClientAssertionRequest* request,
                                                v1::SignClientAssertionResponse* response) override;
  grpc::ServerUnaryReactor* SignJwt(grpc::CallbackServerContext* context,
                                    const v1::SignJwtRequest* request,
                                    v1::SignJwtResponse* response) override;
  grpc::ServerUnaryReactor* SignDpopProof(grpc::CallbackServerContext* context,
                                          const v1::SignDpopProofRequest* request,
                                          v1::SignDpopProofResponse* response) override;
  grpc::ServerUnaryReactor* GetJwks(grpc::CallbackServerContext* context,
                                    const v1::GetJwksRequest* request,
                                    v1::GetJwksResponse* response) override;

 private:
  const ServiceParts& parts_;
  const Caller caller_;
  const std::shared_ptr<CallLimiter> limits_;
};

}  // namespace smartkey
