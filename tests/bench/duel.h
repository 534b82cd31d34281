// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "hsm/key_types.h"

namespace smartkey {

// A key that both sides of a duel sign with.
struct DuelKey {
  KeyReference reference;
  PublicKey public_key;
};

// A signature in JOSE form, kept so that it is verified when nobody looks at the clock.
struct DuelSignature {
  size_t key = 0;  // index into the duel's keys
  std::string signature;
};

// What a contestant did in one round.
struct DuelRound {
  absl::Duration elapsed;                 // of the whole round
  std::vector<absl::Duration> latencies;  // of each call, as its caller saw it
  std::vector<DuelSignature> signatures;  // as many as calls
};

// One of two ways to make the same signatures: ES256 over DuelMessage(). Not thread-safe; it may
// use threads of its own.
class Contestant {
 public:
  virtual ~Contestant() = default;

  // What is not timed: loading a key that stays loaded, and taking it out again.
  virtual absl::Status BeginRound() { return absl::OkStatus(); }
  virtual void EndRound() {}

  virtual absl::StatusOr<DuelRound> Run(int calls) = 0;
};

// As long as the signing input of a client assertion.
const std::string& DuelMessage();

// Two contestants in turn, so that what the machine does meanwhile hits both alike: only ratios
// mean something, and of those the median over many rounds.
class Duel {
 public:
  // All must outlive it.
  Duel(Contestant& ours, Contestant& bare, const std::vector<DuelKey>& keys)
      : ours_(ours), bare_(bare), keys_(keys) {}

  // One round of each. The time that ours took. Errors: a contestant's own, and kSignatureWrong if
  // a signature does not verify or is missing.
  absl::StatusOr<absl::Duration> RunRound(int calls);

  // Signatures per second, a number a round.
  const std::vector<double>& our_rates() const { return our_rates_; }
  const std::vector<double>& bare_rates() const { return bare_rates_; }
  // Ours divided by bare, a number a round.
  std::vector<double> Ratios() const;
  // Of all calls of all rounds.
  const std::vector<absl::Duration>& our_latencies() const { return our_latencies_; }
  const std::vector<absl::Duration>& bare_latencies() const { return bare_latencies_; }

 private:
  absl::StatusOr<absl::Duration> RunSide(Contestant& side, int calls, std::vector<double>& rates,
                                         std::vector<absl::Duration>& latencies);

  Contestant& ours_;
  Contestant& bare_;
  const std::vector<DuelKey>& keys_;
  std::vector<double> our_rates_, bare_rates_;
  std::vector<absl::Duration> our_latencies_, bare_latencies_;
};

}  // namespace smartkey
