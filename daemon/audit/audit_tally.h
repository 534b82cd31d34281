// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "daemon/model/audit_entry.h"
#include "daemon/model/caller.h"

namespace smartkey {

// What becomes a line of the audit log, and what is only counted, so that no user fills the ring or
// the disk, and none hides an act behind many others.
//
// - A delivery or a refusal that comes again is counted, and a line each minute says how often.
// - Beyond `lines_per_user` in a minute, acts are counted by operation, registration and for whom
//   it was: the first of each is a line all the same, and one says how often it was done again.
//   Refusals are counted all together.
//
// Acts, refusals and what is beyond each have a limit of their own, and so does the same uid in
// containers. All uids in containers or without a user share one limit of refusals: there may be
// any number of them. Administrators and smartkeyd itself have none.
//
// Each method returns the lines to write now, in their order. Not thread-safe.
class AuditTally {
 public:
  struct Options {
    size_t lines_per_user;  // of a kind in a minute
    size_t most_repeated;   // different ones that are counted at a time
    // Whether whoever IsUsedUp is held back. What he was let through with before has its lines
    // then: twice as many acts of his do.
    bool deny_when_full;
  };
  using Lines = std::vector<AuditEntry>;

  // `clock` outlives this.
  AuditTally(Options options, const Clock& clock) : options_(options), clock_(clock) {}

  // What was done; `caller` is null if smartkeyd did it.
  Lines Act(const Caller* caller, AuditEntry entry);
  // A token was delivered. Told from others by caller, unit, registration and the token's hash, and
  // not by the executable: whoever can write files could make any number of those.
  Lines Delivery(const Caller& caller, AuditEntry entry);
  // Told from others by caller, operation, registration and reason.
  Lines Refusal(const Caller& caller, AuditEntry entry);

  // Whether no further act of this caller has a line of its own in this minute.
  bool IsUsedUp(const Caller& caller) const;

  // Another minute begins: what was counted in the one before. What does not come again for two
  // hours is forgotten; with `all` everything.
  Lines EndMinute(bool all);

 private:
  struct Repeated {
    AuditEntry entry;  // what all of them have in common
    std::string account;
    uint64_t count = 0;
    BootTime last;
  };
  // What somebody has written in this minute.
  struct Budget {
    size_t acts = 0;  // with first deliveries
    size_t refusals = 0;
    size_t sums = 0;                        // with the first of what is only counted from there on
    uint64_t beyond = 0;                    // neither written nor summed up
    absl::optional<AuditEntry::User> user;  // of those; absent: strangers
    bool in_container = false;
  };

  size_t MostActs() const;
  // Whether there may be one more line of that kind.
  bool IsWithin(const std::string& account, size_t Budget::*kind, size_t most,
                const AuditEntry& entry);
  // False if nothing of this key is counted yet.
  bool CountAgain(const std::string& key);
  // Of something that was not counted so far: `entry` if it may be a line, else the first count.
  Lines First(std::string key, const std::string& account, AuditEntry entry,
              absl::string_view kept_fact, bool may_be_line);
  // Counts what comes of this key from here on, and `count` of it now. Makes room for it.
  Lines Count(std::string key, const std::string& account, AuditEntry common, uint64_t count);
  Lines SumUp(bool all);
  // What was not even summed up.
  Lines SumUpBudgets();

  const Options options_;
  const Clock& clock_;
  absl::flat_hash_map<std::string, Repeated> repeated_;
  absl::flat_hash_map<std::string, Budget> budgets_;
};

}  // namespace smartkey
