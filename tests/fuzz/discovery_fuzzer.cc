// SPDX-License-Identifier: Apache-2.0
// A server's documents say where codes, tokens and assertions are sent.
//
// Input: one octet of choices, then the document. An endpoint that is accepted is absolute, allowed
// for that FHIR base, and the same after being resolved again; what is refused is refused for a
// reason that a person can be told.
#include <string>

#include "base/error.h"
#include "daemon/http/url.h"
#include "daemon/oauth/discovery_documents.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

void CheckEndpoint(const std::string& endpoint, const DocumentContext& context) {
  if (endpoint.empty()) return;
  const absl::StatusOr<Url> url = ParseUrl(endpoint);
  const absl::StatusOr<Url> base = ParseUrl(context.base);
  Require(url.ok() && base.ok(), "an endpoint is no URL");
  Require(SchemeAllowed(*url, context.allow_loopback_http), "an endpoint's scheme is not allowed");
  Require(!IsLoopback(url->host) || IsLoopback(base->host), "an endpoint is on this machine");
  Require(!IsIpLiteral(url->host) || IsIpLiteral(base->host) || IsLoopback(base->host),
          "an endpoint is an address where the FHIR base has a name");
  const absl::StatusOr<std::string> again =
      ResolveEndpoint(context.base, endpoint, context.allow_loopback_http);
  Require(again.ok() && *again == endpoint,
          "an endpoint is another one after being resolved again");
}

void CheckRefusal(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  Require(reason == Reason::kIntercepted || reason == Reason::kBadServerAnswer ||
              reason == Reason::kDiscoveryInvalid,
          "a document is refused for a reason that is none of its reader's");
  for (const char c : status.message()) {
    Require(c >= 0x20 && c < 0x7F, "the refusal has characters that a terminal would obey");
  }
}

void Check(FuzzInput input) {
  const uint8_t choices = input.Octet();
  DocumentContext context;
  context.base = (choices & 1) != 0 ? "http://127.0.0.1:8080/fhir" : "https://ehr.example/fhir/r4/";
  context.allow_loopback_http = (choices & 2) != 0;
  if ((choices & 4) != 0) context.expected_issuer = "https://ehr.example";
  HttpResponse response;
  response.status = 200;
  response.content_type = (choices & 16) != 0 ? "application/fhir+json" : "application/json";
  response.body = Secret::CopyOf(input.Rest());
  const absl::StatusOr<ServerEndpoints> found = (choices & 8) != 0
                                                    ? ReadCapabilityStatement(response, context)
                                                    : ReadMetadata(response, context);
  if (!found.ok()) return CheckRefusal(found.status());
  for (const std::string& endpoint :
       {found->authorization_endpoint, found->token_endpoint, found->registration_endpoint,
        found->revocation_endpoint, found->management_endpoint}) {
    CheckEndpoint(endpoint, context);
  }
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
