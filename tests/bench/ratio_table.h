// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <vector>

#include "tests/bench/duel.h"

namespace smartkey {

// Puts what a duel has shown into counters, for RatioTable and --benchmark_out. `target` is the
// ratio that is aimed at; 0: none.
void ReportDuel(const Duel& duel, double target, benchmark::UserCounters& counters);

// Prints a line a benchmark: rates, the ratio with its quartiles, latencies. Not thread-safe.
class RatioTable : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
};

}  // namespace smartkey
