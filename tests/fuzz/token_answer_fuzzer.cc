// SPDX-License-Identifier: Apache-2.0
// A server's answer to a token request becomes what apps send as a header.
//
// Input: three octets that choose status, type and whether a scope was asked for, then the body. An
// accepted token is fit for a header, of a type that is understood, and lives for a bounded time; a
// refusal is plain text.
#include <iterator>

#include "base/error.h"
#include "daemon/http/http_client.h"
#include "daemon/oauth/token_endpoint.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

constexpr int kStatuses[] = {200, 400, 401, 403, 404, 302, 429, 500, 503, 511};
constexpr const char* kTypes[] = {"application/json", "text/html", "", "text/plain"};
constexpr char kAskedFor[] = "patient/Patient.rs";

void CheckToken(const AccessToken& token, const HttpResponse& response, const ScopeSet& sent) {
  Require(response.status == 200, "an answer other than 200 gave a token");
  Require(token.token_type == "Bearer", "a token of another type was taken");
  const absl::string_view value = token.value.RevealSecret();
  Require(!value.empty() && value.size() <= 32 * 1024, "the token's length");
  for (const char c : value) Require(c > 0x20 && c < 0x7F, "the token cannot be put into a header");
  Require(token.lifetime >= absl::ZeroDuration() && token.lifetime <= absl::Hours(24),
          "the token's life is out of bounds");
  Require(token.cacheable == (token.lifetime > absl::ZeroDuration()), "what is kept has a life");
  Require(token.expires == response.sent_at + token.lifetime,
          "the life is not counted from sending");
  Require(sent.empty() || token.granted.has_value(), "what was asked for counts as granted");
}

void CheckRefusal(const absl::Status& refusal) {
  for (const char c : refusal.message()) {
    Require(c >= 0x20 && c < 0x7F, "the refusal has characters that a terminal would obey");
  }
  const absl::optional<absl::Duration> wait = RetryAfterOf(refusal);
  Require(!wait.has_value() || *wait <= absl::Hours(1), "a refusal holds back for too long");
}

void Check(FuzzInput input) {
  HttpResponse response;
  response.status = kStatuses[input.Octet() % std::size(kStatuses)];
  response.content_type = kTypes[input.Octet() % std::size(kTypes)];
  const ScopeSet sent = input.Octet() % 2 == 0 ? ScopeSet{} : ScopeSet{kAskedFor};
  response.sent_at = BootTime::FromSinceBoot(absl::Hours(1));
  response.received_at = absl::FromUnixSeconds(1'767'225'600);
  response.body = Secret::CopyOf(input.Rest());
  const absl::StatusOr<AccessToken> token = ParseTokenAnswer(response, sent);
  token.ok() ? CheckToken(*token, response, sent) : CheckRefusal(token.status());
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
