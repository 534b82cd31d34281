// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/isolated_pkcs11_module.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {

absl::StatusOr<CK_FUNCTION_LIST*> IsolatedPkcs11Module::Load() {
  Unload();
  process_.Prepare();
  if (absl::Status status = Start(); !status.ok()) {
    Unload();
    return Annotate(status, absl::StrCat("module ", Printable(options_.path)));
  }
  return client_->functions();
}

absl::Status IsolatedPkcs11Module::Start() {
  if (!absl::StartsWith(options_.path, "/")) {
    return MakeError(Reason::kConfigInvalid, "pkcs11: the module must be an absolute path");
  }
  // Asked here for the message's sake: of the other process one learns only that it has ended.
  if (::access(options_.path.c_str(), R_OK) != 0) {
    return MakeError(Reason::kHardwareAbsent, absl::StrCat("pkcs11: ", std::strerror(errno)));
  }
  if (client_ == nullptr) {
    absl::StatusOr<std::unique_ptr<P11KitClient>> client =
        P11KitClient::Create(options_.client_module);
    if (!client.ok()) return client.status();
    client_ = *std::move(client);
  }
  absl::StatusOr<std::unique_ptr<P11KitListener>> listener =
      P11KitListener::Create([this] { return process_.kill_asked(); });
  if (!listener.ok()) return listener.status();
  absl::Status started = process_.Start({.program = options_.program,
                                         .module_path = options_.path,
                                         .environment = options_.environment},
                                        (*listener)->fd());
  (*listener)->LeaveToChild();
  if (!started.ok()) return started;

  const KillTimer timer(process_, options_.start_limit);
  const CK_RV rv = client_->Initialize(options_.init_args);
  initialized_ = rv == CKR_OK;
  return initialized_ ? absl::OkStatus() : WhyItEnded(rv);
}

absl::Status IsolatedPkcs11Module::WhyItEnded(CK_RV rv) {
  const bool killed = process_.kill_asked();
  const absl::optional<ModuleProcess::WaitStatus> status = process_.End(options_.end_limit);
  if (killed) {
    return MakeError(Reason::kHardwareDegraded,
                     "pkcs11: the module did not initialize in time, or was interrupted");
  }
  if (status.has_value() && WIFSIGNALED(*status)) {
    return MakeError(Reason::kHardwareDegraded,
                     absl::StrCat("pkcs11: the module crashed in C_Initialize (signal ",
                                  WTERMSIG(*status), ")"));
  }
  const int code = status.has_value() && WIFEXITED(*status) ? WEXITSTATUS(*status) : 0;
  switch (code) {
    case 0:  // it has ended since we did not go on: what C_Initialize says is the reason
      return Pkcs11Status(rv, "initialize module");
    case ModuleProcess::kProgramMissing:
      return MakeError(Reason::kHardwareAbsent,
                       absl::StrCat("pkcs11: ", options_.program,
                                    " cannot be run: is the package p11-kit installed?"));
    case ModuleProcess::kSetupFailed:
      return MakeError(Reason::kHardwareDegraded,
                       "pkcs11: the module's process could not be set up");
    default:
      return MakeError(Reason::kHardwareAbsent,
                       "pkcs11: it cannot be loaded, or is no pkcs11 module");
  }
}

void IsolatedPkcs11Module::Unload() {
  if (std::exchange(initialized_, false)) {
    const KillTimer timer(process_, options_.end_limit);
    // What it answers changes nothing: p11-kit's client is disconnected in any case.
    client_->functions()->C_Finalize(nullptr);
  }
  process_.End(options_.end_limit);
}

}  // namespace smartkey
