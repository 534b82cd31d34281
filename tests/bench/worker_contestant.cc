// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/worker_contestant.h"

#include <future>
#include <latch>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace smartkey {
namespace {

// As the daemon's callers have one; each arms a timer.
constexpr absl::Duration kDeadline = absl::Seconds(30);

constexpr KeyService::CallerKey kFirstUid = 1000;

KeyService::SignRequest RequestOf(int caller, const DuelKey& key, const Clock& clock) {
  return {.caller = kFirstUid + static_cast<KeyService::CallerKey>(caller),
          .key = key.reference,
          .public_key = key.public_key,
          .algorithm = SignatureAlgorithm::kEs256,
          .message = DuelMessage(),
          .deadline = clock.Boot() + kDeadline};
}

// What several callers did between `start` and `end`.
absl::StatusOr<DuelRound> Together(std::vector<DuelRound> parts,
                                   const std::vector<absl::Status>& results, absl::Time start,
                                   absl::Time end) {
  DuelRound round;
  round.elapsed = end - start;
  for (const absl::Status& result : results) {
    if (!result.ok()) return result;
  }
  for (DuelRound& part : parts) {
    round.latencies.insert(round.latencies.end(), part.latencies.begin(), part.latencies.end());
    for (DuelSignature& made : part.signatures) round.signatures.push_back(std::move(made));
  }
  return round;
}

}  // namespace

absl::Status WorkerContestant::Call(int first, int calls, DuelRound& round) {
  for (int call = first; call < calls; call += callers_) {
    const size_t key = static_cast<size_t>(call) % keys_.size();
    std::promise<absl::StatusOr<std::string>> promise;
    std::future<absl::StatusOr<std::string>> future = promise.get_future();
    const absl::Time start = absl::Now();
    service_.Sign(RequestOf(first, keys_[key], clock_),
                  [&promise](absl::StatusOr<std::string> signature) {
                    promise.set_value(std::move(signature));
                  });
    absl::StatusOr<std::string> signature = future.get();
    round.latencies.push_back(absl::Now() - start);
    if (!signature.ok()) return signature.status();
    round.signatures.push_back({key, *std::move(signature)});
  }
  return absl::OkStatus();
}

absl::StatusOr<DuelRound> WorkerContestant::Run(int calls) {
  std::vector<DuelRound> parts(static_cast<size_t>(callers_));
  std::vector<absl::Status> results(parts.size());
  for (DuelRound& part : parts) {
    part.latencies.reserve(static_cast<size_t>(calls));
    part.signatures.reserve(static_cast<size_t>(calls));
  }
  absl::Time start, end;
  if (callers_ == 1) {
    start = absl::Now();
    results[0] = Call(0, calls, parts[0]);
    end = absl::Now();
  } else {
    // Making threads is no part of signing.
    std::latch ready(callers_ + 1);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < parts.size(); ++i) {
      threads.emplace_back([&, i] {
        ready.arrive_and_wait();
        results[i] = Call(static_cast<int>(i), calls, parts[i]);
      });
    }
    ready.arrive_and_wait();
    start = absl::Now();
    for (std::thread& thread : threads) thread.join();
    end = absl::Now();
  }

  return Together(std::move(parts), results, start, end);
}

struct PendingContestant::Chain {
  int caller = 0;
  int left = 0;
  DuelRound round;
  absl::Status result;
  std::promise<void> done;
};

void PendingContestant::Next(Chain& chain) {
  if (chain.left == 0 || !chain.result.ok()) return chain.done.set_value();
  const size_t key = static_cast<size_t>(--chain.left) % keys_.size();
  service_.Sign(RequestOf(chain.caller, keys_[key], clock_),
                [this, &chain, key, start = absl::Now()](absl::StatusOr<std::string> signature) {
                  chain.round.latencies.push_back(absl::Now() - start);
                  chain.result = signature.status();
                  if (signature.ok()) {
                    chain.round.signatures.push_back({key, *std::move(signature)});
                  }
                  Next(chain);
                });
}

absl::StatusOr<DuelRound> PendingContestant::Run(int calls) {
  std::vector<Chain> chains(static_cast<size_t>(pending_));
  for (int i = 0; i < pending_; ++i) {
    Chain& chain = chains[static_cast<size_t>(i)];
    chain.caller = i;
    chain.left = calls / pending_ + (i < calls % pending_ ? 1 : 0);
    chain.round.latencies.reserve(static_cast<size_t>(calls));
    chain.round.signatures.reserve(static_cast<size_t>(calls));
  }
  const absl::Time start = absl::Now();
  for (Chain& chain : chains) Next(chain);
  for (Chain& chain : chains) chain.done.get_future().wait();
  const absl::Time end = absl::Now();

  std::vector<DuelRound> parts;
  std::vector<absl::Status> results;
  for (Chain& chain : chains) {
    parts.push_back(std::move(chain.round));
    results.push_back(chain.result);
  }
  return Together(std::move(parts), results, start, end);
}

absl::StatusOr<std::vector<DuelKey>> CreateDuelKeys(KeyService& service, int count,
                                                    absl::string_view label) {
  std::vector<DuelKey> keys;
  for (int i = 0; i < count; ++i) {
    std::promise<absl::StatusOr<CreatedKey>> promise;
    service.CreateKey(
        {.algorithm = SignatureAlgorithm::kEs256, .label = absl::StrCat(label, i)},
        [&promise](absl::StatusOr<CreatedKey> key) { promise.set_value(std::move(key)); });
    absl::StatusOr<CreatedKey> key = promise.get_future().get();
    if (!key.ok()) return key.status();
    keys.push_back({key->reference, key->public_key});
  }
  return keys;
}

}  // namespace smartkey
