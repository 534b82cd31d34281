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

}  // namespace

absl::Status WorkerContestant::Call(int first, int calls, DuelRound& round) {
  for (int call = first; call < calls; call += callers_) {
    const size_t key = static_cast<size_t>(call) % keys_.size();
    std::promise<absl::StatusOr<std::string>> promise;
    std::future<absl::StatusOr<std::string>> future = promise.get_future();
    const absl::Time start = absl::Now();
    service_.Sign({.caller = kFirstUid + static_cast<KeyService::CallerKey>(first),
                   .key = keys_[key].reference,
                   .public_key = keys_[key].public_key,
                   .algorithm = SignatureAlgorithm::kEs256,
                   .message = DuelMessage(),
                   .deadline = clock_.Boot() + kDeadline},
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

  DuelRound round;
  round.elapsed = end - start;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!results[i].ok()) return results[i];
    DuelRound& part = parts[i];
    round.latencies.insert(round.latencies.end(), part.latencies.begin(), part.latencies.end());
    for (DuelSignature& made : part.signatures) round.signatures.push_back(std::move(made));
  }
  return round;
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
