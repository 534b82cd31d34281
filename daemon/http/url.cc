// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/url.h"

#include <arpa/inet.h>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace smartkey {

namespace {

bool IsUrlCharacter(char c) {
  // RFC 3986 section 2: unreserved, gen-delims, sub-delims and '%'; square brackets only in the
  // host.
  return absl::ascii_isalnum(c) || absl::StrContains("-._~:/?@!$&'()*+,;=%", c);
}

absl::Status CheckHost(absl::string_view host) {
  if (host.empty()) return absl::InvalidArgumentError("the url has no host");
  if (host.size() > 255) return absl::InvalidArgumentError("the host is too long");
  if (host.front() == '[') {
    const std::string address(host.substr(1, host.size() - 2));
    struct in6_addr parsed;
    if (inet_pton(AF_INET6, address.c_str(), &parsed) == 1) return absl::OkStatus();
    return absl::InvalidArgumentError("the ipv6 address cannot be read");
  }
  for (const char c : host) {
    if (!absl::ascii_isalnum(c) && c != '-' && c != '.' && c != '_') {
      return absl::InvalidArgumentError("the host has a character that is not allowed");
    }
  }
  return absl::OkStatus();
}

// Splits "host:port" or "[v6]:port".
absl::Status ReadAuthority(absl::string_view authority, Url& url) {
  if (absl::StrContains(authority, '@')) return absl::InvalidArgumentError("the url has userinfo");
  absl::string_view host = authority;
  absl::string_view port;
  const size_t bracket = authority.find(']');
  if (!authority.empty() && authority.front() == '[') {
    if (bracket == absl::string_view::npos) {
      return absl::InvalidArgumentError("the ipv6 address cannot be read");
    }
    host = authority.substr(0, bracket + 1);
    port = authority.substr(bracket + 1);
  } else if (const size_t colon = authority.find(':'); colon != absl::string_view::npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (!port.empty()) {
    int number = 0;
    if (port.front() != ':' || port.size() > 6 || port.size() < 2 || port[1] == '+' ||
        port[1] == '-' || !absl::SimpleAtoi(port.substr(1), &number) || number < 1 ||
        number > 65535) {
      return absl::InvalidArgumentError("the port is not a number from 1 to 65535");
    }
    url.port = number;
  }
  if (absl::Status status = CheckHost(host); !status.ok()) return status;
  url.host = absl::AsciiStrToLower(host);
  return absl::OkStatus();
}

int DefaultPort(const Url& url) {
  return url.scheme == "https" ? 443 : 80;
}

}  // namespace

std::string Url::ToString() const {
  return absl::StrCat(scheme, "://", host, port == 0 ? "" : absl::StrCat(":", port), path,
                      has_query ? "?" : "", query);
}

absl::StatusOr<Url> ParseUrl(absl::string_view text) {
  Url url;
  const size_t colon = text.find("://");
  if (colon == absl::string_view::npos)
    return absl::InvalidArgumentError("the url is not absolute");
  url.scheme = absl::AsciiStrToLower(text.substr(0, colon));
  if (url.scheme != "https" && url.scheme != "http") {
    return absl::InvalidArgumentError("the url is neither https nor http");
  }
  absl::string_view rest = text.substr(colon + 3);
  if (absl::StrContains(rest, '#')) return absl::InvalidArgumentError("the url has a fragment");

  const size_t end = rest.find_first_of("/?");
  const absl::string_view authority = rest.substr(0, end);
  if (absl::Status status = ReadAuthority(authority, url); !status.ok()) return status;
  rest = end == absl::string_view::npos ? "" : rest.substr(end);
  for (const char c : rest) {
    if (!IsUrlCharacter(c)) {
      return absl::InvalidArgumentError("the url has a character that is not allowed");
    }
  }
  const size_t question = rest.find('?');
  url.path = std::string(rest.substr(0, question));
  if (question != absl::string_view::npos) {
    url.has_query = true;
    url.query = std::string(rest.substr(question + 1));
  }
  return url;
}

std::string OriginOf(const Url& url) {
  const bool show_port = url.port != 0 && url.port != DefaultPort(url);
  return absl::StrCat(url.scheme, "://", url.host, show_port ? absl::StrCat(":", url.port) : "");
}

std::string OriginOf(absl::string_view url) {
  // Where there is a fragment, as in a Location, it is not part of the origin.
  const absl::StatusOr<Url> parsed = ParseUrl(url.substr(0, url.find('#')));
  return parsed.ok() ? OriginOf(*parsed) : "an unreadable url";
}

bool IsIpLiteral(absl::string_view host) {
  if (host.empty() || host.front() == '[') return !host.empty();
  if (host.back() == '.') host.remove_suffix(1);
  // A last label that is a number makes inet_aton read the whole as an address; no top-level domain
  // is one (URL Standard, "ends in a number").
  const size_t dot = host.rfind('.');
  const absl::string_view last = dot == absl::string_view::npos ? host : host.substr(dot + 1);
  if (last.empty()) return false;
  if (absl::StartsWithIgnoreCase(last, "0x")) {
    return last.find_first_not_of("0123456789abcdefABCDEF", 2) == absl::string_view::npos;
  }
  return last.find_first_not_of("0123456789") == absl::string_view::npos;
}

bool IsLoopback(absl::string_view host) {
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  if (host.size() > 2 && host.front() == '[') {
    struct in6_addr address;
    return inet_pton(AF_INET6, std::string(host.substr(1, host.size() - 2)).c_str(), &address) ==
               1 &&
           IN6_IS_ADDR_LOOPBACK(&address);
  }
  struct in_addr address;
  return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1 &&
         (ntohl(address.s_addr) >> 24) == 127;
}

bool SchemeAllowed(const Url& url, bool allow_loopback_http) {
  return url.scheme == "https" || (allow_loopback_http && IsLoopback(url.host));
}

}  // namespace smartkey
