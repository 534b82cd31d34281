// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace smartkey {

// Checks of single values in configuration files. Each returns OK, or InvalidArgument saying what
// the value must be, to be read after the key: "must be an absolute path". Pure functions.

absl::Status CheckAbsolutePath(const std::string& value);
// A path that fits into sockaddr_un.
absl::Status CheckSocketPath(const std::string& value);
// A path that leaves room there for kPkcs11SocketInStateDir.
absl::Status CheckStateDir(const std::string& value);
// Not empty, at most 128 bytes, no control characters.
absl::Status CheckShortText(const std::string& value);
// "org.example.viewer": at least two labels of letters, digits, '-' and '_'.
absl::Status CheckAppId(const std::string& value);
// Up to 64 letters, digits, '.', '_' and '-', beginning with a letter or digit: fits into commands.
absl::Status CheckServerName(const std::string& value);
// The same characters and '*', '?'.
absl::Status CheckServerGlob(const std::string& value);
// A length of time of a day or more: "180d".
absl::Status CheckDays(const std::string& value);
// VSCHAR (RFC 6749 appendix A.1), at most 512 bytes.
absl::Status CheckClientId(const std::string& value);
// One scope-token (RFC 6749 section 3.3).
absl::Status CheckScope(const std::string& value);
// https, http to a loopback host, or a private-use scheme in reverse DNS (RFC 8252 section 7); no
// fragment (RFC 6749 section 3.1.2).
absl::Status CheckRedirectUri(const std::string& value);
// "http://host:port".
absl::Status CheckProxy(const std::string& value);
// What an assertion may be meant for: a URI of printable characters.
absl::Status CheckAudience(const std::string& value);
// An https URL without userinfo and fragment, or http to loopback if that is allowed.
absl::Status CheckEndpoint(const std::string& value, bool allow_loopback_http);
// The same without a query, and without trailing slashes in the result.
absl::StatusOr<std::string> NormaliseFhirBase(const std::string& value, bool allow_loopback_http);
// "pkcs11:..." (RFC 7512).
absl::Status CheckPkcs11Uri(const std::string& value);
// "NAME=value", and no name of a PIN.
absl::Status CheckEnvironmentEntry(const std::string& value);

}  // namespace smartkey
