// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/clock.h"
#include "hsm/key_service.h"
#include "tests/bench/duel.h"

namespace smartkey {

// The daemon's way: callers that each have one signature after the other made by a KeyService, wait
// for it, and have a deadline. The first caller signs with the first key, and so on around.
class WorkerContestant : public Contestant {
 public:
  // All must outlive it.
  WorkerContestant(KeyService& service, const Clock& clock, const std::vector<DuelKey>& keys,
                   int callers)
      : service_(service), clock_(clock), keys_(keys), callers_(callers) {}

  absl::StatusOr<DuelRound> Run(int calls) override;

 private:
  // Every `callers_`th call from `first` on.
  absl::Status Call(int first, int calls, DuelRound& round);

  KeyService& service_;
  const Clock& clock_;
  const std::vector<DuelKey>& keys_;
  const int callers_;
};

// The same without threads that sleep: `pending` chains of calls, each of which submits its next
// call when it has the answer, on the worker's thread. What is left is the cost of provider and
// worker alone.
class PendingContestant : public Contestant {
 public:
  // All must outlive it.
  PendingContestant(KeyService& service, const Clock& clock, const std::vector<DuelKey>& keys,
                    int pending)
      : service_(service), clock_(clock), keys_(keys), pending_(pending) {}

  absl::StatusOr<DuelRound> Run(int calls) override;

 private:
  struct Chain;
  void Next(Chain& chain);

  KeyService& service_;
  const Clock& clock_;
  const std::vector<DuelKey>& keys_;
  const int pending_;
};

// Makes ES256 keys by way of a KeyService.
absl::StatusOr<std::vector<DuelKey>> CreateDuelKeys(KeyService& service, int count,
                                                    absl::string_view label);

}  // namespace smartkey
