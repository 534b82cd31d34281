// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_trail.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "daemon/audit/audit_check.h"
#include "daemon/audit/audit_line.h"
#include "daemon/audit/audit_reading.h"
#include "daemon/jose/jwk.h"

namespace smartkey {
namespace {

constexpr char kDelivery[] = "TokenService/GetAccessToken";
constexpr absl::Duration kTryAgain = absl::Seconds(1);
constexpr absl::Duration kSyncEvery = absl::Seconds(1);
constexpr absl::Duration kForgetAfter = absl::Hours(2);  // a repeat that did not come again
constexpr size_t kBatch = 256;

}  // namespace

AuditTrail::AuditTrail(Options options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      writer_(options_.files),
      next_sum_(clock.Boot() + options_.sum_up_every),
      reader_(std::make_unique<TimerThread>(clock)) {
  thread_ = std::thread([this] { Run(); });
}

AuditTrail::~AuditTrail() {
  reader_.reset();
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void AuditTrail::SignWith(AuditSigner& signer) {
  MutexLock lock(mu_);
  signer_ = &signer;
}

void AuditTrail::Push(AuditEntry entry) {
  if (ring_.size() >= options_.ring) {
    ++lost_;
    ++lost_ever_;
    return;
  }
  ring_.push_back(std::move(entry));
  changed_.NotifyOne();
}

void AuditTrail::Note(const Caller* caller, absl::string_view operation,
                      absl::string_view registration_id, const absl::Status& outcome,
                      AuditFacts facts) {
  AuditEntry entry =
      MakeAuditEntry(caller, operation, registration_id, ReasonOf(outcome), clock_.Now());
  entry.facts.insert(entry.facts.end(), std::make_move_iterator(facts.begin()),
                     std::make_move_iterator(facts.end()));
  MutexLock lock(mu_);
  Push(std::move(entry));
}

void AuditTrail::NoteDelivery(const Caller& caller, absl::string_view registration_id,
                              absl::string_view token_hash) {
  // Without the executable: whoever can write files could make any number of those.
  NoteRepeated(absl::StrCat("d", caller.uid, "/", caller.login_uid.value_or(caller.uid), "/",
                            caller.system_unit, "/", registration_id, "/", token_hash),
               caller, kDelivery, registration_id, Reason::kUnspecified,
               {{"token", std::string(token_hash)}});
}

void AuditTrail::NoteRefusal(const Caller& caller, absl::string_view operation,
                             absl::string_view registration_id, const absl::Status& refusal) {
  const Reason reason = ReasonOf(refusal);
  NoteRepeated(absl::StrCat("r", caller.uid, "/", registration_id, "/", static_cast<int>(reason)),
               caller, operation, registration_id, reason, {});
}

void AuditTrail::NoteRepeated(std::string key, const Caller& caller, absl::string_view operation,
                              absl::string_view registration_id, Reason outcome, AuditFacts facts) {
  const BootTime now = clock_.Boot();
  MutexLock lock(mu_);
  const auto found = repeated_.find(key);
  if (found != repeated_.end()) {
    ++found->second.count;
    found->second.last = now;
    return;
  }
  if (repeated_.size() >= options_.most_repeated) SumUp(/*all=*/true);
  AuditEntry entry = MakeAuditEntry(&caller, operation, registration_id, outcome, clock_.Now());
  entry.facts.insert(entry.facts.end(), std::make_move_iterator(facts.begin()),
                     std::make_move_iterator(facts.end()));
  repeated_[std::move(key)] = {entry, 0, now};
  Push(std::move(entry));
}

// Writes how often each was repeated, and forgets those that were not for long; with `all` every
// one.
void AuditTrail::SumUp(bool all) {
  const BootTime now = clock_.Boot();
  const absl::Time time = clock_.Now();
  for (auto one = repeated_.begin(); one != repeated_.end();) {
    Repeated& repeated = one->second;
    if (repeated.count > 0) {
      AuditEntry sum = repeated.entry;
      sum.time = time;
      sum.repeats = std::exchange(repeated.count, 0);
      Push(std::move(sum));
    }
    if (all || now - repeated.last > kForgetAfter) {
      repeated_.erase(one++);
    } else {
      ++one;
    }
  }
  next_sum_ = now + options_.sum_up_every;
}

absl::Status AuditTrail::CheckWritable() const {
  if (!options_.deny_when_full) return absl::OkStatus();
  MutexLock lock(mu_);
  if (!writing_.ok()) {
    return MakeError(Reason::kAuditUnavailable,
                     "the audit log cannot be written, without which nothing is to be done");
  }
  if (ring_.size() > options_.ring / 2) {
    return MakeError(Reason::kAuditUnavailable,
                     "the disk does not keep up with the audit log, without which nothing is done");
  }
  return absl::OkStatus();
}

AuditCondition AuditTrail::condition() const {
  MutexLock lock(mu_);
  AuditCondition condition;
  condition.writing = writing_;
  condition.head = head_;
  condition.lost = lost_ever_;
  condition.waiting = ring_.size();
  condition.checkpoint = checkpoint_;
  condition.checkpoint_at = checkpoint_at_;
  condition.signing = signing_;
  return condition;
}

bool AuditTrail::Flush(absl::Duration limit) {
  const BootTime end = clock_.Boot() + limit;
  MutexLock lock(mu_);
  SumUp(/*all=*/false);
  flush_ = true;
  changed_.NotifyAll();
  while (flush_ && clock_.Boot() < end) flushed_.WaitFor(mu_, end - clock_.Boot());
  return !flush_ && writing_.ok();
}

// The thread. Takes a part of the ring at a time, without holding the lock while it writes.
void AuditTrail::Run() {
  bool dirty = false;
  BootTime synced = clock_.Boot();
  BootTime next_checkpoint = clock_.Boot() + options_.checkpoint_every;
  AuditHead at_checkpoint;
  if (absl::Status status = writer_.Open(clock_.Now()); status.ok()) {
    MutexLock lock(mu_);
    head_ = writer_.head();
    opened_ = true;
  } else {
    Log(LogLevel::kError, "the audit log cannot be written", {{"error", status.message()}});
    MutexLock lock(mu_);
    writing_ = status;
  }
  while (true) {
    std::vector<AuditEntry> batch;
    bool stop = false, failing = false;
    {
      MutexLock lock(mu_);
      failing = !writing_.ok();
      if ((ring_.empty() && lost_ == 0) || failing) {
        // With nothing to do, until there is; after a failure, for a while.
        if (!stopping_ && !flush_) changed_.WaitFor(mu_, failing ? kTryAgain : kSyncEvery);
      }
      if (clock_.Boot() >= next_sum_) SumUp(/*all=*/false);
      if (stopping_) SumUp(/*all=*/true);
      if (lost_ > 0 && ring_.size() < options_.ring) {
        AuditEntry lost = MakeAuditEntry(nullptr, "smartkeyd/audit-lost", "",
                                         Reason::kAuditUnavailable, clock_.Now());
        lost.repeats = std::exchange(lost_, 0);
        ring_.push_back(std::move(lost));
      }
      const size_t size = std::min(ring_.size(), kBatch);
      batch.assign(ring_.begin(), ring_.begin() + static_cast<ptrdiff_t>(size));
      stop = stopping_ && (batch.empty() || failing);
    }
    // After a failure also with nothing to write: the files may be there again.
    if (!batch.empty() || failing) {
      WriteOut(std::move(batch));
      dirty = true;
    }
    bool flush = false;
    {
      MutexLock lock(mu_);
      flush = flush_ && (ring_.empty() || !writing_.ok());
    }
    if (dirty && (flush || stop || clock_.Boot() - synced >= kSyncEvery)) {
      if (absl::Status status = writer_.Sync(); !status.ok()) {
        MutexLock lock(mu_);
        writing_ = status;
      }
      dirty = false;
      synced = clock_.Boot();
    }
    if (flush) {
      MutexLock lock(mu_);
      flush_ = false;
      flushed_.NotifyAll();
    }
    if (stop) return;
    if (clock_.Boot() >= next_checkpoint) {
      next_checkpoint = clock_.Boot() + options_.checkpoint_every;
      // The last checkpoint's own lines are nothing new.
      if (writer_.head().sequence > at_checkpoint.sequence + 1 || at_checkpoint.sequence == 0) {
        Checkpoint();
      }
      at_checkpoint = writer_.head();
    }
  }
}

void AuditTrail::WriteOut(std::vector<AuditEntry> batch) {
  const size_t size = batch.size();
  const absl::Status status = writer_.Append(batch, clock_.Now());
  {
    MutexLock lock(mu_);
    if (status.ok() != writing_.ok()) {
      if (status.ok()) {
        Log(LogLevel::kWarning, "the audit log is written again", {{"lost", lost_ever_}});
      } else {
        Log(LogLevel::kError, "the audit log cannot be written",
            {{"error", status.message()}, {"waiting", ring_.size()}});
      }
    }
    writing_ = status;
    if (!status.ok()) return;
    // Only this thread takes anything out.
    ring_.erase(ring_.begin(), ring_.begin() + static_cast<ptrdiff_t>(size));
    head_ = writer_.head();
    opened_ = true;
  }
  WakeReadings();
}

void AuditTrail::Checkpoint() {
  const AuditHead head = writer_.head();
  if (head.sequence == 0) return;
  AuditSigner* signer = nullptr;
  {
    MutexLock lock(mu_);
    if (signing_under_way_) return;  // the hardware has been busy all the while
    signing_under_way_ = true;
    signer = signer_;
  }
  if (signer == nullptr) {
    return TakeSignature(head, MakeError(Reason::kHardwareAbsent, "nothing signs the audit log"));
  }
  signer->Sign(CheckpointText(head), [this, head](absl::StatusOr<AuditSignature> signature) {
    TakeSignature(head, std::move(signature));
  });
}

void AuditTrail::TakeSignature(const AuditHead& head, absl::StatusOr<AuditSignature> signature) {
  AuditEntry entry =
      MakeAuditEntry(nullptr, kAuditCheckpoint, "", ReasonOf(signature.status()), clock_.Now());
  entry.facts.emplace_back(kCheckpointHead, head.ToString());
  std::string thumbprint = "none";
  if (signature.ok()) {
    thumbprint = JwkThumbprint(signature->public_key);
    entry.facts.emplace_back(kCheckpointAlgorithm, AlgorithmName(signature->algorithm));
    entry.facts.emplace_back(kCheckpointKey,
                             ToJsonText(ToJwk(signature->public_key, signature->algorithm)));
    entry.facts.emplace_back(kCheckpointSignature, Base64UrlEncode(signature->signature));
  }
  // For a log server: what was there by now can be neither cut off nor changed any more.
  Log(LogLevel::kInfo, "checkpoint of the audit log",
      {{"audit_head", head.ToString()}, {"key", thumbprint}});
  MutexLock lock(mu_);
  signing_under_way_ = false;
  signing_ = signature.status();
  checkpoint_ = head;
  checkpoint_at_ = entry.time;
  Push(std::move(entry));
}

absl::StatusOr<std::shared_ptr<AuditLog::Reading>> AuditTrail::Read(Query query,
                                                                    std::function<void()> wake) {
  const bool administrator = query.administrator;
  auto reading = std::make_shared<AuditReading>(options_.files.directory, std::move(query),
                                                *reader_, std::move(wake));
  MutexLock lock(mu_);
  readings_.erase(std::remove_if(readings_.begin(), readings_.end(),
                                 [](const auto& one) { return one.expired(); }),
                  readings_.end());
  if (!administrator && readings_.size() >= options_.most_readers) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "too many read the audit log at the same time"), kTryAgain);
  }
  readings_.push_back(reading);
  return std::shared_ptr<Reading>(reading);
}

void AuditTrail::WakeReadings() {
  std::vector<std::weak_ptr<AuditReading>> readings;
  {
    MutexLock lock(mu_);
    readings = readings_;
  }
  for (const auto& one : readings) {
    if (const auto reading = one.lock()) reading->NoteWritten();
  }
}

void AuditTrail::Verify(absl::optional<AuditHead> anchor,
                        absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done) {
  reader_->RunAfter(absl::ZeroDuration(),
                    [this, anchor = std::move(anchor), done = std::move(done)]() mutable {
                      const AuditHead written = condition().head;
                      done(CheckAuditFiles(options_.files.directory, written, anchor));
                    });
}

}  // namespace smartkey
