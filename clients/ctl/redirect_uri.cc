// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_uri.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace smartkey::ctl {

std::string LoopbackUri::WithPort(uint16_t real_port) const {
  return absl::StrCat("http://", host, ":", real_port, path, query);
}

std::string LoopbackUri::Authority(uint16_t real_port) const {
  // RFC 9110 section 4.2.1: a browser leaves out the default port.
  return real_port == 80 ? host : absl::StrCat(host, ":", real_port);
}

std::string LoopbackUri::BindAddress() const {
  return host == "[::1]" ? "::1" : "127.0.0.1";
}

absl::optional<LoopbackUri> ParseLoopbackUri(absl::string_view uri) {
  if (!absl::ConsumePrefix(&uri, "http://")) return absl::nullopt;
  LoopbackUri out;
  for (const char* host : {"127.0.0.1", "[::1]", "localhost"}) {
    if (absl::ConsumePrefix(&uri, host)) {
      out.host = host;
      break;
    }
  }
  if (out.host.empty() || absl::StrContains(uri, '#')) return absl::nullopt;
  if (absl::ConsumePrefix(&uri, ":")) {
    const absl::string_view digits = uri.substr(0, uri.find_first_of("/?"));
    uint32_t port = 0;
    if (!absl::SimpleAtoi(digits, &port) || port == 0 || port > 65535) return absl::nullopt;
    out.port = static_cast<uint16_t>(port);
    uri.remove_prefix(digits.size());
  }
  const size_t path_end = std::min(uri.find('?'), uri.size());
  out.path = path_end == 0 ? std::string(1, '/') : std::string(uri.substr(0, path_end));
  out.query = std::string(uri.substr(path_end));
  if (out.path[0] != '/') return absl::nullopt;  // "127.0.0.1.example.com"
  return out;
}

absl::optional<std::string> RedirectQueryOf(absl::string_view pasted) {
  pasted = absl::StripAsciiWhitespace(pasted);
  const size_t question_mark = pasted.find('?');
  if (question_mark != absl::string_view::npos) pasted.remove_prefix(question_mark + 1);
  pasted = pasted.substr(0, pasted.find('#'));
  for (const absl::string_view parameter : absl::StrSplit(pasted, '&')) {
    if (absl::StartsWith(parameter, "code=") || absl::StartsWith(parameter, "error=")) {
      return std::string(pasted);
    }
  }
  return absl::nullopt;
}

}  // namespace smartkey::ctl
