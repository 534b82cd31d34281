// SPDX-License-Identifier: Apache-2.0
// Signatures per second through key provider and worker, as a ratio to a bare loop in the same run.
//
//   key_signing_bench [--rounds=N] [--calls=N] [--record=FILE] [--benchmark_filter=REGEX]
//
// --rounds  how often the two take turns (default 40)    --calls  signatures a round instead of
// each benchmark's own number    --record  writes the rates of all rounds there, as JSON
//
// Exit code 1 if anything failed or a signature did not verify; a missed target is no failure,
// since a busy machine misses any. What the numbers mean: docs/PERFORMANCE.md.
#include <benchmark/benchmark.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scheduler.h"
#include "hsm/key_worker.h"
#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "hsm/pkcs11/isolated_pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bare_pkcs11.h"
#include "tests/bench/bare_tpm.h"
#include "tests/bench/duel.h"
#include "tests/bench/ratio_table.h"
#include "tests/bench/worker_contestant.h"
#include "tests/support/softhsm.h"
#include "tests/support/swtpm.h"

namespace smartkey {
namespace {

struct Settings {
  int rounds = 40;
  int calls = 0;  // 0: each benchmark's own
  std::string record;
};

// What the benchmarks share. They run one after the other.
struct Session {
  Settings settings;
  nlohmann::json record = nlohmann::json::object();
  bool failed = false;
};

void Fail(benchmark::State& state, Session& session, const absl::Status& status) {
  session.failed = true;
  state.SkipWithError(std::string(status.message()).c_str());
}

// A worker as the daemon has it.
struct Daemon {
  explicit Daemon(KeyWorker::ProviderFactory factory)
      : timers(clock), worker(std::move(factory), clock, timers) {}

