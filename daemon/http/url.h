// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// An absolute http or https URL in its parts (RFC 3986). Pure functions, thread-safe.
struct Url {
  std::string scheme;  // "https" or "http"
  std::string host;    // lower case; an IPv6 literal with its brackets
  int port = 0;        // 0: none was written
  std::string path;    // empty or beginning with '/'
  std::string query;   // without '?'
  bool has_query = false;

  std::string ToString() const;
};

// Reads `text` strictly, so that no other parser can see another host in it: printable ASCII, no
// userinfo, no fragment, no backslash, a host of letters, digits, '-', '_' and '.', or an IPv6
// literal. Errors: InvalidArgument saying what is wrong, without quoting the text.
absl::StatusOr<Url> ParseUrl(absl::string_view text);

// "https://ehr.example.com:8443": all of a URL that a message may show. The default port is left
// out.
std::string OriginOf(const Url& url);

// "https://ehr.example.com:8443", or "an unreadable url".
std::string OriginOf(absl::string_view url);

// True for every spelling that resolvers read as an address: [::1], 127.0.0.1, also 127.1 and
// 0x7f000001.
bool IsIpLiteral(absl::string_view host);

// True for 127.0.0.0/8 in its plain spelling, [::1], and localhost.
bool IsLoopback(absl::string_view host);

// https, or http to a loopback host when that is allowed.
bool SchemeAllowed(const Url& url, bool allow_loopback_http);

}  // namespace smartkey
