// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_reloads.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/app/config_changes.h"

namespace smartkey {
namespace {

absl::Status MistakesIn(const std::vector<ConfigProblem>& errors) {
  const std::string more = errors.size() == 1 ? ""
                                              : absl::StrCat(" (and ", errors.size() - 1,
                                                             " more: see smartkeyctl status)");
  return MakeError(Reason::kConfigInvalid,
                   absl::StrCat("nothing was changed: ", errors.front().ToString(), more));
}

void Report(const ConfigReload& reload) {
  for (const std::string& change : reload.changes) {
    Log(LogLevel::kInfo, "configuration changed", {{"change", change}});
  }
  for (const std::string& key : reload.needs_restart) {
    Log(LogLevel::kWarning, "a change in the configuration counts at the next start",
        {{"key", key}});
  }
  for (const ConfigProblem& problem : reload.problems) {
    Log(LogLevel::kWarning, "a configuration file is ignored", {{"problem", problem.ToString()}});
  }
  Log(LogLevel::kInfo, "configuration reloaded", {{"changes", reload.changes.size()}});
}

}  // namespace

ConfigReloads::ConfigReloads(std::string main_file, const Config& started, CurrentCatalog& catalog,
                             const Clock& clock, std::function<void()> wake, Swapped swapped)
    : main_file_(std::move(main_file)),
      started_(started),
      catalog_(catalog),
      clock_(clock),
      wake_(std::move(wake)),
      swapped_(std::move(swapped)),
      current_(started),
      state_{clock.Now(), started.problems, {}} {}

void ConfigReloads::Reload(Done done) {
  {
    MutexLock lock(mu_);
    waiting_.push_back(std::move(done));
  }
  wake_();
}

ConfigState ConfigReloads::state() const {
  MutexLock lock(mu_);
  return state_;
}

void ConfigReloads::Run() {
  std::vector<Done> waiting;
  {
    // Before the files are read: whoever asks later may have changed them meanwhile.
    MutexLock lock(mu_);
    waiting.swap(waiting_);
  }
  const absl::StatusOr<ConfigReload> reload = Read();
  if (reload.ok()) {
    Report(*reload);
  } else {
    Log(LogLevel::kError, "the configuration stays as it was",
        {{"error", reload.status().message()}});
  }
  for (Done& done : waiting) done(reload);
}

absl::StatusOr<ConfigReload> ConfigReloads::Read() {
  ConfigReport report = ReadConfig(main_file_);
  if (!report.errors.empty()) {
    const absl::Status mistakes = MistakesIn(report.errors);
    MutexLock lock(mu_);
    state_.reload_errors = std::move(report.errors);
    return mistakes;
  }
  ConfigReload reload;
  reload.changes = DescribeChanges(current_, report.config);
  reload.needs_restart = KeysThatNeedARestart(started_, report.config);
  reload.problems = report.config.problems;
  const Config before = std::exchange(current_, std::move(report.config));
  catalog_.Set(current_.catalog);
  {
    MutexLock lock(mu_);
    state_ = {clock_.Now(), reload.problems, {}};
  }
  if (!reload.changes.empty()) swapped_(before.catalog, current_.catalog);
  return reload;
}

}  // namespace smartkey
