// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "daemon/access/audit_log.h"

namespace smartkey {

// Keeps what it is told, each repeat too. Thread-safe.
class FakeAuditLog : public AuditLog {
 public:
  void Note(const Caller* caller, absl::string_view operation, absl::string_view registration_id,
            const absl::Status& outcome, AuditFacts facts) override {
    AuditEntry entry =
        MakeAuditEntry(caller, operation, registration_id, ReasonOf(outcome), absl::UnixEpoch());
    entry.facts.insert(entry.facts.end(), facts.begin(), facts.end());
    Keep(std::move(entry));
  }
  void NoteDelivery(const Caller& caller, absl::string_view registration_id,
                    absl::string_view token_hash) override {
    Note(&caller, "delivery", registration_id, absl::OkStatus(),
         {{"token", std::string(token_hash)}});
  }
  void NoteRefusal(const Caller& caller, absl::string_view operation,
                   absl::string_view registration_id, const absl::Status& refusal) override {
    Note(&caller, operation, registration_id, refusal, {});
  }
  absl::Status CheckWritable(const Caller&) const override {
    MutexLock lock(mu_);
    return writable_;
  }
  AuditCondition condition() const override {
    MutexLock lock(mu_);
    AuditCondition condition = condition_;
    condition.writing = writable_;
    return condition;
  }

  // Gives what was noted so far, and ends.
  absl::StatusOr<std::shared_ptr<Reading>> Read(Query query, std::function<void()>) override {
    class Kept : public Reading {
     public:
      explicit Kept(std::vector<AuditEntry> entries) : entries_(std::move(entries)) {}
      absl::StatusOr<absl::optional<AuditEntry>> Next() override {
        if (next_ == entries_.size()) return MakeError(Reason::kCancelled, "the end");
        return absl::make_optional(entries_[next_++]);
      }
      void Stop() override {}

     private:
      std::vector<AuditEntry> entries_;
      size_t next_ = 0;
    };
    std::vector<AuditEntry> wanted;
    for (AuditEntry& one : entries()) {
      if (!query.wanted || query.wanted(one)) wanted.push_back(std::move(one));
    }
    return std::shared_ptr<Reading>(std::make_shared<Kept>(std::move(wanted)));
  }
  void Verify(absl::optional<AuditHead>, std::function<bool()>,
              absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done) override {
    AuditVerification found;
    found.entries = entries().size();
    {
      MutexLock lock(mu_);
      if (verification_.has_value()) found = *verification_;
    }
    done(std::move(found));
  }

  // What the test asks and sets.
  std::vector<AuditEntry> entries() const {
    MutexLock lock(mu_);
    return entries_;
  }
  // Those of one operation.
  std::vector<AuditEntry> entries(absl::string_view operation) const {
    std::vector<AuditEntry> found;
    for (AuditEntry& one : entries()) {
      if (one.operation == operation) found.push_back(std::move(one));
    }
    return found;
  }
  void set_writable(absl::Status status) {
    MutexLock lock(mu_);
    writable_ = std::move(status);
  }
  // All of it but `writing`.
  void set_condition(AuditCondition condition) {
    MutexLock lock(mu_);
    condition_ = std::move(condition);
  }
  void set_verification(AuditVerification found) {
    MutexLock lock(mu_);
    verification_ = std::move(found);
  }

 private:
  void Keep(AuditEntry entry) {
    MutexLock lock(mu_);
    entry.sequence = entries_.size() + 1;
    entries_.push_back(std::move(entry));
  }

  mutable Mutex mu_;
  std::vector<AuditEntry> entries_ ABSL_GUARDED_BY(mu_);
  absl::Status writable_ ABSL_GUARDED_BY(mu_);
  AuditCondition condition_ ABSL_GUARDED_BY(mu_);
  absl::optional<AuditVerification> verification_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
