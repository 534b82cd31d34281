// SPDX-License-Identifier: Apache-2.0
// A server's answer to the registration decides whether there is a client, and which.
//
// Input: two octets that choose status and type, then the body. What is accepted has a client_id
// that is fit to be sent and is not the app's own; what is refused is refused in plain words, and
// as unknown only where the server may have done the work.
#include <string>
#include <utility>

#include "base/error.h"
#include "daemon/http/http_client.h"
#include "daemon/oauth/registration_endpoint.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

constexpr char kInitialClientId[] = "growth-chart";
constexpr int kStatuses[] = {201, 200, 400, 401, 403, 404, 307, 500, 503, 429};
constexpr const char* kTypes[] = {"application/json", "text/html", "", "text/plain"};

// Answers each request with the same.
class OneAnswer : public HttpClient {
 public:
  explicit OneAnswer(HttpResponse response) : response_(std::move(response)) {}

  CallId Send(HttpRequest, absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) override {
    done(std::move(response_));
    return 1;
  }
  void Cancel(CallId) override {}
  CallId Probe(HttpRequest, absl::AnyInvocable<void(absl::Status)> done) override {
    done(absl::OkStatus());
    return 1;
  }

 private:
  HttpResponse response_;
};

RegistrationRequest Request() {
  RegistrationRequest request;
  request.registration_endpoint = "https://ehr.example/register";
  request.initial_access_token = Secret::CopyOf("fake-initial-token");
  request.initial_client_id = kInitialClientId;
  request.software_id = "growth-chart-software";
  request.public_key = {KeyType::kEcP256, std::string(32, '\1'), std::string(32, '\2'), "", ""};
  return request;
}

void CheckClient(const RegisteredClient& client, int status) {
  Require(status == 201, "an answer other than 201 made a client");
  Require(!client.client_id.empty() && client.client_id.size() <= 512, "the client_id's length");
  Require(client.client_id != kInitialClientId, "the app's own client_id was taken");
  for (const char c : client.client_id) {
    Require(c >= 0x20 && c <= 0x7E, "the client_id has characters that no client_id has");
  }
}

void CheckRefusal(const absl::Status& refusal, int status) {
  for (const char c : refusal.message()) {
    Require(c >= 0x20 && c < 0x7F, "the refusal has characters that a terminal would obey");
  }
  Require(!AnswerIsUnknown(refusal) || status == 201 || status >= 500,
          "a refusal counts as a lost answer");
}

void Check(FuzzInput input) {
  HttpResponse response;
  response.status = kStatuses[input.Octet() % std::size(kStatuses)];
  response.content_type = kTypes[input.Octet() % std::size(kTypes)];
  response.body = Secret::CopyOf(input.Rest());
  const int status = response.status;
  OneAnswer http(std::move(response));
  RegistrationEndpoint(http).Register(Request(), [&](absl::StatusOr<RegisteredClient> client) {
    client.ok() ? CheckClient(*client, status) : CheckRefusal(client.status(), status);
  });
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
