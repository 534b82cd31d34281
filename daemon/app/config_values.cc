// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_values.h"

#include <sys/un.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/duration.h"
#include "daemon/app/config.h"
#include "daemon/http/url.h"

namespace smartkey {
namespace {

absl::Status Must(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("must ", what));
}

template <typename Allowed>
bool All(absl::string_view text, Allowed allowed) {
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

bool IsVisible(char c) {
  return c > 0x20 && c < 0x7f;
}

// RFC 3986 section 3.1.
bool IsScheme(absl::string_view text) {
  return !text.empty() && absl::ascii_isalpha(static_cast<unsigned char>(text[0])) &&
         All(text, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' ||
                  c == '.';
         });
}

// `below`: bytes of the path that come after the value.
absl::Status CheckSocketPathOf(const std::string& value, size_t below) {
  if (absl::Status status = CheckAbsolutePath(value); !status.ok()) return status;
  if (const size_t most = sizeof(sockaddr_un::sun_path) - 1 - below; value.size() > most) {
    return Must(absl::StrCat("be at most ", most, " bytes long (the kernel's limit for sockets)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckAbsolutePath(const std::string& value) {
  if (!absl::StartsWith(value, "/") || value.find('\0') != std::string::npos) {
    return Must("be an absolute path");
  }
  return absl::OkStatus();
}

absl::Status CheckSocketPath(const std::string& value) {
  return CheckSocketPathOf(value, 0);
}

absl::Status CheckStateDir(const std::string& value) {
  return CheckSocketPathOf(value, absl::string_view(kPkcs11SocketInStateDir).size());
}

absl::Status CheckShortText(const std::string& value) {
  const bool printable =
      All(value, [](char c) { return !absl::ascii_iscntrl(static_cast<unsigned char>(c)); });
  if (!printable || value.size() > 128) {
    return Must("be a text of 1 to 128 bytes without control characters");
  }
  return absl::OkStatus();
}

absl::Status CheckAppId(const std::string& value) {
  const std::vector<absl::string_view> labels = absl::StrSplit(value, '.');
  const bool good = labels.size() >= 2 && value.size() <= 128 &&
                    std::all_of(labels.begin(), labels.end(), [](absl::string_view label) {
                      return All(label, IsNameCharacter);
                    });
  if (!good) return Must("be in reverse DNS form, like \"org.example.viewer\"");
  return absl::OkStatus();
}

absl::Status CheckServerName(const std::string& value) {
  if (!All(value, IsNameCharacter) || value.size() > 64 ||
      !absl::ascii_isalnum(static_cast<unsigned char>(value[0]))) {
    return Must("be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit");
  }
  return absl::OkStatus();
}

absl::Status CheckServerGlob(const std::string& value) {
  if (!All(value, [](char c) { return IsNameCharacter(c) || c == '*' || c == '?'; })) {
    return Must("hold names of servers, in which '*' and '?' stand for any characters");
  }
  return absl::OkStatus();
}

absl::Status CheckDays(const std::string& value) {
  const absl::StatusOr<absl::Duration> idle = ParseDuration(value);
  if (idle.ok() && *idle >= absl::Hours(24)) return absl::OkStatus();
  return absl::InvalidArgumentError("must be a length of time of at least a day: \"180d\"");
}

absl::Status CheckClientId(const std::string& value) {
  if (!All(value, [](char c) { return c >= 0x20 && c < 0x7f; }) || value.size() > 512) {
    return Must("be 1 to 512 printable ASCII characters");
  }
  return absl::OkStatus();
}

absl::Status CheckScope(const std::string& value) {
  if (!All(value, [](char c) { return IsVisible(c) && c != '"' && c != '\\'; })) {
    return Must("hold one scope in each item, without spaces and quotes");
  }
  return absl::OkStatus();
}

absl::Status CheckRedirectUri(const std::string& value) {
  if (absl::StrContains(value, '#')) return Must("hold no fragment ('#')");
  const size_t colon = value.find(':');
  const std::string scheme =
      colon == std::string::npos ? "" : absl::AsciiStrToLower(value.substr(0, colon));
  if (!IsScheme(scheme) || !All(value, IsVisible)) {
    return Must("hold whole URIs, like \"http://127.0.0.1/callback\"");
  }
  if (scheme != "http" && scheme != "https") {
    if (absl::StrContains(scheme, '.')) return absl::OkStatus();
    return Must(
        "use https, http to 127.0.0.1, [::1] or localhost, or a scheme in reverse DNS form");
  }
  const absl::StatusOr<Url> url = ParseUrl(value);
  if (!url.ok()) return Must(absl::StrCat("hold good URLs: ", url.status().message()));
  if (!SchemeAllowed(*url, /*allow_loopback_http=*/true)) {
    return Must("use https, or http to 127.0.0.1, [::1] or localhost");
  }
  return absl::OkStatus();
}

absl::Status CheckProxy(const std::string& value) {
  const absl::StatusOr<Url> url = ParseUrl(value);
  if (!url.ok() || url->port == 0 || url->has_query || (!url->path.empty() && url->path != "/")) {
    return Must("be written http://host:port");
  }
  return absl::OkStatus();
}

absl::Status CheckAudience(const std::string& value) {
  if (!All(value, IsVisible) || !IsScheme(value.substr(0, value.find(':'))) ||
      !absl::StrContains(value, ':')) {
    return Must("be a URI");
  }
  return absl::OkStatus();
}

absl::Status CheckEndpoint(const std::string& value, bool allow_loopback_http) {
  const absl::StatusOr<Url> url = ParseUrl(value);
  if (!url.ok()) return Must(absl::StrCat("be a good URL: ", url.status().message()));
  if (SchemeAllowed(*url, allow_loopback_http)) return absl::OkStatus();
  if (IsLoopback(url->host)) {
    return Must("be an https URL; http to this machine needs allow_loopback_http = true");
  }
  return Must("be an https URL");
}

absl::StatusOr<std::string> NormaliseFhirBase(const std::string& value, bool allow_loopback_http) {
  if (absl::Status status = CheckEndpoint(value, allow_loopback_http); !status.ok()) return status;
  if (absl::StrContains(value, '?')) return Must("hold no query ('?')");
  // `aud` is compared with it as a string: one spelling, with one slash before what is appended.
  std::string base = value;
  while (absl::EndsWith(base, "/")) base.pop_back();
  return base;
}

absl::Status CheckPkcs11Uri(const std::string& value) {
  if (!absl::StartsWith(value, "pkcs11:") || !All(value, IsVisible)) {
    return Must("be a PKCS#11 URI, like \"pkcs11:token=clinic\"");
  }
  if (absl::StrContains(value, "pin-value")) {
    return Must("hold no pin-value: put the PIN into a file and name it as pin_file");
  }
  return absl::OkStatus();
}

absl::Status CheckEnvironmentEntry(const std::string& value) {
  const size_t equals = value.find('=');
  const std::string name = value.substr(0, equals);
  const bool is_name = !name.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(name[0])) &&
                       All(name, [](char c) {
                         return c == '_' || absl::ascii_isalnum(static_cast<unsigned char>(c));
                       });
  if (equals == std::string::npos || !is_name || value.find('\0') != std::string::npos) {
    return Must("be written \"NAME=value\"");
  }
  const std::vector<std::string> words = absl::StrSplit(absl::AsciiStrToUpper(name), '_');
  if (std::find(words.begin(), words.end(), "PIN") != words.end()) {
    return Must("hold no PIN: put it into a file and name it as pin_file");
  }
  return absl::OkStatus();
}

}  // namespace smartkey
