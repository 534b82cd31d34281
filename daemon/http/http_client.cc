// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/http_client.h"

#include "absl/strings/cord.h"

namespace smartkey {

namespace {

constexpr char kNothingSentUrl[] = "smartkeyd/nothing-sent";

}  // namespace

absl::optional<std::string> HttpResponse::FindHeader(absl::string_view name) const {
  for (const auto& [header, value] : headers) {
    if (header == name) return value;
  }
  return absl::nullopt;
}

bool NothingWasSent(const absl::Status& status) {
  return status.GetPayload(kNothingSentUrl).has_value();
}

absl::Status MarkNothingWasSent(absl::Status status) {
  status.SetPayload(kNothingSentUrl, absl::Cord("1"));  // No effect on OK.
  return status;
}

}  // namespace smartkey
