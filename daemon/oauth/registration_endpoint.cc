// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/registration_endpoint.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/http/url.h"
#include "daemon/jose/jwk.h"
#include "daemon/oauth/json_answer.h"
#include "daemon/oauth/oauth_error.h"

namespace smartkey {

namespace {

using nlohmann::json;

constexpr char kJwtBearerGrant[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr char kAnswerUnknownUrl[] = "smartkeyd/registration-answer-unknown";
constexpr size_t kLongestClientId = 512;

absl::Status MarkUnknown(absl::Status status) {
  status.SetPayload(kAnswerUnknownUrl, absl::Cord("1"));
  return status;
}

absl::Status Unusable(absl::string_view problem) {
  return MakeError(Reason::kRegistrationAnswerInvalid,
                   absl::StrCat("the registration answer ", problem));
}

absl::StatusOr<std::string> ReadClientId(const JsonAnswer& answer,
                                         const RegistrationRequest& request) {
  if (answer.Find("client_id") == nullptr) return Unusable("has no client_id");
  const absl::optional<std::string> client_id = FindString(answer.object(), "client_id");
  if (!client_id.has_value()) return Unusable("has a client_id that is not a string");
  if (client_id->empty()) return Unusable("has an empty client_id");
  if (client_id->size() > kLongestClientId) return Unusable("has a client_id that is too long");
  for (const char c : *client_id) {
    // RFC 6749 appendix A.1: VSCHAR.
    if (c < 0x20 || c > 0x7E)
      return Unusable("has a client_id with control or non-ASCII characters");
  }
  if (*client_id == request.initial_client_id) {
    return Unusable("gives the app's own client_id back instead of a new one");
  }
  return *client_id;
}

absl::Status CheckGrantTypes(const JsonAnswer& answer) {
  const json* grants = answer.Find("grant_types");
  if (grants == nullptr) return absl::OkStatus();
  if (grants->is_array()) {
    for (const json& grant : *grants) {
      if (grant == kJwtBearerGrant) return absl::OkStatus();
    }
  }
  return Unusable("does not allow the jwt-bearer grant");
}

// True: the client must authenticate.
absl::StatusOr<bool> ReadAuthMethod(const JsonAnswer& answer) {
  const json* method = answer.Find("token_endpoint_auth_method");
  if (method == nullptr || *method == "none") return false;
  if (*method == "private_key_jwt") return true;
  return Unusable("demands a client authentication other than private_key_jwt");
}

absl::Status CheckSoftwareId(const JsonAnswer& answer, const RegistrationRequest& request) {
  const json* software_id = answer.Find("software_id");
  if (software_id == nullptr) return absl::OkStatus();
  // Epic's examples have a space in front.
  if (software_id->is_string() &&
      absl::StripAsciiWhitespace(software_id->get_ref<const std::string&>()) ==
          absl::StripAsciiWhitespace(request.software_id)) {
    return absl::OkStatus();
  }
  return Unusable("is for another software_id");
}

// By key material: Epic leaves out the kid. A second key would be somebody's who could then ask for
// tokens.
absl::Status CheckKeys(const JsonAnswer& answer, const RegistrationRequest& request) {
  const json* jwks = answer.Find("jwks");
  if (jwks == nullptr) return absl::OkStatus();
  if (!jwks->is_object() || !jwks->contains("keys") || !(*jwks)["keys"].is_array() ||
      (*jwks)["keys"].empty()) {
    return Unusable("has a jwks without keys");
  }
  for (const json& jwk : (*jwks)["keys"]) {
    const absl::StatusOr<PublicKey> key = ParseJwk(jwk);
    if (!key.ok() || *key != request.public_key) return Unusable("binds a key that is not ours");
  }
  return absl::OkStatus();
}

absl::StatusOr<RegisteredClient> ReadCreated(const HttpResponse& response,
                                             const RegistrationRequest& request) {
  const absl::StatusOr<JsonAnswer> answer = JsonAnswer::Read(response);
  if (!answer.ok()) {
    if (ReasonOf(answer.status()) == Reason::kIntercepted) return answer.status();
    // Created, says the server, but the client_id cannot be known.
    return MarkUnknown(MakeError(Reason::kRegistrationAnswerInvalid, answer.status().message()));
  }
  RegisteredClient client;
  absl::StatusOr<std::string> client_id = ReadClientId(*answer, request);
  if (!client_id.ok()) return client_id.status();
  client.client_id = *std::move(client_id);
  for (const absl::Status& status :
       {CheckGrantTypes(*answer), CheckSoftwareId(*answer, request), CheckKeys(*answer, request)}) {
    if (!status.ok()) return status;
  }
  const absl::StatusOr<bool> authenticates = ReadAuthMethod(*answer);
  if (!authenticates.ok()) return authenticates.status();
  client.requires_client_authentication = *authenticates;

  const json* issued_at = answer->Find("client_id_issued_at");
  if (issued_at != nullptr && issued_at->is_number_integer()) {
    client.client_id_issued_at = absl::FromUnixSeconds(issued_at->get<int64_t>());
  }
  return client;  // Whatever else there is, a client_secret too, goes with `answer`.
}

// RFC 7591 section 3.2.2 for 400, RFC 6750 section 3.1 for the token; authlib says 400
// access_denied for a token.
absl::optional<Reason> OwnReason(const HttpResponse& response, const OAuthError& error) {
  switch (response.status) {
    case 400:
      if (IsHtml(response)) return absl::nullopt;
      if (error.code == "invalid_client_metadata") return Reason::kSoftwareIdRefused;
      if (error.code == "access_denied" || error.code == "invalid_token") {
        return Reason::kInitialTokenRefused;
      }
      return Reason::kRegistrationRefused;
    case 401:
      return Reason::kInitialTokenRefused;
    case 403:
      if (IsHtml(response)) return absl::nullopt;
      return Reason::kRegistrationForbidden;
    case 404:
      return Reason::kNoDynamicRegistration;
    default:
      return absl::nullopt;
  }
}

absl::Status ReadRefusal(const HttpResponse& response) {
  const OAuthError error = ReadOAuthError(response);
  if (const absl::optional<Reason> reason = OwnReason(response, error); reason.has_value()) {
    return WithServerFacts(
        MakeError(*reason, absl::StrCat("the server answered ", DescribeRefusal(response, error))),
        response, error);
  }
  if (response.status == 200 && !IsHtml(response)) {
    return Unusable("has status 200 instead of 201");  // RFC 7591 section 3.2.1
  }
  absl::Status status = RefusalFrom(response);
  return response.status >= 500 && response.status != 511 ? MarkUnknown(std::move(status)) : status;
}

}  // namespace

std::string RegistrationRequestBody(const RegistrationRequest& request) {
  json body = {
      {"software_id", request.software_id},
      {"jwks", {{"keys", json::array({ToJwk(request.public_key, request.algorithm)})}}},
  };
  if (request.body == RegistrationBody::kExplicit) {
    // A generic RFC 7591 server would otherwise make a client for the authorization code grant,
    // with a secret.
    body["grant_types"] = json::array({kJwtBearerGrant});
    body["token_endpoint_auth_method"] = "none";
    body["response_types"] = json::array();
    if (!request.client_name.empty()) body["client_name"] = request.client_name;
  }
  return ToJsonText(body);
}

void RegistrationEndpoint::Register(
    RegistrationRequest request,
    absl::AnyInvocable<void(absl::StatusOr<RegisteredClient>)> done) const {
  HttpRequest http;
  http.method = HttpRequest::Method::kPost;
  http.url = request.registration_endpoint;
  http.content_type = "application/json";
  http.body = Secret(RegistrationRequestBody(request));
  http.bearer = std::move(request.initial_access_token);
  http.headers = {{"Cache-Control", "no-store"}};
  http.ca_file = request.ca_file;
  http.allow_loopback_http = request.allow_loopback_http;
  http.single_use_connection = true;

  http_.Send(std::move(http), [request = std::move(request), done = std::move(done)](
                                  absl::StatusOr<HttpResponse> response) mutable {
    absl::StatusOr<RegisteredClient> client =
        !response.ok()            ? absl::StatusOr<RegisteredClient>(response.status())
        : response->status == 201 ? ReadCreated(*response, request)
                                  : absl::StatusOr<RegisteredClient>(ReadRefusal(*response));
    if (client.ok()) return done(std::move(client));
    absl::Status status = client.status();
    if (!response.ok() && !NothingWasSent(status)) status = MarkUnknown(std::move(status));
    done(Annotate(std::move(status),
                  absl::StrCat("registering at ", OriginOf(request.registration_endpoint))));
  });
}

bool AnswerIsUnknown(const absl::Status& status) {
  return status.GetPayload(kAnswerUnknownUrl).has_value();
}

}  // namespace smartkey
