// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/process_setup.h"

#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"

namespace smartkey {
namespace {

void LogFromGrpc(gpr_log_func_args* args) {
  Log(args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug,
      "message from grpc", {{"text", Printable(args->message)}});
}

}  // namespace

void PrepareProcessForRpc() {
  signal(SIGPIPE, SIG_IGN);

  std::vector<std::string> names;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const absl::string_view text(*entry);
    if (absl::StartsWithIgnoreCase(text, "GRPC_"))
      names.emplace_back(text.substr(0, text.find('=')));
  }
  for (const std::string& name : names) unsetenv(name.c_str());

  // Debian builds Abseil with its search for deadlocks, at every lock that gRPC takes: a twentieth
  // of a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);

  gpr_set_log_function(LogFromGrpc);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  // For good. The last object to go would otherwise take the library down, and wait for its threads
  // (10 s seen).
  grpc_init();
}

int RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, INT_MAX));
}

std::string RpcLibraryVersion() {
  return absl::StrCat("gRPC ", grpc::Version());
}

}  // namespace smartkey
