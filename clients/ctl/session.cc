// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/session.h"

#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace smartkey::ctl {
namespace {

absl::Status WriteAll(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return OutputFailure();
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<client::Client>> Session::Connect() const {
  return client::Client::Connect(socket);
}

absl::StatusOr<std::unique_ptr<client::AdminClient>> Session::ConnectAdmin() const {
  return client::AdminClient::Connect(socket);
}

absl::StatusOr<std::unique_ptr<client::Client>> Session::ConnectAs(bool administrator) const {
  if (!administrator) return Connect();
  auto admin = ConnectAdmin();
  if (!admin.ok()) return admin.status();
  return std::unique_ptr<client::Client>(*std::move(admin));
}

absl::StatusOr<std::unique_ptr<client::Client>> Session::ConnectFor(
    absl::string_view registration) const {
  if (!absl::StrContains(registration, '/')) return Connect();
  const bool no_administrator = socket.empty() &&
                                access(client::AdminSocketPath().c_str(), W_OK) != 0 &&
                                (errno == EACCES || errno == EPERM);
  return ConnectAs(!no_administrator);
}

absl::Status Session::Confirm(absl::string_view question, absl::string_view otherwise) const {
  if (isatty(STDIN_FILENO) != 1) {
    return WithRemedy(
        MakeError(Reason::kInvalidArgument, absl::StrCat("nobody is here to confirm: ", otherwise)),
        "use --yes to do it without being asked");
  }
  err << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return absl::OkStatus();
  return MakeError(Reason::kCancelled, otherwise);
}

absl::Status OutputFailure() {
  return WithRemedy(MakeError(Reason::kInternal, "cannot write to standard output"),
                    "check where the output goes: a closed pipe or a full disk");
}

absl::Status WriteSecret(absl::string_view secret) {
  absl::Status status = WriteAll(secret);
  if (status.ok()) status = WriteAll("\n");
  return status;
}

}  // namespace smartkey::ctl
