// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/enrollment.grpc.pb.h"

namespace smartkey {

// smartkey.v1.EnrollmentService for one caller. On the admin socket root enrolls for the user whom
// he names, and for nobody else. A caller that goes away does not stop an enrollment: it ends by
// itself, and whoever asks again with the same ids finds it. Thread-safe.
//
// Of its methods only BeginEnrollment takes a slot of the CallLimiter. The others answer before
// their write (Cancel) or, like a registration that waits for its first token, days after it: a
// slot would not hold the one back and lock the user out with the other. Their writes are those of
// enrollments under way, of which EnrollmentManager allows a uid three until the last one's record
// is written.
class EnrollmentService final : public v1::EnrollmentService::CallbackService {
 public:
  // `limits` is shared by all connections of the socket.
  EnrollmentService(const ServiceParts& parts, const Caller& caller,
                    std::shared_ptr<CallLimiter> limits)
      : parts_(parts), caller_(caller), limits_(std::move(limits)) {}

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
  // Whether the caller may enroll for `owner`; empty: for himself. Errors: kNotPermitted.
  absl::Status CheckOwner(const std::string& owner) const;
  absl::Status CheckOwnerUnnoted(const std::string& owner) const;
  // Gives `then` who owns what comes of it, checked before: the caller, at once, or the user whom
  // root names, once he has been looked up.
  void AsOwner(const std::string& owner,
               absl::AnyInvocable<void(absl::StatusOr<Caller>)> then) const;
  // As whom he goes on with an enrollment: root as the one for whom it was begun.
  Caller Acting(const std::string& enrollment_id) const;

  const ServiceParts& parts_;
  const Caller caller_;
  const std::shared_ptr<CallLimiter> limits_;
};

}  // namespace smartkey
