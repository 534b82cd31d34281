// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/rpc/services.h"
#include "smartkey/v1/enrollment.grpc.pb.h"

namespace smartkey {

// smartkey.v1.EnrollmentService for one caller. A caller that goes away does not stop an
// enrollment: it ends by itself, and whoever asks again with the same ids finds it. Thread-safe.
class EnrollmentService final : public v1::EnrollmentService::CallbackService {
 public:
  EnrollmentService(const ServiceParts& parts, const Caller& caller)
      : parts_(parts), caller_(caller) {}

  grpc::ServerUnaryReactor* BeginEnrollment(grpc::CallbackServerContext* context,
                                            const v1::BeginEnrollmentRequest* request,
                                            v1::BeginEnrollmentResponse* response) override;
  grpc::ServerUnaryReactor* CompleteEnrollment(grpc::CallbackServerContext* context,
                                               const v1::CompleteEnrollmentRequest* request,
                                               v1::CompleteEnrollmentResponse* response) override;
  grpc::ServerUnaryReactor* CancelEnrollment(grpc::CallbackServerContext* context,
                                             const v1::CancelEnrollmentRequest* request,
                                             v1::CancelEnrollmentResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchEnrollmentResponse>* WatchEnrollment(
      grpc::CallbackServerContext* context, const v1::WatchEnrollmentRequest* request) override;
  grpc::ServerUnaryReactor* EnrollWithInitialToken(
      grpc::CallbackServerContext* context, const v1::EnrollWithInitialTokenRequest* request,
      v1::EnrollWithInitialTokenResponse* response) override;

 private:
  const ServiceParts& parts_;
  const Caller caller_;
};

}  // namespace smartkey
