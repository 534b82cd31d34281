// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/ratio_table.h"

#include "absl/strings/str_format.h"
#include "absl/types/optional.h"
#include "tests/bench/quantile.h"

namespace smartkey {
namespace {

double Microseconds(const std::vector<absl::Duration>& latencies, double fraction) {
  std::vector<double> microseconds;
  microseconds.reserve(latencies.size());
  for (const absl::Duration one : latencies) {
    microseconds.push_back(absl::ToDoubleMicroseconds(one));
  }
  return Quantile(std::move(microseconds), fraction);
}

// The library calls it otherwise from 1.8 on.
template <class Run>
absl::optional<std::string> WhyFailed(const Run& run) {
  if constexpr (requires { run.error_occurred; }) {
    if (run.error_occurred) return run.error_message;
  } else {
    if (static_cast<int>(run.skipped) != 0) return run.skip_message;
  }
  return absl::nullopt;
}

}  // namespace

void ReportDuel(const Duel& duel, double target, benchmark::UserCounters& counters) {
  const std::vector<double> ratios = duel.Ratios();
  counters["ratio"] = Quantile(ratios, 0.5);
  counters["ratio_q1"] = Quantile(ratios, 0.25);
  counters["ratio_q3"] = Quantile(ratios, 0.75);
  counters["target"] = target;
  counters["ours_per_s"] = Quantile(duel.our_rates(), 0.5);
  counters["bare_per_s"] = Quantile(duel.bare_rates(), 0.5);
  counters["ours_p50_us"] = Microseconds(duel.our_latencies(), 0.5);
  counters["ours_p99_us"] = Microseconds(duel.our_latencies(), 0.99);
  counters["bare_p50_us"] = Microseconds(duel.bare_latencies(), 0.5);
  counters["bare_p99_us"] = Microseconds(duel.bare_latencies(), 0.99);
}

bool RatioTable::ReportContext(const Context& context) {
  GetOutputStream() << absl::StrFormat(
      "%d processors; signatures per second, medians of alternated rounds; latencies p50/p99 in "
      "microseconds\n%-26s %6s %9s %9s  %6s %-15s %6s  %15s %15s\n",
      context.cpu_info.num_cpus, "", "rounds", "ours/s", "bare/s", "ratio", "(quartiles)", "target",
      "ours p50/p99", "bare p50/p99");
  return true;
}

void RatioTable::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (const absl::optional<std::string> why = WhyFailed(run); why.has_value()) {
      GetOutputStream() << absl::StrFormat("%-26s failed: %s\n", run.run_name.function_name, *why);
      continue;
    }
    const auto value = [&run](const char* name) { return run.counters.at(name).value; };
    const std::string target =
        value("target") > 0 ? absl::StrFormat("%.2f", value("target")) : "none";
    GetOutputStream() << absl::StrFormat(
        "%-26s %6d %9.0f %9.0f  %6.3f (%.3f-%.3f)   %6s  %7.0f/%7.0f %7.0f/%7.0f%s\n",
        run.run_name.function_name, run.iterations, value("ours_per_s"), value("bare_per_s"),
        value("ratio"), value("ratio_q1"), value("ratio_q3"), target, value("ours_p50_us"),
        value("ours_p99_us"), value("bare_p50_us"), value("bare_p99_us"),
        value("ratio") < value("target") ? "  MISSED" : "");
  }
  GetOutputStream().flush();
}

}  // namespace smartkey
