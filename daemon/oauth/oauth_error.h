// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "daemon/http/http_client.h"

namespace smartkey {

// How answers that are no success are read; shared by all endpoints. Pure functions, thread-safe.

// What a server said of its refusal (RFC 6749 section 5.2), fit for a message. Empty: it did not
// say.
struct OAuthError {
  std::string code;  // only if it looks like one: at most 64 of the characters the RFC allows
  std::string description;  // sanitised; servers also send null, other types, pages of text
};

// From a JSON body of any status; both empty if there is none.
OAuthError ReadOAuthError(const HttpResponse& response);

// Text from a server, fit for a message: runs of more than 40 characters that may be a token, and
// of more than three with a digit, which may be a code or a patient's id, are cut out, then control
// characters and non-ASCII are escaped, then it is cut to `limit` bytes.
std::string SanitizeServerText(absl::string_view text, size_t limit = 200);

// What an answer of the token endpoint (and of those that speak its language) means when it is not
// a 200 that can be used: the table in docs/protocol.md, "what each answer means". Also for a 200
// with an `error` member.
//
//   3xx                                    kRedirectRefused, naming the origin of Location only
//   429, 503                               kServerBusy, with RetryAfterOf
//   408, other 5xx                         kServerError (511: kIntercepted, RFC 6585 section 6)
//   HTML with 2xx, 400, 401, 403           kIntercepted
//   200, 400, 401, 403 with an error code  by code: ReasonForErrorCode
//   everything else                        kUnexpectedStatus
//
// ServerErrorCodeOf and ClockOffsetOf read what it carries beside its message.
absl::Status RefusalFrom(const HttpResponse& response);

// The rows for `error` codes. kUnexpectedStatus for codes that are not in the table.
Reason ReasonForErrorCode(absl::string_view code);

// "invalid_grant (description)", "invalid_grant", or "status 404", for messages.
std::string DescribeRefusal(const HttpResponse& response, const OAuthError& error);

// Puts the server's code, its clock and its Retry-After on a status made elsewhere.
absl::Status WithServerFacts(absl::Status status, const HttpResponse& response,
                             const OAuthError& error);

// RFC 9110 section 5.6.7: the three forms of an HTTP-date.
absl::optional<absl::Time> ParseHttpDate(absl::string_view value);

}  // namespace smartkey
