// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/secret.h"
#include "daemon/http/http_client.h"
#include "daemon/model/access_token.h"

namespace smartkey {

// Where a token request goes and how.
struct TokenEndpointAddress {
  std::string token_endpoint;
  std::string ca_file;
  bool allow_loopback_http = false;
};

struct CodeExchange {
  TokenEndpointAddress address;
  Secret code;
  std::string redirect_uri;
  std::string client_id;  // the initial one
  Secret code_verifier;
  ScopeSet
      requested_scopes;  // what `scope` means when the answer does not say (RFC 6749 section 5.1)
};

struct AssertionGrant {
  TokenEndpointAddress address;
  Secret assertion;
  std::string client_id;
  Secret client_assertion;  // client authentication alongside; empty: none
  ScopeSet scopes;          // empty: none sent, which asks for everything authorized
};

// What HTTP said of the time: server Date minus local receipt time, when there was a Date header.
absl::optional<absl::Duration> ClockOffsetOf(const absl::Status& status);

// The token endpoint (RFC 6749 section 4.1.3, RFC 7523 section 2.1). Thread-safe.
//
// Answers are read as the table in docs/protocol.md says. Errors, as Reason: kRefusedByServer
// (invalid_grant, invalid_client: the authorization class), kMisconfigured (unauthorized_client,
// unsupported_grant_type), kInvalidScope, kServerBusy (429, 503, temporarily_unavailable,
// slow_down; RetryAfterOf is set, clamped to 0..1 h), kServerError (408, 5xx, server_error),
// kIntercepted (text/html), kRedirectRefused, kBadServerAnswer (anything else, invalid_request
// included), and HttpClient's. The server's own error code is in the message, sanitised; its
// description too, cut. ServerErrorCodeOf gives the code.
class TokenEndpoint {
 public:
  TokenEndpoint(HttpClient& http, const Clock& clock) : http_(http), clock_(clock) {}

  HttpClient::CallId ExchangeCode(CodeExchange exchange,
                                  absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) const;

  HttpClient::CallId RequestToken(AssertionGrant grant,
                                  absl::AnyInvocable<void(absl::StatusOr<AccessToken>)> done) const;

 private:
  HttpClient& http_;
  const Clock& clock_;
};

// Reads a 200: the rules for access_token, token_type, expires_in and scope. `sent` empty means no
// scope was sent. Expiry is counted from response.sent_at; refresh_after is left to the caller (=
// expires). Errors: kBadServerAnswer naming the member.
absl::StatusOr<AccessToken> ParseTokenAnswer(const HttpResponse& response, const ScopeSet& sent);

// "invalid_grant", or empty.
std::string ServerErrorCodeOf(const absl::Status& status);

// RFC 9110 section 10.2.3: seconds or an HTTP-date. Clamped to 0..1 h; junk is nullopt.
absl::optional<absl::Duration> ParseRetryAfter(absl::string_view value, absl::Time now);

}  // namespace smartkey
