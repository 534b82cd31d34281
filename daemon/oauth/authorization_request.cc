// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/authorization_request.h"

#include <openssl/sha.h>

#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/random.h"
#include "daemon/http/url.h"
#include "daemon/oauth/form.h"
#include "daemon/oauth/oauth_error.h"

namespace smartkey {

namespace {

// Epic's codes may be long JWTs.
constexpr size_t kLongestQuery = 64 * 1024;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// nullopt: a '%' without two digits.
absl::optional<std::string> FormDecode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? HexDigit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return absl::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

// The parameters of a redirect, wiped when done with: one of them is the code.
class RedirectParameters {
 public:
  RedirectParameters() = default;
  RedirectParameters(RedirectParameters&&) = default;
  ~RedirectParameters() {
    for (auto& [name, value] : values_) WipeString(value);
  }

  static absl::StatusOr<RedirectParameters> Parse(absl::string_view query) {
    RedirectParameters parameters;
    for (const absl::string_view field : absl::StrSplit(query, '&', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> parts =
          absl::StrSplit(field, absl::MaxSplits('=', 1));
      absl::optional<std::string> name = FormDecode(parts.first);
      absl::optional<std::string> value = FormDecode(parts.second);
      if (!name.has_value() || !value.has_value()) {
        return MakeError(Reason::kInvalidArgument, "the redirect's query is not percent-encoded");
      }
      // RFC 6749 section 3.1: parameters must not be there twice. Which of the two would count?
      if (!parameters.values_.emplace(*std::move(name), *std::move(value)).second) {
        return MakeError(Reason::kStateMismatch, "a parameter is in the redirect twice");
      }
    }
    return parameters;
  }

  bool Has(const char* name) const { return values_.count(name) != 0; }
  absl::string_view Get(const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? absl::string_view() : absl::string_view(found->second);
  }

 private:
  std::map<std::string, std::string> values_;
};

absl::string_view QueryOf(absl::string_view redirect) {
  const size_t question = redirect.find('?');
  if (absl::StrContains(redirect.substr(0, question), "://")) {
    redirect = question == absl::string_view::npos ? "" : redirect.substr(question + 1);
  } else if (question == 0) {
    redirect.remove_prefix(1);
  }
  return redirect.substr(0, redirect.find('#'));
}

absl::Status RefusalIn(const RedirectParameters& parameters) {
  const absl::string_view code = parameters.Get("error");
  std::string text = SanitizeServerText(code, 64);
  const std::string description = SanitizeServerText(parameters.Get("error_description"));
  if (!description.empty()) absl::StrAppend(&text, " (", description, ")");
  if (code == "access_denied") {
    return MakeError(Reason::kConsentDenied, absl::StrCat("the access was not allowed: ", text));
  }
  return MakeError(Reason::kAuthorizationRefused,
                   absl::StrCat("the server refused the authorization request: ", text));
}

bool IsLoopbackHost(absl::string_view host) {
  return host == "127.0.0.1" || host == "[::1]" || host == "localhost";
}

// RFC 8252 section 7.3: "http://HOST/path" as registered lets "http://HOST:PORT/path" through.
bool DiffersOnlyByPort(absl::string_view redirect_uri, absl::string_view registered) {
  constexpr absl::string_view kScheme = "http://";
  if (!absl::StartsWith(registered, kScheme)) return false;
  const size_t host_end = registered.find_first_of("/?", kScheme.size());
  const absl::string_view origin = registered.substr(0, host_end);
  const absl::string_view path =
      host_end == absl::string_view::npos ? "" : registered.substr(host_end);
  if (!IsLoopbackHost(origin.substr(kScheme.size()))) return false;

  if (!absl::StartsWith(redirect_uri, absl::StrCat(origin, ":"))) return false;
  const absl::StatusOr<Url> url = ParseUrl(redirect_uri);
  if (!url.ok() || url->port == 0) return false;
  return redirect_uri == absl::StrCat(origin, ":", url->port, path);
}

}  // namespace

Pkce MakePkce() {
  std::string random = RandomBytes(32);
  std::string verifier = Base64UrlEncode(random);
  WipeString(random);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(verifier.data()), verifier.size(), digest);
  Pkce pkce;
  pkce.challenge = Base64UrlEncode(
      absl::string_view(reinterpret_cast<const char*>(digest), SHA256_DIGEST_LENGTH));
  pkce.verifier = Secret(std::move(verifier));
  return pkce;
}

std::string ToUrl(const AuthorizationRequest& request) {
  ScopeSet scopes = request.scopes;
  if (!GrantsRegistration(scopes)) scopes.insert(kRegisterScope);

  const std::pair<absl::string_view, std::string> parameters[] = {
      {"response_type", "code"},
      {"client_id", request.client_id},
      {"redirect_uri", request.redirect_uri},
      {"scope", ToScopeString(scopes)},
      {"state", request.state},
      {"aud", request.aud},
      {"code_challenge", request.code_challenge},
      {"code_challenge_method", "S256"},
  };
  std::string url = request.authorization_endpoint;
  for (const auto& [name, value] : parameters) {
    // RFC 6749 section 3.1: a query that the endpoint has is kept.
    const size_t question = url.find('?');
    const bool fresh = question == std::string::npos;
    const bool needs_separator = fresh || (url.back() != '?' && url.back() != '&');
    absl::StrAppend(&url,
                    fresh             ? "?"
                    : needs_separator ? "&"
                                      : "",
                    name, "=", PercentEncode(value));
  }
  return url;
}

absl::StatusOr<Secret> ParseRedirect(absl::string_view query, absl::string_view expected_state,
                                     absl::string_view issuer, bool iss_required) {
  if (query.size() > kLongestQuery) {
    return MakeError(Reason::kInvalidArgument, "the redirect is too long");
  }
  absl::StatusOr<RedirectParameters> parameters = RedirectParameters::Parse(QueryOf(query));
  if (!parameters.ok()) return parameters.status();

  // State first: what comes without it was not sent by the server that this enrollment asked.
  const Secret state = Secret::CopyOf(parameters->Get("state"));
  if (state.empty() || !Secret::Equal(state, expected_state)) {
    return MakeError(Reason::kStateMismatch, "the redirect belongs to another authorization");
  }
  // RFC 9207 section 2.4: string comparison, and required where the server announces it.
  if (parameters->Has("iss") ? !issuer.empty() && parameters->Get("iss") != issuer : iss_required) {
    return MakeError(Reason::kIssuerMismatch,
                     "the redirect names another issuer than the server, or none");
  }
  if (parameters->Has("error")) return RefusalIn(*parameters);

  const absl::string_view code = parameters->Get("code");
  if (code.empty()) return MakeError(Reason::kInvalidArgument, "the redirect has no code");
  for (const char c : code) {
    if (c < 0x20 || c > 0x7E) {  // RFC 6749 appendix A.11
      return MakeError(Reason::kInvalidArgument, "the code has characters that no code has");
    }
  }
  return Secret::CopyOf(code);
}

bool GrantsRegistration(const ScopeSet& granted) {
  if (granted.count(kRegisterScope) != 0) return true;
  for (const std::string& scope : granted) {
    if (absl::EqualsIgnoreCase(scope, kRegisterScope)) return true;
  }
  return false;
}

bool RedirectUriAllowed(const std::string& redirect_uri,
                        const std::vector<std::string>& registered) {
  for (const std::string& one : registered) {
    if (redirect_uri == one || DiffersOnlyByPort(redirect_uri, one)) return true;
  }
  return false;
}

}  // namespace smartkey
