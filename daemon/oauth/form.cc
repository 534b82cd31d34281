// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/form.h"

#include "absl/strings/ascii.h"

namespace smartkey {

namespace {

void AppendEncoded(absl::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

}  // namespace

std::string PercentEncode(absl::string_view text) {
  std::string out;
  AppendEncoded(text, out);
  return out;
}

Secret Form::Encode() const {
  size_t most = 0;
  for (const auto& [name, value] : fields_) most += 3 * (name.size() + value.size()) + 2;
  std::string body;
  body.reserve(most);
  for (const auto& [name, value] : fields_) {
    if (!body.empty()) body += '&';
    AppendEncoded(name, body);
    body += '=';
    AppendEncoded(value, body);
  }
  return Secret(std::move(body));
}

}  // namespace smartkey
