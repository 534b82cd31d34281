// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "daemon/access/audit_log.h"
#include "daemon/audit/audit_files.h"
#include "daemon/audit/audit_key.h"
#include "daemon/audit/audit_tally.h"

namespace smartkey {

class AuditCheck;
class AuditReading;

// The audit log in files. What is noted goes into a bounded ring, which one thread writes out; no
// lock is held while it does. Repeats are summed up once a minute. Every 15 minutes in which
// something was written, a checkpoint is: the head, signed by the hardware, in the log and
// published. Without a signature the head is published at the start and at the end, too. What is
// published is on the disk.
//
// What the disk does not take, or has not kept yet, stays in the ring, and is tried again each
// second; when the ring is full, what is new is lost, and the number of what was lost is written as
// soon as something can be. With `deny_when_full` CheckWritable refuses from the first failure on,
// or while the ring is half full.
//
// A user who makes more than `lines_per_user` lines in a minute fills neither the ring nor the
// disk: what he does beyond is counted (audit_tally.h). With `deny_when_full` CheckWritable refuses
// him.
class AuditTrail : public AuditLog {
 public:
  struct Options {
    AuditWriter::Options files;
    bool deny_when_full = false;
    size_t ring = 8192;
    size_t most_repeated =
        4096;                   // different lines whose repeats are counted; they fit into the ring
    size_t most_readers = 128;  // at once, beside administrators
    size_t most_readers_of_one = 4;
    size_t lines_per_user = 600;  // of a kind in `sum_up_every`; administrators have no limit
    // Sends a head to where whoever owns this machine's disk cannot take it back; `thumbprint` of
    // the key that signed it is "none" without one. Empty: nowhere. Called by the log's thread.
    std::function<absl::Status(const AuditHead& head, const std::string& thumbprint)> publish;
    absl::Duration sum_up_every = absl::Minutes(1);
    absl::Duration checkpoint_every = absl::Minutes(15);
  };

  // `clock` outlives this.
  AuditTrail(Options options, const Clock& clock);
  // Writes what is in the ring, and sums up.
  ~AuditTrail() override;

  void Note(const Caller* caller, absl::string_view operation, absl::string_view registration_id,
            const absl::Status& outcome, AuditFacts facts) override;
  void NoteDelivery(const Caller& caller, absl::string_view registration_id,
                    absl::string_view token_hash) override;
  void NoteRefusal(const Caller& caller, absl::string_view operation,
                   absl::string_view registration_id, const absl::Status& refusal) override;
  absl::Status CheckWritable(const Caller& caller) const override;
  AuditCondition condition() const override;
  absl::StatusOr<std::shared_ptr<Reading>> Read(Query query, std::function<void()> wake) override;
  void Verify(absl::optional<AuditHead> anchor, std::function<bool()> wanted,
              absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done) override;

  // Has checkpoints signed from now on; they are not without it. `signer` outlives this.
  void SignWith(AuditSigner& signer);

  // Writes what was noted, with what is summed up, and has the disk keep it; at most `limit`. The
  // end of the daemon: what is noted afterwards is lost with the process.
  bool Flush(absl::Duration limit);

 private:
  struct Signed {
    AuditHead head;
    absl::StatusOr<AuditSignature> signature;
  };

  // False if the ring is full.
  bool Push(AuditEntry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PushAll(AuditTally::Lines lines) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();
  void OpenFiles();
  // Waits for something to do, and takes what is to be written. False: that was all before the end.
  bool TakeBatch(std::vector<AuditEntry>& batch);
  void WriteOut(std::vector<AuditEntry> batch);
  bool Sync();
  void NoteSuccess();
  void NoteFailure(const absl::Status& status);
  void Publish();
  void BeginCheckpoint();
  void EndCheckpoint();
  void WakeReadings();
  struct Verification;
  void VerifyNext(std::shared_ptr<Verification> verification);

  struct Reader {
    std::weak_ptr<AuditReading> reading;
    absl::optional<uid_t> uid;  // absent: an administrator's
  };

  const Options options_;
  const Clock& clock_;

  // The thread's own.
  AuditWriter writer_;
  bool dirty_ = false;  // something was written since the disk was asked to keep it
  BootTime synced_;
  BootTime next_checkpoint_;
  AuditHead published_;
  AuditHead at_checkpoint_;

  mutable Mutex mu_;
  CondVar changed_, flushed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool flush_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<AuditEntry> ring_ ABSL_GUARDED_BY(mu_);
  size_t written_ ABSL_GUARDED_BY(mu_) =
      0;                                    // of the ring's first ones, which the disk may not keep
  BootTime try_at_ ABSL_GUARDED_BY(mu_);    // after a failure
  uint64_t lost_ ABSL_GUARDED_BY(mu_) = 0;  // since the last line about it
  uint64_t lost_ever_ ABSL_GUARDED_BY(mu_) = 0;
  AuditTally tally_ ABSL_GUARDED_BY(mu_);
  BootTime next_sum_ ABSL_GUARDED_BY(mu_);
  absl::Status writing_ ABSL_GUARDED_BY(mu_);
  AuditHead head_ ABSL_GUARDED_BY(mu_);
  absl::optional<absl::Time> uncovered_since_ ABSL_GUARDED_BY(mu_);
  absl::optional<AuditHead> checkpoint_ ABSL_GUARDED_BY(mu_);
  absl::Time checkpoint_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  absl::Status signing_ ABSL_GUARDED_BY(mu_);
  AuditSigner* signer_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool signing_under_way_ ABSL_GUARDED_BY(mu_) = false;
  absl::optional<Signed> signed_ ABSL_GUARDED_BY(mu_);  // for the thread to take
  std::vector<Reader> readers_ ABSL_GUARDED_BY(mu_);

  // Reads files for those who want to see them; ends before what it reads for.
  std::unique_ptr<TimerThread> reader_;
  std::thread thread_;
};

}  // namespace smartkey
