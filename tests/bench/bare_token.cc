// SPDX-License-Identifier: Apache-2.0
// The least that a program can do to print an access token: one call, linked with a static gRPC.
//
//   bare_token SOCKET REGISTRATION
#include <cstdio>
#include <string>

#include "grpcpp/grpcpp.h"
#include "smartkey/v1/token.grpc.pb.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto stub = smartkey::v1::TokenService::NewStub(
      grpc::CreateChannel("unix:" + std::string(argv[1]), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  smartkey::v1::GetAccessTokenRequest request;
  request.set_registration(argv[2]);
  smartkey::v1::GetAccessTokenResponse response;
  const grpc::Status status = stub->GetAccessToken(&context, request, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.error_message().c_str());
    return 1;
  }
  std::puts(response.access_token().c_str());
  return 0;
}
