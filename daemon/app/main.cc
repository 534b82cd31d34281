// SPDX-License-Identifier: Apache-2.0
// smartkeyd: reads the configuration, starts the daemon, waits for a signal.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <set>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/app/build_revision.h"
#include "daemon/app/config.h"
#include "daemon/app/daemon.h"
#include "daemon/app/journal.h"
#include "daemon/app/key_provider_factory.h"
#include "daemon/app/secret_heap.h"
#include "daemon/http/curl/curl_http_client.h"
#include "daemon/rpc/peer_identity.h"
#include "daemon/rpc/process_setup.h"
#include "daemon/store/sqlite/database_file.h"
#include "daemon/store/sqlite/database_reader.h"
#include "daemon/store/sqlite/sqlite_registration_store.h"
#include "daemon/store/sqlite/state_directory.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/tpm/tpm_key_provider.h"

namespace smartkey {
namespace {

// Octets for Secrets: some 10,000 tokens, which is what the cache holds at most.
constexpr size_t kSecretHeap = 16 << 20;

// Keeps the process's memory out of core files and away from other processes of the same user.
void HideMemory() {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__)  // LeakSanitizer traces its own process
  prctl(PR_SET_DUMPABLE, 0);
#endif
}

// What makes it wrong to start at all.
absl::Status CheckSurroundings() {
  if (geteuid() == 0) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid,
                  "refusing to run as root: it needs no privilege, only the device of the TPM"),
        "'systemctl start smartkeyd', whose unit runs it as its own user, or 'runuser -u USER'");
  }
  if (!PeerIdentifier().OwnUidMapIsIdentity()) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid,
                  "running in a user namespace of its own: every caller would look like the "
                  "same user (PrivateUsers=yes, a container)"),
        "take PrivateUsers= out of the unit, or run it outside of the container and give that the "
        "socket");
  }
  return absl::OkStatus();
}

std::string VersionText() {
  return absl::StrCat("smartkeyd ", SMARTKEY_VERSION, " (", BuildRevision(), ")\n",
                      RpcLibraryVersion(), ", ", StoreLibraryVersion(), ", ", HttpLibraryVersion(),
                      "\nbuilt with ", TpmLibraryVersion(), ", ", Pkcs11LibraryVersion());
}

int Fail(const absl::Status& status) {
  Log(LogLevel::kError, "cannot start",
      {{"error", status.message()}, {"remedy", RemedyOf(status)}});
  return EXIT_FAILURE;
}

int Serve(const std::string& file, const Config& config) {
  // Before the first thread, so that every thread has them blocked and only this one takes them.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  if (absl::Status status = CheckSurroundings(); !status.ok()) return Fail(status);
  if (!UseSecretHeap(kSecretHeap)) {
    Log(LogLevel::kInfo, "tokens and PINs may be swapped out: their memory cannot be locked",
        {{"remedy", "LimitMEMLOCK=64M in the unit, or MemorySwapMax=0"}});
  }
  static const SystemClock clock;
  absl::StatusOr<std::unique_ptr<Daemon>> daemon =
      Daemon::Start(file, config, clock, [] { kill(getpid(), SIGHUP); });
  if (!daemon.ok()) _exit(Fail(daemon.status()));  // threads may have been started
  sd_notify(0, "READY=1");
  Log(LogLevel::kInfo, "serving",
      {{"version", SMARTKEY_VERSION}, {"socket", config.daemon.socket}, {"pid", getpid()}});

  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal != SIGHUP) break;
    sd_notify(0, "RELOADING=1");
    (*daemon)->Reload();
    sd_notify(0, "READY=1");
  }
  sd_notify(0, "STOPPING=1");
  const bool clean = (*daemon)->Shutdown();
  Log(LogLevel::kInfo, "stopped", {{"clean", clean ? "yes" : "no"}});
  std::fflush(nullptr);
  // Not exit(): a thread that hangs in hardware has been abandoned and must not hold the end up,
  // and callbacks under way must not meet objects that are half gone.
  _exit(EXIT_SUCCESS);
}

// "registrations: 2, hardware keys: 3 (tpm)", for who removes the package. Not while smartkeyd
// runs: the database is one process's alone.
absl::StatusOr<std::string> CountRegistrations(const std::string& state_dir) {
  const absl::StatusOr<StateDirectory> directory = StateDirectory::Lock(state_dir);
  if (!directory.ok()) return directory.status();
  DatabaseContents contents;
  if (directory->Exists(kDatabaseFile)) {
    absl::StatusOr<DatabaseContents> read = ReadContents(*directory, kDatabaseFile);
    if (!read.ok()) return read.status();
    contents = *std::move(read);
  }
  size_t keys = 0;
  std::set<std::string> providers;
  for (const Registration& registration : contents.registrations) {
    for (const Generation& generation : registration.generations) {
      if (generation.key.blob.empty()) continue;
      ++keys;
      providers.insert(generation.key.provider);
    }
  }
  return absl::StrCat("registrations: ", contents.registrations.size(), ", hardware keys: ", keys,
                      keys == 0 ? "" : absl::StrCat(" (", absl::StrJoin(providers, ", "), ")"));
}

int PrintCount(const Config& config) {
  const absl::StatusOr<std::string> count = CountRegistrations(config.daemon.state_dir);
  if (!count.ok()) {
    std::cerr << "smartkeyd: " << count.status().message() << "\n";
    return EXIT_FAILURE;
  }
  std::cout << *count << "\n";
  return EXIT_SUCCESS;
}

int Main(int argc, char** argv) {
  PrepareProcessForRpc();
  LogToJournal();
  HideMemory();
  umask(0077);

  CLI::App app("smartkeyd: device keys and access tokens for health apps");
  app.set_version_flag("--version", VersionText());
  std::string file = "/etc/smartkeyd/smartkeyd.toml";
  bool check = false;
  app.add_option("--config", file, "the configuration file")->capture_default_str();
  app.add_flag("--check-config", check, "say what is wrong with the configuration, and end");
  bool count = false;
  app.add_flag(
      "--count-registrations", count,
      "say how many registrations and keys the database holds, and end; not while smartkeyd "
      "runs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : 2;
  }
  if (check) return CheckConfig(file, std::cout);
  const absl::StatusOr<Config> config = LoadConfig(file);
  if (!config.ok()) return Fail(config.status());
  if (count) return PrintCount(*config);
  for (const ConfigProblem& problem : config->problems) {
    Log(LogLevel::kWarning, "a configuration file is ignored", {{"problem", problem.ToString()}});
  }
  if (absl::Status status = PrepareProcessForKeyProvider(*config); !status.ok()) {
    return Fail(status);
  }
  return Serve(file, *config);
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  return smartkey::Main(argc, argv);
}
