// SPDX-License-Identifier: Apache-2.0
// How a token answer is read: every rule about its members is here.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/oauth/json_answer.h"
#include "daemon/oauth/oauth_error.h"
#include "daemon/oauth/token_endpoint.h"

namespace smartkey {

namespace {

using nlohmann::json;

// Epic's tokens are over 1 KB; no EHR's header fields take more than this.
constexpr size_t kLongestToken = 32 * 1024;
constexpr size_t kLongestLaunchContext = 8 * 1024;
constexpr absl::Duration kLongestLifetime = absl::Hours(24);
// expires_in is only RECOMMENDED (RFC 6749 section 5.1). Without it: short, never for ever.
constexpr absl::Duration kAssumedLifetime = absl::Seconds(60);

absl::Status Bad(absl::string_view member, absl::string_view problem) {
  return MakeError(Reason::kBadServerAnswer,
                   absl::StrCat("the token answer's ", member, " ", problem));
}

// Zero: not to be kept.
absl::StatusOr<absl::Duration> ReadLifetime(const JsonAnswer& answer) {
  const json* value = answer.Find("expires_in");
  if (value == nullptr) return kAssumedLifetime;
  if (value->is_string()) {
    // Digits in a string are seen in the wild.
    const std::string& text = value->get_ref<const std::string&>();
    if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
      return Bad("expires_in", "is a string, but not of digits");
    }
    int64_t seconds = 0;
    if (!absl::SimpleAtoi(text, &seconds)) return kLongestLifetime;
    return std::min(absl::Seconds(seconds), kLongestLifetime);
  }
  if (!value->is_number()) return Bad("expires_in", "is not a number");
  const double seconds = std::floor(value->get<double>());
  if (!(seconds > 0)) return absl::ZeroDuration();
  if (seconds >= absl::ToDoubleSeconds(kLongestLifetime)) return kLongestLifetime;
  return absl::Seconds(static_cast<int64_t>(seconds));
}

bool IsPrintable(absl::string_view text, char lowest) {
  return std::all_of(text.begin(), text.end(),
                     [lowest](char c) { return c >= lowest && c < 0x7F; });
}

absl::Status ReadValue(JsonAnswer& answer, AccessToken& token) {
  const json* value = answer.Find("access_token");
  if (value == nullptr) return Bad("access_token", "is missing");
  if (!value->is_string()) return Bad("access_token", "is not a string");
  token.value = answer.TakeSecret("access_token");
  if (token.value.empty()) return Bad("access_token", "is empty");
  if (token.value.size() > kLongestToken) {
    return Bad("access_token", absl::StrCat("is longer than ", kLongestToken, " bytes"));
  }
  // Apps put it into a header: CR and LF there would be an injection. (RFC 6750 section 2.1 allows
  // less still.)
  if (!IsPrintable(token.value.RevealSecret(), '!')) {
    return Bad("access_token", "has spaces, control characters or non-ASCII in it");
  }
  token.value_hash = HashOfToken(token.value);
  return absl::OkStatus();
}

absl::Status ReadType(const JsonAnswer& answer, AccessToken& token) {
  const json* value = answer.Find("token_type");
  if (value == nullptr) return Bad("token_type", "is missing");
  // RFC 6749 section 7.1: a token of a type one does not understand must not be used.
  if (!value->is_string() ||
      !absl::EqualsIgnoreCase(value->get_ref<const std::string&>(), "Bearer")) {
    return Bad("token_type", "is not Bearer");
  }
  token.token_type = "Bearer";
  return absl::OkStatus();
}

absl::Status ReadScope(const JsonAnswer& answer, const ScopeSet& sent, AccessToken& token) {
  const json* value = answer.Find("scope");
  if (value == nullptr) {
    // RFC 6749 section 5.1: absent means as requested; where nothing was requested nothing is
    // known.
    if (!sent.empty()) token.granted = sent;
    return absl::OkStatus();
  }
  if (!value->is_string()) return Bad("scope", "is not a string");
  const std::string& text = value->get_ref<const std::string&>();
  if (!IsPrintable(text, ' ')) return Bad("scope", "has control characters or non-ASCII in it");
  token.granted = ParseScope(text);
  return absl::OkStatus();
}

// The claim `fhirUser` of an id_token. Its signature is not checked: it came over TLS from the
// token endpoint itself (OpenID Connect Core section 3.1.3.7, item 6), and only ever serves as a
// comparison.
std::string FhirUserFromIdToken(const JsonAnswer& answer) {
  const json* value = answer.Find("id_token");
  if (value == nullptr || !value->is_string()) return "";
  const std::vector<absl::string_view> parts =
      absl::StrSplit(value->get_ref<const std::string&>(), '.');
  if (parts.size() != 3) return "";
  absl::StatusOr<std::string> payload = Base64UrlDecode(parts[1]);
  if (!payload.ok()) return "";
  const absl::StatusOr<json> claims = ParseJson(*payload);
  WipeString(*payload);
  return claims.ok() ? FindString(*claims, "fhirUser").value_or("") : "";
}

// What else the answer says goes on to apps as launch context, but for what may be a credential.
std::string LaunchContext(const JsonAnswer& answer) {
  json context = json::object();
  for (const auto& [name, value] : answer.object().items()) {
    const std::string lower = absl::AsciiStrToLower(name);
    bool keep = !value.is_null();
    for (const char* credential : {"token", "secret", "assertion", "password"}) {
      keep = keep && !absl::StrContains(lower, credential);
    }
    for (const char* known : {"expires_in", "scope", "patient", "fhirUser", "state"}) {
      keep = keep && name != known;
    }
    if (keep) context[name] = value;
  }
  if (context.empty()) return "";
  std::string text = ToJsonText(context);
  return text.size() <= kLongestLaunchContext ? text : "";
}

absl::Status ReadContext(const JsonAnswer& answer, AccessToken& token) {
  for (const char* name : {"patient", "fhirUser"}) {
    const json* value = answer.Find(name);
    if (value == nullptr) continue;
    // Not ignored: patients are compared by it.
    if (!value->is_string()) return Bad(name, "is not a string");
    const std::string& text = value->get_ref<const std::string&>();
    (name == absl::string_view("patient") ? token.patient : token.fhir_user) = Identifying(text);
  }
  if (token.fhir_user.empty()) token.fhir_user = Identifying(FhirUserFromIdToken(answer));
  token.launch_context_json = Identifying(LaunchContext(answer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AccessToken> ParseTokenAnswer(const HttpResponse& response, const ScopeSet& sent) {
  absl::StatusOr<JsonAnswer> answer = JsonAnswer::Read(response);
  if (!answer.ok()) return answer.status();
  if (response.status != 200 || answer->Find("error") != nullptr) return RefusalFrom(response);

  AccessToken token;
  if (absl::Status status = ReadType(*answer, token); !status.ok()) return status;
  if (absl::Status status = ReadValue(*answer, token); !status.ok()) return status;
  if (absl::Status status = ReadScope(*answer, sent, token); !status.ok()) return status;
  if (absl::Status status = ReadContext(*answer, token); !status.ok()) return status;

  const absl::StatusOr<absl::Duration> lifetime = ReadLifetime(*answer);
  if (!lifetime.ok()) return lifetime.status();
  token.cacheable = *lifetime > absl::ZeroDuration();
  token.lifetime = *lifetime;
  token.expires = response.sent_at + *lifetime;
  token.expires_at = response.received_at + *lifetime;
  token.refresh_after = token.expires;
  token.refresh_after_at = token.expires_at;
  return token;
}

}  // namespace smartkey
