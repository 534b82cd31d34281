// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/services.h"

#include <memory>

#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/call_limiter.h"
#include "daemon/rpc/enrollment_service.h"
#include "daemon/rpc/registration_service.h"
#include "daemon/rpc/server_info_service.h"
#include "daemon/rpc/sharing_service.h"
#include "daemon/rpc/signing_service.h"
#include "daemon/rpc/token_service.h"

namespace smartkey {
namespace {

class PublicConnection : public ConnectionServices {
 public:
  PublicConnection(const ServiceParts& parts, const Caller& caller,
                   const std::shared_ptr<CallLimiter>& limits)
      : tokens_(parts, caller, limits),
        enrollments_(parts, caller, limits),
        registrations_(parts, caller, limits),
        sharing_(parts, caller, limits),
        signing_(parts, caller, limits),
        server_info_(parts, caller) {}

  std::vector<grpc::Service*> services() override {
    return {&tokens_, &enrollments_, &registrations_, &sharing_, &signing_, &server_info_};
  }

 private:
  TokenService tokens_;
  EnrollmentService enrollments_;
  RegistrationService registrations_;
  SharingService sharing_;
  SigningService signing_;
  ServerInfoService server_info_;
};

class AdminConnection : public ConnectionServices {
 public:
  AdminConnection(const ServiceParts& parts, const Caller& caller,
                  const std::shared_ptr<CallLimiter>& limits)
      : admin_(parts, caller),
        enrollments_(parts, caller, limits),
        registrations_(parts, caller, limits),
        sharing_(parts, caller, limits),
        server_info_(parts, caller) {}

  std::vector<grpc::Service*> services() override {
    return {&admin_, &enrollments_, &registrations_, &sharing_, &server_info_};
  }

 private:
  AdminService admin_;
  EnrollmentService enrollments_;
  RegistrationService registrations_;
  SharingService sharing_;
  ServerInfoService server_info_;
};

}  // namespace

ServicesFactory PublicServices(const ServiceParts& parts) {
  return [&parts, limits = CallLimiter::Make(parts.clock, parts.audit)](const Caller& caller) {
    return std::make_unique<PublicConnection>(parts, caller, limits);
  };
}

ServicesFactory AdminServices(const ServiceParts& parts) {
  return [&parts, limits = CallLimiter::Make(parts.clock, parts.audit)](const Caller& caller) {
    return std::make_unique<AdminConnection>(parts, caller, limits);
  };
}

}  // namespace smartkey
