// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/services.h"

#include <memory>

#include "daemon/rpc/admin_service.h"
#include "daemon/rpc/enrollment_service.h"
#include "daemon/rpc/registration_service.h"
#include "daemon/rpc/server_info_service.h"
#include "daemon/rpc/sharing_service.h"
#include "daemon/rpc/signing_service.h"
#include "daemon/rpc/token_service.h"
#include "daemon/rpc/write_limiter.h"

namespace smartkey {
namespace {

class PublicConnection : public ConnectionServices {
 public:
  PublicConnection(const ServiceParts& parts, const Caller& caller,
                   const std::shared_ptr<WriteLimiter>& writes)
      : tokens_(parts, caller),
        enrollments_(parts, caller, writes),
        registrations_(parts, caller, writes),
        sharing_(parts, caller, writes),
        signing_(parts, caller),
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
                  const std::shared_ptr<WriteLimiter>& writes)
      : admin_(parts, caller),
        registrations_(parts, caller, writes),
        sharing_(parts, caller, writes),
        server_info_(parts, caller) {}

  std::vector<grpc::Service*> services() override {
    return {&admin_, &registrations_, &sharing_, &server_info_};
  }

 private:
  AdminService admin_;
  RegistrationService registrations_;
  SharingService sharing_;
  ServerInfoService server_info_;
};

}  // namespace

ServicesFactory PublicServices(const ServiceParts& parts) {
  return [&parts, writes = WriteLimiter::Make()](const Caller& caller) {
    return std::make_unique<PublicConnection>(parts, caller, writes);
  };
}

ServicesFactory AdminServices(const ServiceParts& parts) {
  return [&parts, writes = WriteLimiter::Make()](const Caller& caller) {
    return std::make_unique<AdminConnection>(parts, caller, writes);
  };
}

}  // namespace smartkey
