// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "clients/ctl/session.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

// Which registrations 'suspend' and 'resume' are about: REG, --server S, --owner U or --all,
// exactly one of them.
class SuspensionArguments {
 public:
  // Declares them. This must outlive `command`.
  void AddTo(CLI::App& command);

  const client::SuspensionTarget& target() const { return target_; }

  // The public socket; the admin socket for other owners' registrations: --admin, --owner, and a
  // name like `alice/mercy`.
  absl::StatusOr<std::unique_ptr<client::Client>> Connect(const Session& session) const;

  // For people: "mercy", "all of server mercy".
  std::string Words() const;

 private:
  client::SuspensionTarget target_;
  bool admin_ = false;
};

}  // namespace smartkey::ctl
