// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "clients/ctl/redirect_uri.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

// Which app enrolls, and where its browser comes back to.
struct EnrollmentTarget {
  std::string app;
  absl::optional<LoopbackUri> loopback;  // Absent: the redirect has to be pasted.
  std::string redirect_uri;              // The registered one; empty: the app has none.
};

// Finds server and app of `wish` among what is configured. The app may be left out if only one has
// a client_id for the server. Of its redirect URIs the first loopback one is taken. Errors:
// kUnknownServer, kUnknownApp, kInvalidArgument when several apps fit.
absl::StatusOr<EnrollmentTarget> FindEnrollmentTarget(const client::EnrollmentWish& wish,
                                                      const std::vector<client::Server>& servers,
                                                      const std::vector<client::App>& apps);

}  // namespace smartkey::ctl
