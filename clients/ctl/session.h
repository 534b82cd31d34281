// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "smartkey/admin_client.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

// What every command is given: the global options and where to write.
//
// Results go to `out`, everything else (progress, notices, errors) to `err`, so that the output can
// be piped. Secrets are written with WriteSecret() only.
struct Session {
  std::ostream& out;
  std::ostream& err;
  std::string socket;  // --socket; empty: the default one.
  bool json = false;

  // Set by the parser to what the chosen command does.
  std::function<absl::Status()> run;
  // With --json: the command prints one object after the other, each on a line of its own; so is an
  // error then.
  bool json_lines = false;
  // What the program ends with when that succeeds: kOk, unless the result itself is a reason for
  // somebody to act.
  ExitCode exit_code = ExitCode::kOk;

  // The public socket, unless --socket names another.
  absl::StatusOr<std::unique_ptr<client::Client>> Connect() const;
  // The admin socket, unless --socket names another.
  absl::StatusOr<std::unique_ptr<client::AdminClient>> ConnectAdmin() const;
  // Asks `question`, which ends without "[y/N]"; OK after a yes. Errors: kCancelled with
  // `otherwise` ("nothing was deleted"), kInvalidArgument with the remedy --yes where nobody can be
  // asked.
  absl::Status Confirm(absl::string_view question, absl::string_view otherwise) const;
  // The admin socket for an administrator, the public one for everybody else.
  absl::StatusOr<std::unique_ptr<client::Client>> ConnectAs(bool administrator) const;
  // For a registration as typed: of `alice/mercy` the administrator speaks on the admin socket; who
  // may not connect there speaks of one that alice shares with him.
  absl::StatusOr<std::unique_ptr<client::Client>> ConnectFor(absl::string_view registration) const;
};

// For output that could not be written whole.
absl::Status OutputFailure();

// Writes to standard output, past every buffer, and adds a newline.
// Errors: OutputFailure().
absl::Status WriteSecret(absl::string_view secret);

}  // namespace smartkey::ctl
