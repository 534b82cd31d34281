// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "absl/strings/match.h"
#include "base/error.h"
#include "daemon/http/http_client.h"

namespace smartkey {

// A reason that prints its name.
inline std::string NameOf(const absl::Status& status) {
  return status.ok() ? "OK" : std::string(ReasonName(ReasonOf(status)));
}
inline std::string NameOf(Reason reason) {
  return std::string(ReasonName(reason));
}

inline HttpResponse Answered(int status, absl::string_view body,
                             std::string content_type = "application/json",
                             std::vector<std::pair<std::string, std::string>> headers = {}) {
  HttpResponse response;
  response.status = status;
  response.content_type = std::move(content_type);
  response.headers = std::move(headers);
  response.body = Secret::CopyOf(body);
  response.sent_at = BootTime::FromSinceBoot(absl::Hours(5));
  response.received_at = absl::FromUnixSeconds(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT
  return response;
}

inline bool Says(const absl::Status& status, absl::string_view text) {
  return absl::StrContains(status.message(), text);
}

}  // namespace smartkey
