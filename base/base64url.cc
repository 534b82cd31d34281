// SPDX-License-Identifier: Apache-2.0
#include "base/base64url.h"

#include "absl/strings/escaping.h"

namespace smartkey {

std::string Base64UrlEncode(absl::string_view bytes) {
  std::string text;
  absl::WebSafeBase64Escape(bytes, &text);
  return text;
}

absl::StatusOr<std::string> Base64UrlDecode(absl::string_view text) {
  std::string bytes;
  // abseil forgives padding, white space and loose end bits; whatever does not come back the same
  // was not canonical.
  if (!absl::WebSafeBase64Unescape(text, &bytes) || Base64UrlEncode(bytes) != text) {
    return absl::InvalidArgumentError("not base64url");
  }
  return bytes;
}

}  // namespace smartkey
