// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/secret.h"

namespace smartkey::ctl {

// A redirect URI that a program on this machine can listen at (RFC 8252 section 7.3): plain http,
// and a host that is 127.0.0.1, [::1] or localhost.
struct LoopbackUri {
  std::string host;               // As registered: "127.0.0.1", "[::1]", "localhost".
  absl::optional<uint16_t> port;  // Absent: any free port will do.
  std::string path;               // At least "/".
  std::string query;              // Registered together with it: "?x=1". Usually empty.

  // The URI with this port, spelled as registered otherwise.
  std::string WithPort(uint16_t real_port) const;
  // "127.0.0.1:40123": what a browser sends as Host.
  std::string Authority(uint16_t real_port) const;
  // The addresses to listen at. For localhost both: browsers try [::1] first, where otherwise any
  // other user of this machine could be listening.
  std::vector<std::string> BindAddresses() const;
};

// Absent for every other URI.
absl::optional<LoopbackUri> ParseLoopbackUri(absl::string_view uri);

// What follows the `?` of a pasted redirect URL, or the text itself if it is only that. Absent if
// it cannot be the answer of an authorization server (RFC 6749 section 4.1.2: it has a code or an
// error).
absl::optional<std::string> RedirectQueryOf(absl::string_view pasted);

// The `state` of an authorization URL, decoded. Empty if it has none, or more than one.
Secret StateOfUrl(absl::string_view url);

// Whether a redirect's query has this state, and no other beside it. An empty `state` is one that
// is not known, and every query will do; smartkeyd compares again in any case.
bool HasState(absl::string_view query, absl::string_view state);

}  // namespace smartkey::ctl
