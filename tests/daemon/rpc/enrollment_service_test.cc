// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

TEST_F(Services, EnrollmentErrorsKeepTheirReasons) {
  auto client = Connect(alice_);
  auto stub = v1::EnrollmentService::NewStub(client->channel);
  {
    grpc::ClientContext context;
    v1::BeginEnrollmentRequest request;
    v1::BeginEnrollmentResponse response;
    request.set_server("nowhere");
    EXPECT_EQ(DetailOf(stub->BeginEnrollment(&context, request, &response)).reason(),
              v1::ErrorDetail::UNKNOWN_SERVER);
  }
  {
    grpc::ClientContext context;
    v1::BeginEnrollmentRequest request;
    v1::BeginEnrollmentResponse response;
    request.set_server("mercy");
    request.set_algorithm("HS256");
    EXPECT_EQ(DetailOf(stub->BeginEnrollment(&context, request, &response)).reason(),
              v1::ErrorDetail::INVALID_ARGUMENT);
  }
  {
    grpc::ClientContext context;
    v1::CompleteEnrollmentRequest request;
    v1::CompleteEnrollmentResponse response;
    request.set_enrollment_id("none");
    request.set_redirect_query("code=1&state=2");
    EXPECT_EQ(DetailOf(stub->CompleteEnrollment(&context, request, &response)).reason(),
              v1::ErrorDetail::ENROLLMENT_NOT_FOUND);
  }
  {
    grpc::ClientContext context;
    v1::WatchEnrollmentRequest request;
    v1::WatchEnrollmentResponse response;
    request.set_enrollment_id("none");
    auto reader = stub->WatchEnrollment(&context, request);
    EXPECT_FALSE(reader->Read(&response));
    EXPECT_EQ(DetailOf(reader->Finish()).reason(), v1::ErrorDetail::ENROLLMENT_NOT_FOUND);
  }
  {
    grpc::ClientContext context;
    v1::EnrollWithInitialTokenRequest request;
    v1::EnrollWithInitialTokenResponse response;
    request.set_server("mercy");
    EXPECT_EQ(DetailOf(stub->EnrollWithInitialToken(&context, request, &response)).reason(),
              v1::ErrorDetail::INVALID_ARGUMENT);
  }
}

class EnrollingForOthers : public Services {
 protected:
  std::string Begin(Client& client, const std::string& owner) {
    grpc::ClientContext context;
    v1::BeginEnrollmentRequest request;
    v1::BeginEnrollmentResponse response;
    // Further than to the look at the server nothing is let through here.
    request.set_server("nowhere");
    request.set_owner(owner);
    const grpc::Status status = v1::EnrollmentService::NewStub(client.channel)
                                    ->BeginEnrollment(&context, request, &response);
    return v1::ErrorDetail::Reason_Name(DetailOf(status).reason());
  }
};

TEST_F(EnrollingForOthers, OnlyRootOnTheAdminSocketAndOnlyForSomebodyWhoIsThere) {
  auto root = Connect(Administrator());
  EXPECT_EQ(Begin(*root, "bob"), "UNKNOWN_SERVER");  // as bob's own would be told
  EXPECT_EQ(Begin(*root, ""), "NOT_PERMITTED");
  EXPECT_EQ(Begin(*root, "mallory"), "UNKNOWN_PRINCIPAL");
  EXPECT_EQ(Begin(*Connect(alice_), "bob"), "NOT_PERMITTED");
  EXPECT_EQ(Begin(*Connect(User(0, "root")), "bob"), "NOT_PERMITTED");  // on the public socket
  Caller of_the_group = User(1002, "carol");
  of_the_group.admin = true;
  EXPECT_EQ(Begin(*Connect(of_the_group), "bob"), "NOT_PERMITTED");
}

}  // namespace
}  // namespace smartkey
