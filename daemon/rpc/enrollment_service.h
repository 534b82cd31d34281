// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include "daemon/rpc/services.h"
#include "daemon/rpc/write_limiter.h"
#include "smartkey/v1/enrollment.grpc.pb.h"

namespace smartkey {

// smartkey.v1.EnrollmentService for one caller. A caller that goes away does not stop an
// enrollment: it ends by itself, and whoever asks again with the same ids finds it. Thread-safe.
//
// Of its methods only BeginEnrollment takes a slot of the WriteLimiter. The others answer before
// their write (Cancel) or, like a registration that waits for its first token, days after it: a
// slot would not hold the one back and lock the user out with the other. Their writes are those of
// enrollments under way, of which EnrollmentManager allows a uid three until the last one's record
// is written.
class EnrollmentService final : public v1::EnrollmentService::CallbackService {
 public:
  // `writes` is shared by all connections of the socket.
  EnrollmentService(const ServiceParts& parts, const Caller& caller,
                    std::shared_ptr<WriteLimiter> writes)
      : parts_(parts), caller_(caller), writes_(std::move(writes)) {}

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
  const std::shared_ptr<WriteLimiter> writes_;
};

}  // namespace smartkey
