// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/token_endpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/http/url.h"
#include "daemon/oauth/form.h"
#include "daemon/oauth/oauth_error.h"

namespace smartkey {

namespace {

constexpr char kJwtBearerGrant[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr char kJwtBearerClient[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

using Done = absl::AnyInvocable<void(absl::StatusOr<AccessToken>)>;

// No Authorization header: the client is public, and its proof is in the form.
HttpRequest FormPost(const TokenEndpointAddress& address, const Form& form) {
  HttpRequest request;
  request.method = HttpRequest::Method::kPost;
  request.url = address.token_endpoint;
  request.content_type = Form::kContentType;
  request.body = form.Encode();
  request.headers = {{"Cache-Control", "no-store"}};
  request.ca_file = address.ca_file;
  request.allow_loopback_http = address.allow_loopback_http;
  return request;
}

absl::StatusOr<AccessToken> ReadAnswer(absl::StatusOr<HttpResponse> response, const ScopeSet& sent,
                                       const Clock& clock) {
  if (!response.ok()) return response.status();
  if (response->status != 200) return RefusalFrom(*response);
  absl::StatusOr<AccessToken> token = ParseTokenAnswer(*response, sent);
  if (!token.ok()) return token;
  // The way there and back counts against the lifetime on the wall clock too.
  token->lifetime = token->expires - clock.Boot();
  token->expires_at = clock.Now() + token->lifetime;
  token->refresh_after_at = token->expires_at;
  return token;
}

// At the code exchange the same refusals mean the code, or how the app is known to the server;
// nothing is registered yet that they could be about.
absl::Status AsCodeRefusal(absl::Status status) {
  const Reason reason = ReasonOf(status);
  if (reason != Reason::kRefusedByServer && reason != Reason::kMisconfigured) return status;
  absl::Status refused = MakeError(Reason::kCodeRefused, status.message());
  status.ForEachPayload([&refused](absl::string_view url, const absl::Cord& payload) {
    if (!refused.GetPayload(url).has_value()) refused.SetPayload(url, payload);
  });
  return refused;
}

}  // namespace

HttpClient::CallId TokenEndpoint::ExchangeCode(CodeExchange exchange, Done done) const {
  // RFC 6749 section 4.1.3, RFC 7636 section 4.5.
  Form form;
  form.Add("grant_type", "authorization_code");
  form.Add("code", exchange.code.RevealSecret());
  form.Add("redirect_uri", exchange.redirect_uri);
  form.Add("client_id", exchange.client_id);
  form.Add("code_verifier", exchange.code_verifier.RevealSecret());
  HttpRequest request = FormPost(exchange.address, form);
  // A code is good for one use (section 4.1.2).
  request.single_use_connection = true;

  const Clock& clock = clock_;
  return http_.Send(std::move(request), [done = std::move(done),
                                         origin = OriginOf(exchange.address.token_endpoint),
                                         sent = std::move(exchange.requested_scopes),
                                         &clock](absl::StatusOr<HttpResponse> response) mutable {
    absl::StatusOr<AccessToken> token = ReadAnswer(std::move(response), sent, clock);
    if (token.ok()) return done(std::move(token));
    done(Annotate(AsCodeRefusal(token.status()), absl::StrCat("exchanging the code at ", origin)));
  });
}

HttpClient::CallId TokenEndpoint::RequestToken(AssertionGrant grant, Done done) const {
  // RFC 7523 section 2.1; client_id because Epic requires it (RFC 7521 section 4.1: optional).
  Form form;
  form.Add("grant_type", kJwtBearerGrant);
  form.Add("assertion", grant.assertion.RevealSecret());
  form.Add("client_id", grant.client_id);
  const std::string scope = ToScopeString(grant.scopes);
  if (!scope.empty()) form.Add("scope", scope);
  if (!grant.client_assertion.empty()) {
    form.Add("client_assertion_type", kJwtBearerClient);  // RFC 7523 section 2.2
    form.Add("client_assertion", grant.client_assertion.RevealSecret());
  }

  const Clock& clock = clock_;
  return http_.Send(
      FormPost(grant.address, form),
      [done = std::move(done), origin = OriginOf(grant.address.token_endpoint),
       sent = std::move(grant.scopes), &clock](absl::StatusOr<HttpResponse> response) mutable {
        absl::StatusOr<AccessToken> token = ReadAnswer(std::move(response), sent, clock);
        if (token.ok()) return done(std::move(token));
        done(Annotate(token.status(), absl::StrCat("requesting a token from ", origin)));
      });
}

}  // namespace smartkey