  SystemClock clock;
  TimerThread timers;
  KeyWorker worker;
};

// Runs the rounds, and reports them.
void Fight(benchmark::State& state, Session& session, const std::string& name, Contestant& ours,
           Contestant& bare, const std::vector<DuelKey>& keys, int calls, double target) {
  if (session.settings.calls > 0) calls = session.settings.calls;
  // Not counted: caches, lazily bound symbols, the first loading of a key.
  if (const auto warm = Duel(ours, bare, keys).RunRound(calls); !warm.ok()) {
    return Fail(state, session, warm.status());
  }
  Duel duel(ours, bare, keys);
  for (auto _ : state) {
    const absl::StatusOr<absl::Duration> elapsed = duel.RunRound(calls);
    if (!elapsed.ok()) return Fail(state, session, elapsed.status());
    state.SetIterationTime(absl::ToDoubleSeconds(*elapsed));
  }
  ReportDuel(duel, target, state.counters);
  session.record[name] = {{"ours", duel.our_rates()},
                          {"bare", duel.bare_rates()},
                          {"calls", calls},
                          {"target", target}};
}

void TpmSigning(benchmark::State& state, Session& session, const std::string& name, int key_count,
                BareTpm::Loading loading, double target) {
  absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
  if (!tpm.ok()) return Fail(state, session, tpm.status());
  Daemon daemon([&] {
    return std::make_unique<TpmKeyProvider>(
        TpmKeyProvider::Options{.tcti = (*tpm)->tcti(), .machine_id = "bench"});
  });
  absl::StatusOr<std::vector<DuelKey>> keys = CreateDuelKeys(daemon.worker, key_count, "bench");
  if (!keys.ok()) return Fail(state, session, keys.status());
  absl::StatusOr<std::unique_ptr<BareTpm>> bare = BareTpm::Connect((*tpm)->tcti(), *keys, loading);
  if (!bare.ok()) return Fail(state, session, bare.status());
  WorkerContestant ours(daemon.worker, daemon.clock, *keys, /*callers=*/1);
  Fight(state, session, name, ours, **bare, *keys, /*calls=*/200, target);
}

std::unique_ptr<Pkcs11Module> SoftHsmModule(const SoftHsm& hsm) {
  return std::make_unique<InProcessPkcs11Module>(InProcessPkcs11Module::Options{
      .path = SoftHsm::module_path(), .environment = hsm.environment()});
}

std::unique_ptr<Pkcs11Module> IsolatedSoftHsmModule(const SoftHsm& hsm) {
  return std::make_unique<IsolatedPkcs11Module>(IsolatedPkcs11Module::Options{
      .path = SoftHsm::module_path(), .environment = hsm.environment()});
}

enum class Callers { kSleeping, kPending };

std::unique_ptr<Contestant> Through(Daemon& daemon, const std::vector<DuelKey>& keys, Callers kind,
                                    int callers) {
  if (kind == Callers::kPending) {
    return std::make_unique<PendingContestant>(daemon.worker, daemon.clock, keys, callers);
  }
  return std::make_unique<WorkerContestant>(daemon.worker, daemon.clock, keys, callers);
}

// `module`: where ours runs. Bare is always in this process.
void SoftHsmSigning(benchmark::State& state, Session& session, const std::string& name,
                    std::unique_ptr<Pkcs11Module> (*module)(const SoftHsm&), Callers kind,
                    int callers, double target) {
  absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
  if (!hsm.ok()) return Fail(state, session, hsm.status());
  // Also sets the module's environment, before there is a second thread.
  std::unique_ptr<Pkcs11Module> bare_module = SoftHsmModule(**hsm);
  if (const auto loaded = bare_module->Load(); !loaded.ok()) {
    return Fail(state, session, loaded.status());
  }
  Daemon daemon([&] {
    return std::make_unique<Pkcs11KeyProvider>(
        Pkcs11KeyProvider::Options{.uri = (*hsm)->uri(),
                                   .pin_file = (*hsm)->pin_file(),
                                   .instance_id = "bench",
                                   .rejected_pin_file = (*hsm)->rejected_pin_file()},
        module(**hsm));
  });
  absl::StatusOr<std::vector<DuelKey>> keys =
      CreateDuelKeys(daemon.worker, 1, "smartkeyd:bench:r:");
  if (!keys.ok()) return Fail(state, session, keys.status());
  absl::StatusOr<std::unique_ptr<BarePkcs11>> bare =
      BarePkcs11::Connect(std::move(bare_module), SoftHsm::pin(), *keys);
  if (!bare.ok()) return Fail(state, session, bare.status());
  const std::unique_ptr<Contestant> ours = Through(daemon, *keys, kind, callers);
  Fight(state, session, name, *ours, **bare, *keys, /*calls=*/2000, target);
}

template <typename Body>
void Register(Session& session, const std::string& name, Body body) {
  benchmark::RegisterBenchmark(
      name.c_str(), [&session, name, body](benchmark::State& state) { body(state, session, name); })
      ->UseManualTime()
      ->Iterations(session.settings.rounds)
      ->Unit(benchmark::kMillisecond);
}

void RegisterAll(Session& session) {
  using State = benchmark::State;
  using Loading = BareTpm::Loading;
  Register(session, "swtpm/one_key", [](State& state, Session& s, const std::string& name) {
    TpmSigning(state, s, name, /*key_count=*/1, Loading::kOnce, /*target=*/0.9);
  });
  Register(session, "swtpm/ten_keys", [](State& state, Session& s, const std::string& name) {
    TpmSigning(state, s, name, /*key_count=*/10, Loading::kEachCall, /*target=*/0.9);
  });
  Register(session, "swtpm/ten_keys_saved", [](State& state, Session& s, const std::string& name) {
    TpmSigning(state, s, name, /*key_count=*/10, Loading::kSaved, /*target=*/0);
  });
  Register(session, "softhsm/8_callers", [](State& state, Session& s, const std::string& name) {
    SoftHsmSigning(state, s, name, &SoftHsmModule, Callers::kSleeping, 8, /*target=*/0.8);
  });
  Register(session, "softhsm/1_caller", [](State& state, Session& s, const std::string& name) {
    SoftHsmSigning(state, s, name, &SoftHsmModule, Callers::kSleeping, 1, /*target=*/0);
  });
  Register(session, "softhsm/8_pending", [](State& state, Session& s, const std::string& name) {
    SoftHsmSigning(state, s, name, &SoftHsmModule, Callers::kPending, 8, /*target=*/0);
  });
  Register(
      session, "softhsm_isolated/8_callers", [](State& state, Session& s, const std::string& name) {
        SoftHsmSigning(state, s, name, &IsolatedSoftHsmModule, Callers::kSleeping, 8, /*target=*/0);
      });
}

// Takes our own flags out of argv. False: one of them has no number.
bool ReadSettings(int& argc, char** argv, Settings& settings) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--rounds=")) {
      if (!absl::SimpleAtoi(argument, &settings.rounds) || settings.rounds < 1) return false;
    } else if (absl::ConsumePrefix(&argument, "--calls=")) {
      if (!absl::SimpleAtoi(argument, &settings.calls) || settings.calls < 1) return false;
    } else if (absl::ConsumePrefix(&argument, "--record=")) {
      settings.record = std::string(argument);
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return true;
}

// Where modules in processes of their own are met; gone when this ends.
class SocketDirectory {
 public:
  SocketDirectory() {
    path_ = std::filesystem::temp_directory_path() / "bench-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~SocketDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

int Run(int argc, char** argv) {
  Session session;
  if (!ReadSettings(argc, argv, session.settings)) {
    std::fprintf(stderr, "key_signing_bench: --rounds and --calls want a number\n");
    return 2;
  }
  const SocketDirectory sockets;
  if (absl::Status status = IsolatedPkcs11Module::UseSocket(sockets.path() + "/module");
      !status.ok()) {
    std::fprintf(stderr, "key_signing_bench: %s\n", status.ToString().c_str());
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  RegisterAll(session);
  RatioTable table;
  if (benchmark::RunSpecifiedBenchmarks(&table) == 0) {
    std::fprintf(stderr, "key_signing_bench: no benchmark fits the filter\n");
    return 2;
  }
  if (!session.settings.record.empty()) {
    std::ofstream file(session.settings.record);
    file << session.record.dump(1) << "\n";
    if (!file.flush()) session.failed = true;
  }
  return session.failed ? 1 : 0;
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  smartkey::TpmKeyProvider::QuietLibraryLog();
  ::signal(SIGPIPE, SIG_IGN);
  smartkey::SetLogLevel(smartkey::LogLevel::kWarning);
  const int code = smartkey::Run(argc, argv);
  std::fflush(nullptr);
  // SoftHSM2's exit handlers run after OpenSSL's and crash (SoftHSMv2 issue 553).
  ::_exit(code);
}
