// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/session.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/match.h"

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

absl::StatusOr<std::unique_ptr<client::Client>> Session::ConnectFor(
    absl::string_view registration) const {
  if (!absl::StrContains(registration, '/')) return Connect();
  auto admin = ConnectAdmin();
  if (!admin.ok()) return admin.status();
  return std::unique_ptr<client::Client>(*std::move(admin));
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
