// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "daemon/audit/audit_trail.h"
#include "tests/daemon/audit/audit_samples.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_audit_log.h"

namespace smartkey {

// A trail in a directory of its own, and who reads and checks it.
class AuditTrailTest : public testing::Test {
 protected:
  AuditTrail::Options Options() const {
    AuditTrail::Options options;
    options.files.directory = dir_.File("audit");
    return options;
  }
  std::string File(const std::string& name) const { return dir_.File("audit") + "/" + name; }

  // Everything that is noted now, without the lines of the files themselves.
  std::vector<AuditEntry> Read(AuditTrail& trail) {
    EXPECT_TRUE(trail.Flush(absl::Seconds(60)));
    AuditLog::Query query;
    query.wanted = [](const AuditEntry& one) { return one.operation != "smartkeyd/audit-file"; };
    return Read(trail, query);
  }
  std::vector<AuditEntry> Read(AuditTrail& trail, const AuditLog::Query& query) {
    const auto reading = trail.Read(query, [this] { Wake(); }).value();
    std::vector<AuditEntry> entries;
    for (;;) {
      const auto entry = reading->Next();
      if (!entry.ok()) {
        EXPECT_EQ(ReasonOf(entry.status()), Reason::kCancelled) << entry.status();
        return entries;
      }
      if (entry->has_value()) {
        entries.push_back(**entry);
      } else {
        AwaitWake();
      }
    }
  }
  AuditVerification Verify(AuditTrail& trail) {
    EXPECT_TRUE(trail.Flush(absl::Seconds(60)));
    const absl::StatusOr<AuditVerification> found = VerifyWhile(trail, [] { return true; });
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : AuditVerification();
  }
  absl::StatusOr<AuditVerification> VerifyWhile(AuditTrail& trail, std::function<bool()> wanted) {
    absl::StatusOr<AuditVerification> found;
    trail.Verify(absl::nullopt, std::move(wanted), [&](absl::StatusOr<AuditVerification> outcome) {
      found = std::move(outcome);
      Wake();
    });
    AwaitWake();
    return found;
  }
  void Wake() {
    MutexLock lock(mu_);
    woken_ = true;
    changed_.NotifyAll();
  }
  void AwaitWake() {
    MutexLock lock(mu_);
    while (!woken_) changed_.Wait(mu_);
    woken_ = false;
  }
  template <typename Condition>
  void Await(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }

  TempDir dir_;
  const SystemClock clock_;
  const Caller alice_ = User(1000, "alice");
  const Caller bob_ = User(1001, "bob");
  Mutex mu_;
  CondVar changed_;
  bool woken_ = false;
  FakeAuditLog key_log_;
};

}  // namespace smartkey
