// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/revocation_endpoint.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/http/url.h"
#include "daemon/oauth/form.h"
#include "daemon/oauth/oauth_error.h"

namespace smartkey {

HttpClient::CallId RevocationEndpoint::Revoke(RevocationRequest request,
                                              absl::AnyInvocable<void(absl::Status)> done) const {
  Form form;
  form.Add("token", request.access_token.RevealSecret());
  form.Add("token_type_hint", "access_token");
  form.Add("client_id", request.client_id);
  if (!request.client_assertion.empty()) {
    form.Add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    form.Add("client_assertion", request.client_assertion.RevealSecret());
  }
  HttpRequest http;
  http.method = HttpRequest::Method::kPost;
  http.url = request.revocation_endpoint;
  http.content_type = Form::kContentType;
  http.body = form.Encode();
  http.ca_file = request.ca_file;
  http.allow_loopback_http = request.allow_loopback_http;
  http.connect_timeout = absl::Seconds(3);
  http.timeout = absl::Seconds(5);

  return http_.Send(std::move(http),
                    [done = std::move(done), origin = OriginOf(request.revocation_endpoint)](
                        absl::StatusOr<HttpResponse> response) mutable {
                      // RFC 7009 section 2.2: 200 also for a token that is not known; the body
                      // means nothing.
                      if (response.ok() && response->status == 200) return done(absl::OkStatus());
                      done(Annotate(response.ok() ? RefusalFrom(*response) : response.status(),
                                    absl::StrCat("revoking a token at ", origin)));
                    });
}

}  // namespace smartkey
