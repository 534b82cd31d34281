// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "daemon/http/http_client.h"
#include "daemon/model/server.h"

namespace smartkey {

// What is known of an authorization server's endpoints. Absolute URLs, checked; empty: not offered.
struct ServerEndpoints {
  std::string issuer;
  std::string authorization_endpoint;
  std::string token_endpoint;
  std::string registration_endpoint;
  std::string revocation_endpoint;
  std::string management_endpoint;
  // token_endpoint_auth_signing_alg_values_supported: the only hint there is about algorithms.
  std::vector<std::string> signing_algorithms;
  bool iss_parameter_supported = false;  // RFC 9207: the redirect must carry `iss`
  std::string source;  // the document they came from, for people: "smart-configuration", ...
};

// Finds a server's endpoints, in this order, stopping at the first document that has both a token
// and a registration endpoint (never merging two documents; static configuration overrides all):
// {fhir_base}/.well-known/smart-configuration; {fhir_base}/metadata (with Epic-Client-ID for
// profile epic); RFC 8414 and OpenID discovery at the issuer named so far or the FHIR base's
// origin. Thread-safe.
//
// Errors: HttpClient's; kIntercepted (HTML where JSON belongs), kBadServerAnswer,
// kNoDynamicRegistration (documents are there, but no registration endpoint), kDiscoveryInvalid
// (S256 is not among code_challenge_methods_supported). Each names the server and the document.
class Discovery {
 public:
  explicit Discovery(HttpClient& http) : http_(http) {}

  void Discover(const Server& server, const std::string& initial_client_id,
                absl::AnyInvocable<void(absl::StatusOr<ServerEndpoints>)> done) const;

 private:
  HttpClient& http_;
};

// Absolute https (or allowed loopback http) without userinfo and fragment; IP literals and
// localhost refused unless the FHIR base itself is one. Relative ones are resolved against `base`,
// which counts as a folder with or without its trailing slash. Errors: kDiscoveryInvalid.
absl::StatusOr<std::string> ResolveEndpoint(const std::string& base, const std::string& url,
                                            bool allow_loopback_http);

// "ehr.example.com:8443", for people.
std::string HostOf(const std::string& url);

}  // namespace smartkey
