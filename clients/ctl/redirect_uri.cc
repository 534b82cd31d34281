// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_uri.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace smartkey::ctl {
namespace {

int HexDigit(char c) {
  if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return -1;
  return absl::ascii_isdigit(static_cast<unsigned char>(c)) ? c - '0'
                                                            : absl::ascii_tolower(c) - 'a' + 10;
}

// application/x-www-form-urlencoded. A '%' without two digits stands for itself.
std::string FormDecode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? HexDigit(text[i + 1]) : -1;
    const int low = high >= 0 ? HexDigit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

Secret StateIn(absl::string_view query) {
  Secret state;
  int found = 0;
  for (const absl::string_view parameter : absl::StrSplit(query, '&')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(parameter, absl::MaxSplits('=', 1));
    if (FormDecode(parts.first) != "state") continue;
    state = Secret(FormDecode(parts.second));
    ++found;
  }
  return found == 1 ? std::move(state) : Secret();
}

}  // namespace

std::string LoopbackUri::WithPort(uint16_t real_port) const {
  return absl::StrCat("http://", host, ":", real_port, path, query);
}

std::string LoopbackUri::Authority(uint16_t real_port) const {
  // RFC 9110 section 4.2.1: a browser leaves out the default port.
  return real_port == 80 ? host : absl::StrCat(host, ":", real_port);
}

std::vector<std::string> LoopbackUri::BindAddresses() const {
  if (host == "[::1]") return {"::1"};
  if (host == "localhost") return {"127.0.0.1", "::1"};
  return {"127.0.0.1"};
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

Secret StateOfUrl(absl::string_view url) {
  url = url.substr(0, url.find('#'));
  const size_t question_mark = url.find('?');
  return question_mark == absl::string_view::npos ? Secret()
                                                  : StateIn(url.substr(question_mark + 1));
}

bool HasState(absl::string_view query, absl::string_view state) {
  return state.empty() || Secret::Equal(StateIn(query), state);
}

}  // namespace smartkey::ctl
