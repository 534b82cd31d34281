// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_common.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace smartkey {

// Something that goes wrong on the way to a TPM, or in it.
struct TpmFault {
  enum class Kind {
    kTpmCode,       // The TPM gets no command, and its answer is `code`.
    kTransmitCode,  // The TPM gets no command, and sending it returns `code`.
    kReceiveCode,   // The TPM does it, its answer is lost, and fetching that returns `code`.
    kDelay,         // Sending takes `delay_ms` longer.
    kHang,          // Sending blocks until Release(), then goes on as if nothing had been.
    kDrop,          // The connection breaks: this command and all that follow on it return an I/O
                    // error. A new connection works.
    kReplace,       // The TPM does it, and what it answers is `replace` of what it did answer.
  };
  Kind kind = Kind::kTpmCode;
  TSS2_RC code = 0;
  std::function<std::string(std::string)> replace = nullptr;
  int delay_ms = 0;
};

// A TCTI (transport to a TPM) that wraps a real one and does what a test tells it: a program under
// test takes `tcti()` where it takes any other. It is a shared library of its own that the tss2
// loader loads by its path, so nothing in the program has to know of it; the test is linked with
// the same library, and the two meet in here. Thread-safe. Must outlive what uses it.
class ChaosTcti {
 public:
  // `inner`: what is wrapped, as the tss2 loader takes it: "swtpm:path=...".
  explicit ChaosTcti(std::string inner);
  ~ChaosTcti();

  // For the tss2 loader: "<path of this library>:<number>".
  std::string tcti() const;

  // Lets `fault` happen to the `nth` command from now on (1: the next), and to the `times` - 1
  // after it. Takes back what was armed before.
  void Arm(int nth, TpmFault fault, int times = 1);
  void Disarm();
  // Whether what was armed last has happened, at least once.
  bool happened() const;

  // Whether a command hangs now.
  bool hanging() const;
  void Release();

  // The command codes (TPM2_CC_...) that were sent since the last call, or tried to be.
  std::vector<uint32_t> TakeCommands();

  struct State;

 private:
  const int number_;
  const std::shared_ptr<State> state_;
};

}  // namespace smartkey
