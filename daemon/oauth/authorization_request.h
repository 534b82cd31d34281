// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret.h"
#include "daemon/model/access_token.h"

namespace smartkey {

inline constexpr char kRegisterScope[] = "system/DynamicClient.register";

// PKCE (RFC 7636): 32 random bytes make a verifier of 43 characters; the challenge is its SHA-256.
struct Pkce {
  Secret verifier;
  std::string challenge;
};
Pkce MakePkce();

struct AuthorizationRequest {
  std::string authorization_endpoint;
  std::string client_id;
  std::string redirect_uri;
  ScopeSet scopes;  // kRegisterScope is added
  std::string state;
  std::string aud;  // the FHIR base
  std::string code_challenge;
};

// The URL a person's browser opens. Keeps a query that the endpoint already has.
std::string ToUrl(const AuthorizationRequest& request);

// Reads the query of the redirect ("code=...&state=..."; a whole URL is accepted too) and gives the
// code. `issuer` empty: not known; `iss_required`: RFC 9207. Errors: kStateMismatch (state missing,
// different, or any parameter there twice), kIssuerMismatch (RFC 9207: `iss` differs, or is missing
// though required), kConsentDenied (error=access_denied), kAuthorizationRefused (another error,
// shown sanitised), kInvalidArgument (no usable code).
absl::StatusOr<Secret> ParseRedirect(absl::string_view query, absl::string_view expected_state,
                                     absl::string_view issuer, bool iss_required);

// The scope value of a server is spelled in two ways in the wild: compared exactly, then without
// case.
bool GrantsRegistration(const ScopeSet& granted);

// True if `redirect_uri` is one of `registered`, or differs from a registered loopback URI without
// a port only by its port (RFC 8252 section 7.3).
bool RedirectUriAllowed(const std::string& redirect_uri,
                        const std::vector<std::string>& registered);

}  // namespace smartkey
