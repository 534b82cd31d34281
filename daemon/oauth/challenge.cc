// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/challenge.h"

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/types/optional.h"

namespace smartkey {
namespace {

constexpr size_t kLongestError = 64;

// tchar of RFC 9110 section 5.6.2.
bool IsTokenChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::StrContains("!#$%&'*+-.^_`|~", absl::string_view(&c, 1));
}

// Reads from the front of a header. Each function takes away what it returns.
class HeaderReader {
 public:
  explicit HeaderReader(absl::string_view text) : rest_(text) {}

  bool AtEnd() const { return rest_.empty(); }

  void SkipSpaces() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  void SkipSpacesAndCommas() {
    do SkipSpaces();
    while (Take(','));
  }
  bool Take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // Empty: there is none.
  absl::string_view Token() {
    size_t size = 0;
    while (size < rest_.size() && IsTokenChar(rest_[size])) ++size;
    const absl::string_view token = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return token;
  }

  // A token or quoted-string (RFC 9110 section 5.6.4), without its quotes and escapes.
  absl::optional<std::string> Value() {
    if (!Take('"')) {
      const absl::string_view token = Token();
      if (token.empty()) return absl::nullopt;
      return std::string(token);
    }
    std::string value;
    while (!rest_.empty()) {
      if (Take('"')) return value;
      if (Take('\\') && rest_.empty()) break;
      value += rest_[0];
      rest_.remove_prefix(1);
    }
    return absl::nullopt;  // no closing quote
  }

  // What follows "name=" and is no value is the end of a token68, as the '=' was.
  void SkipToken68() {
    while (Take('=') || Take('/') || !Token().empty()) {
    }
  }

 private:
  absl::string_view rest_;
};

bool IsErrorCode(absl::string_view text) {
  return !text.empty() && text.size() <= kLongestError &&
         absl::c_all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

}  // namespace

std::string ChallengeErrorOf(absl::string_view www_authenticate) {
  HeaderReader reader(www_authenticate);
  absl::string_view scheme;
  for (reader.SkipSpacesAndCommas(); !reader.AtEnd(); reader.SkipSpacesAndCommas()) {
    const absl::string_view word = reader.Token();
    if (reader.Take('/')) {  // which nothing but a token68 has
      reader.SkipToken68();
      continue;
    }
    if (word.empty()) return "";
    reader.SkipSpaces();
    if (!reader.Take('=')) {
      scheme = word;
      continue;
    }
    reader.SkipSpaces();
    const absl::optional<std::string> value = reader.Value();
    if (!value.has_value()) {
      reader.SkipToken68();
      continue;
    }
    const bool ours =
        absl::EqualsIgnoreCase(scheme, "Bearer") || absl::EqualsIgnoreCase(scheme, "DPoP");
    if (ours && absl::EqualsIgnoreCase(word, "error") && IsErrorCode(*value)) return *value;
  }
  return "";
}

}  // namespace smartkey
