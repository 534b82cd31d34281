// SPDX-License-Identifier: Apache-2.0
// ask_health SOCKET SERVICE: what grpc.health.v1 says of a service, and every change of it on the
// same connection, a line each: SERVING, NOT_SERVING, SERVICE_UNKNOWN. Until it is ended.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string service = argv[2];
  // HealthCheckRequest{service = 1}, by hand: Debian has no header of that message.
  std::string request = "\x0a";
  request.push_back(static_cast<char>(service.size()));
  request += service;
  grpc::Slice slice(request);
  grpc::ByteBuffer message(&slice, 1);

  const auto channel =
      grpc::CreateChannel(std::string("unix:") + argv[1], grpc::InsecureChannelCredentials());
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/grpc.health.v1.Health/Watch", &queue);
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  call->StartCall(nullptr);
  if (!wait()) return 1;
  call->WriteLast(message, grpc::WriteOptions(), nullptr);
  if (!wait()) return 1;
  while (true) {
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    if (!wait()) break;
    grpc::Slice bytes;
    answer.DumpToSingleSlice(&bytes);
    // HealthCheckResponse{status = 1}; 0, which is UNKNOWN, is left out of the message.
    const int status = bytes.size() == 2 && bytes.begin()[0] == 8 ? bytes.begin()[1] : 0;
    static const char* const kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    std::puts(status < 4 ? kNames[status] : "?");
    std::fflush(stdout);
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  return 1;
}
