// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/duel.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace smartkey {
namespace {

// Headers and claims of a client assertion come to about this, in base64url.
constexpr size_t kMessageOctets = 480;

absl::Status Verify(const DuelRound& round, const std::vector<DuelKey>& keys, int calls) {
  if (round.signatures.size() != static_cast<size_t>(calls) ||
      round.latencies.size() != static_cast<size_t>(calls)) {
    return MakeError(Reason::kSignatureWrong, "there are not as many signatures as calls");
  }
  for (const DuelSignature& made : round.signatures) {
    if (!VerifySignature(keys.at(made.key).public_key, SignatureAlgorithm::kEs256, DuelMessage(),
                         made.signature)) {
      return MakeError(Reason::kSignatureWrong, "a signature does not verify");
    }
  }
  return absl::OkStatus();
}

}  // namespace

const std::string& DuelMessage() {
  static const std::string& message = *new std::string(kMessageOctets, 'm');
  return message;
}

absl::StatusOr<absl::Duration> Duel::RunSide(Contestant& side, int calls,
                                             std::vector<double>& rates,
                                             std::vector<absl::Duration>& latencies) {
  if (absl::Status status = side.BeginRound(); !status.ok()) return status;
  absl::StatusOr<DuelRound> round = side.Run(calls);
  side.EndRound();
  if (!round.ok()) return round.status();
  if (absl::Status status = Verify(*round, keys_, calls); !status.ok()) return status;
  rates.push_back(calls / absl::ToDoubleSeconds(round->elapsed));
  latencies.insert(latencies.end(), round->latencies.begin(), round->latencies.end());
  return round->elapsed;
}

absl::StatusOr<absl::Duration> Duel::RunRound(int calls) {
  absl::StatusOr<absl::Duration> ours = RunSide(ours_, calls, our_rates_, our_latencies_);
  if (!ours.ok()) return Annotate(ours.status(), "ours");
  absl::StatusOr<absl::Duration> bare = RunSide(bare_, calls, bare_rates_, bare_latencies_);
  if (!bare.ok()) return Annotate(bare.status(), "bare");
  return ours;
}

std::vector<double> Duel::Ratios() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(our_rates_.size(), bare_rates_.size()); ++i) {
    ratios.push_back(our_rates_[i] / bare_rates_[i]);
  }
  return ratios;
}

}  // namespace smartkey
