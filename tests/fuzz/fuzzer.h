// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"

// What every fuzzer defines; libFuzzer calls it, and replay_main.cc. `data` may be null when `size`
// is 0. Returns 0. A finding is a crash: a sanitizer's report or Require.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace smartkey {

// Ends the process with a finding if `holds` is false: in every build, unlike assert.
inline void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

inline absl::string_view InputView(const uint8_t* data, size_t size) {
  return absl::string_view(reinterpret_cast<const char*>(data), size);
}

// Takes a fuzzer's input apart, so that any bytes are an input. Not thread-safe.
class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(InputView(data, size)) {}

  // 0 once nothing is left.
  uint8_t Octet() {
    const absl::string_view one = Octets(1);
    return one.empty() ? uint8_t{0} : static_cast<uint8_t>(one[0]);
  }
  // At most `size` octets.
  absl::string_view Octets(size_t size) {
    const absl::string_view taken = rest_.substr(0, std::min(size, rest_.size()));
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Octets with their number, one octet, in front.
  absl::string_view Field() { return Octets(Octet()); }
  absl::string_view Rest() { return Octets(rest_.size()); }

 private:
  absl::string_view rest_;
};

}  // namespace smartkey
