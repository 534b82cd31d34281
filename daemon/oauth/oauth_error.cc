// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/oauth_error.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/json.h"
#include "base/log.h"
#include "daemon/http/url.h"
#include "daemon/oauth/json_answer.h"
#include "daemon/oauth/token_endpoint.h"

namespace smartkey {

namespace {

constexpr char kErrorCodeUrl[] = "smartkeyd/oauth-error";
constexpr char kClockOffsetUrl[] = "smartkeyd/clock-offset";  // milliseconds
constexpr absl::Duration kLongestRetryAfter = absl::Hours(1);
constexpr size_t kLongestRun = 40;
constexpr size_t kLongestCode = 64;

struct CodeRow {
  absl::string_view code;
  Reason reason;
};

constexpr CodeRow kCodes[] = {
    // Authorization: may be the clock, the jti, aud or key, or a revocation. Epic says
    // invalid_client for a bad
    // assertion, other servers for a deleted client.
    {"invalid_grant", Reason::kRefusedByServer},
    {"invalid_client", Reason::kRefusedByServer},
    // Configuration.
    {"unauthorized_client", Reason::kMisconfigured},
    {"unsupported_grant_type", Reason::kMisconfigured},
    // The request.
    {"invalid_scope", Reason::kInvalidScope},
    {"invalid_request", Reason::kRequestRefused},
    // Of other endpoints in RFC 6749 and RFC 8628, yet seen here.
    {"temporarily_unavailable", Reason::kServerBusy},
    {"slow_down", Reason::kServerBusy},
    {"server_error", Reason::kServerError},
    // A server that demands DPoP (RFC 9449 section 8), which is not offered.
    {"use_dpop_nonce", Reason::kRequestRefused},
    {"invalid_dpop_proof", Reason::kRequestRefused},
};

// b64token of RFC 6750 section 2.1 and what JWTs and percent-encoding add.
bool MayBeToken(char c) {
  return absl::ascii_isalnum(c) || absl::StrContains("-._~+/=%", c);
}

// Opaque codes and ids of patients are short too; what tells them from words is a digit.
bool MayBePrivate(absl::string_view run) {
  return run.size() > kLongestRun ||
         (run.size() > 3 && std::any_of(run.begin(), run.end(), [](unsigned char c) {
            return absl::ascii_isdigit(c);
          }));
}

// RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
bool IsErrorCode(absl::string_view code) {
  return !code.empty() && code.size() <= kLongestCode &&
         std::all_of(code.begin(), code.end(),
                     [](char c) { return c > 0x20 && c < 0x7F && c != '"' && c != '\\'; });
}

Reason ReasonForStatus(const HttpResponse& response, const OAuthError& error) {
  const int status = response.status;
  if (status >= 300 && status < 400) return Reason::kRedirectRefused;
  if (status == 429 || status == 503) return Reason::kServerBusy;
  if (status == 511) return Reason::kIntercepted;
  if (status == 408 || status >= 500) return Reason::kServerError;
  const bool speaks_oauth =
      (status >= 200 && status < 300) || status == 400 || status == 401 || status == 403;
  if (speaks_oauth && IsHtml(response)) return Reason::kIntercepted;
  if (speaks_oauth && !error.code.empty()) return ReasonForErrorCode(error.code);
  return Reason::kUnexpectedStatus;
}

}  // namespace

std::string SanitizeServerText(absl::string_view text, size_t limit) {
  std::string kept;
  size_t i = 0;
  // What is behind the first few thousand bytes is cut anyway.
  text = text.substr(0, 4096);
  while (i < text.size()) {
    size_t end = i;
    while (end < text.size() && MayBeToken(text[end])) ++end;
    if (MayBePrivate(text.substr(i, end - i))) {
      kept += "[cut]";
    } else {
      absl::StrAppend(&kept, text.substr(i, end - i));
    }
    if (end < text.size()) kept += text[end];
    i = end + 1;
  }
  return Printable(kept, limit);
}

OAuthError ReadOAuthError(const HttpResponse& response) {
  OAuthError error;
  const absl::StatusOr<JsonAnswer> answer = JsonAnswer::Read(
      response, {"application/json", "application/fhir+json", "application/problem+json"});
  if (!answer.ok()) return error;
  const std::string code = FindString(answer->object(), "error").value_or("");
  if (IsErrorCode(code)) error.code = code;
  error.description =
      SanitizeServerText(FindString(answer->object(), "error_description").value_or(""));
  return error;
}

Reason ReasonForErrorCode(absl::string_view code) {
  for (const CodeRow& row : kCodes) {
    if (row.code == code) return row.reason;
  }
  return Reason::kUnexpectedStatus;
}

std::string DescribeRefusal(const HttpResponse& response, const OAuthError& error) {
  std::string text = error.code.empty() ? absl::StrCat("status ", response.status)
                                        : SanitizeServerText(error.code);
  if (!error.description.empty()) absl::StrAppend(&text, " (", error.description, ")");
  if (response.status >= 300 && response.status < 400) {
    const absl::optional<std::string> location = response.FindHeader("location");
    if (location.has_value()) absl::StrAppend(&text, " to ", OriginOf(*location));
  }
  return text;
}

absl::Status WithServerFacts(absl::Status status, const HttpResponse& response,
                             const OAuthError& error) {
  if (!error.code.empty()) status.SetPayload(kErrorCodeUrl, absl::Cord(error.code));
  if (const auto date = response.FindHeader("date"); date.has_value()) {
    if (const auto server_time = ParseHttpDate(*date); server_time.has_value()) {
      status.SetPayload(
          kClockOffsetUrl,
          absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(*server_time - response.received_at))));
    }
  }
  if (ReasonOf(status) == Reason::kServerBusy) {
    if (const auto header = response.FindHeader("retry-after"); header.has_value()) {
      if (const auto wait = ParseRetryAfter(*header, response.received_at); wait.has_value()) {
        status = WithRetryAfter(std::move(status), *wait);
      }
    }
  }
  return status;
}

absl::Status RefusalFrom(const HttpResponse& response) {
  const OAuthError error = ReadOAuthError(response);
  const Reason reason = ReasonForStatus(response, error);
  std::string message;
  if (reason == Reason::kRedirectRefused) {
    message = "the server redirects, which is not followed: ";
  } else if (reason == Reason::kIntercepted) {
    message = "a web page came: something answered in the server's place: ";
  } else {
    message = "the server answered ";
  }
  absl::StrAppend(&message, DescribeRefusal(response, error));
  return WithServerFacts(MakeError(reason, message), response, error);
}

std::string ServerErrorCodeOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kErrorCodeUrl);
  return payload.has_value() ? std::string(*payload) : "";
}

absl::optional<absl::Duration> ClockOffsetOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kClockOffsetUrl);
  int64_t milliseconds = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &milliseconds)) {
    return absl::nullopt;
  }
  return absl::Milliseconds(milliseconds);
}

absl::optional<absl::Time> ParseHttpDate(absl::string_view value) {
  absl::Time time;
  std::string problem;
  for (const char* format :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    if (absl::ParseTime(format, value, &time, &problem)) return time;
  }
  return absl::nullopt;
}

absl::optional<absl::Duration> ParseRetryAfter(absl::string_view value, absl::Time now) {
  value = absl::StripAsciiWhitespace(value);
  if (value.empty()) return absl::nullopt;
  absl::Duration wait;
  if (value.find_first_not_of("0123456789") == absl::string_view::npos) {
    int64_t seconds = 0;
    // More digits than a number holds: as long as it goes.
    if (!absl::SimpleAtoi(value, &seconds)) return kLongestRetryAfter;
    wait = absl::Seconds(seconds);
  } else {
    const absl::optional<absl::Time> date = ParseHttpDate(value);
    if (!date.has_value()) return absl::nullopt;
    wait = *date - now;
  }
  return std::clamp(wait, absl::ZeroDuration(), kLongestRetryAfter);
}

}  // namespace smartkey
