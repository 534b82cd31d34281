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
constexpr size_t kBatch = 256;
constexpr size_t kLongestFact = 256;
constexpr char kNoKey[] = "none";

// Not within a character.
void Cut(std::string& text) {
  if (text.size() <= kLongestFact) return;
  size_t end = kLongestFact;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
}

// Of what callers can choose freely, no more than fits into a line.
AuditEntry MakeEntry(const Caller* caller, absl::string_view operation,
                     absl::string_view registration_id, Reason outcome, absl::Time now,
                     AuditFacts facts) {
  AuditEntry entry = MakeAuditEntry(caller, operation, registration_id, outcome, now);
  entry.facts.insert(entry.facts.end(), std::make_move_iterator(facts.begin()),
                     std::make_move_iterator(facts.end()));
  for (auto& [name, value] : entry.facts) Cut(value);
  Cut(entry.registration_id);
  return entry;
}

}  // namespace

AuditTrail::AuditTrail(Options options, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      writer_(options_.files),
      synced_(clock.Boot()),
      next_checkpoint_(clock.Boot() + options_.checkpoint_every),
      tally_({.lines_per_user = options_.lines_per_user,
              .most_repeated = options_.most_repeated,
              .deny_when_full = options_.deny_when_full},
             clock),
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

bool AuditTrail::Push(AuditEntry entry) {
  if (ring_.size() >= options_.ring) {
    ++lost_;
    ++lost_ever_;
    return false;
  }
  ring_.push_back(std::move(entry));
  changed_.NotifyOne();
  return true;
}

void AuditTrail::PushAll(AuditTally::Lines lines) {
  for (AuditEntry& line : lines) Push(std::move(line));
}

void AuditTrail::Note(const Caller* caller, absl::string_view operation,
                      absl::string_view registration_id, const absl::Status& outcome,
                      AuditFacts facts) {
  AuditEntry entry = MakeEntry(caller, operation, registration_id, ReasonOf(outcome), clock_.Now(),
                               std::move(facts));
  MutexLock lock(mu_);
  PushAll(tally_.Act(caller, std::move(entry)));
}

void AuditTrail::NoteDelivery(const Caller& caller, absl::string_view registration_id,
                              absl::string_view token_hash) {
  AuditEntry entry = MakeEntry(&caller, kDelivery, registration_id, Reason::kUnspecified,
                               clock_.Now(), {{kTokenFact, std::string(token_hash)}});
  MutexLock lock(mu_);
  PushAll(tally_.Delivery(caller, std::move(entry)));
}

void AuditTrail::NoteRefusal(const Caller& caller, absl::string_view operation,
                             absl::string_view registration_id, const absl::Status& refusal) {
  AuditEntry entry =
      MakeEntry(&caller, operation, registration_id, ReasonOf(refusal), clock_.Now(), {});
  MutexLock lock(mu_);
  PushAll(tally_.Refusal(caller, std::move(entry)));
}

absl::Status AuditTrail::CheckWritable(const Caller& caller) const {
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
  if (tally_.IsUsedUp(caller)) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited,
                  "the audit log takes no more lines of this user for now, and nothing is to be "
                  "done without one"),
        std::max(next_sum_ - clock_.Boot(), kTryAgain));
  }
  return absl::OkStatus();
}

AuditCondition AuditTrail::condition() const {
  AuditCondition condition;
  const AuditSigner* signer = nullptr;
  {
    MutexLock lock(mu_);
    signer = signer_;
  }
  if (signer != nullptr) condition.key = signer->proven_thumbprint();
  MutexLock lock(mu_);
  condition.writing = writing_;
  condition.head = head_;
  condition.lost = lost_ever_;
  condition.waiting = ring_.size() - written_;
  condition.checkpoint = checkpoint_;
  condition.checkpoint_at = checkpoint_at_;
  condition.signing = signing_;
  condition.uncovered_since = uncovered_since_;
  return condition;
}

bool AuditTrail::Flush(absl::Duration limit) {
  const BootTime end = clock_.Boot() + limit;
  MutexLock lock(mu_);
  PushAll(tally_.EndMinute(/*all=*/false));
  flush_ = true;
  changed_.NotifyAll();
  while (flush_ && clock_.Boot() < end) flushed_.WaitFor(mu_, end - clock_.Boot());
  return !flush_ && writing_.ok();
}

// The thread.
void AuditTrail::Run() {
  OpenFiles();
  bool more = true;
  while (more) {
    std::vector<AuditEntry> batch;
    more = TakeBatch(batch);
    WriteOut(std::move(batch));
    bool flush = false, sync = false;
    {
      MutexLock lock(mu_);
      flush = flush_ && ((written_ == ring_.size() && lost_ == 0) || !writing_.ok());
      sync =
          flush || !more || written_ > options_.ring / 4 || clock_.Boot() - synced_ >= kSyncEvery;
    }
    if (dirty_ && sync) Sync();
    // What came after the last checkpoint is not to be lost with the process.
    if (flush || !more) Publish();
    if (flush) {
      MutexLock lock(mu_);
      flush_ = false;
      flushed_.NotifyAll();
    }
    EndCheckpoint();
    if (more && clock_.Boot() >= next_checkpoint_) BeginCheckpoint();
  }
}

void AuditTrail::OpenFiles() {
  const absl::Status status = writer_.Open(clock_.Now());
  if (!status.ok()) return NoteFailure(status);
  dirty_ = true;
  Sync();
  Publish();
}

// A part of the ring at a time, which stays in it.
bool AuditTrail::TakeBatch(std::vector<AuditEntry>& batch) {
  MutexLock lock(mu_);
  const BootTime tick = clock_.Boot() + kSyncEvery;
  while (!stopping_ && !flush_) {
    const BootTime now = clock_.Boot();
    // After a failure not before its time, whatever is noted.
    const bool something = written_ < ring_.size() || lost_ > 0 || signed_.has_value();
    const BootTime until = writing_.ok() ? (something ? now : tick) : try_at_;
    if (now >= until) break;
    changed_.WaitFor(mu_, until - now);
  }
  if (stopping_ || clock_.Boot() >= next_sum_) {
    PushAll(tally_.EndMinute(/*all=*/stopping_));
    next_sum_ = clock_.Boot() + options_.sum_up_every;
  }
  if (lost_ > 0 && ring_.size() < options_.ring) {
    AuditEntry lost = MakeAuditEntry(nullptr, "smartkeyd/audit-lost", "", Reason::kAuditUnavailable,
                                     clock_.Now());
    lost.repeats = std::exchange(lost_, 0);
    ring_.push_back(std::move(lost));
  }
  const auto begin = ring_.begin() + static_cast<ptrdiff_t>(written_);
  const size_t size = std::min(ring_.size() - written_, kBatch);
  batch.assign(begin, begin + static_cast<ptrdiff_t>(size));
  return !stopping_ || (size > 0 && writing_.ok());
}

// After a failure also with nothing to write: the files may be there again.
void AuditTrail::WriteOut(std::vector<AuditEntry> batch) {
  bool failing = false;
  {
    MutexLock lock(mu_);
    failing = !writing_.ok();
  }
  if (batch.empty() && !failing) return;
  const size_t size = batch.size();
  if (const absl::Status status = writer_.Append(batch, clock_.Now()); !status.ok()) {
    return NoteFailure(status);
  }
  dirty_ = true;
  {
    MutexLock lock(mu_);
    written_ += size;
    head_ = writer_.head();
    if (!uncovered_since_.has_value() && head_.sequence > at_checkpoint_.sequence + 1) {
      uncovered_since_ = clock_.Now();
    }
  }
  // Only what the disk has kept shows that it is there again.
  if (failing && Sync()) NoteSuccess();
  WakeReadings();
}

bool AuditTrail::Sync() {
  dirty_ = false;
  synced_ = clock_.Boot();
  if (const absl::Status status = writer_.Sync(); !status.ok()) {
    NoteFailure(status);
    return false;
  }
  MutexLock lock(mu_);
  // Only this thread takes anything out.
  ring_.erase(ring_.begin(), ring_.begin() + static_cast<ptrdiff_t>(written_));
  written_ = 0;
  head_ = writer_.head();
  return true;
}

void AuditTrail::NoteSuccess() {
  uint64_t lost = 0;
  {
    MutexLock lock(mu_);
    writing_ = absl::OkStatus();
    lost = lost_ever_;
  }
  Log(LogLevel::kWarning, "the audit log is written again", {{"lost", lost}});
}

void AuditTrail::NoteFailure(const absl::Status& status) {
  bool first = false;
  size_t waiting = 0;
  {
    MutexLock lock(mu_);
    // What a file has not kept for certain that is given up is written once more.
    if (!writer_.is_open()) written_ = 0;
    first = writing_.ok();
    writing_ = status;
    try_at_ = clock_.Boot() + kTryAgain;
    waiting = ring_.size();
  }
  if (first) {
    Log(LogLevel::kError, "the audit log cannot be written",
        {{"error", status.message()}, {"waiting", waiting}});
  }
}

// The head as it is, without waiting for the hardware.
void AuditTrail::Publish() {
  {
    MutexLock lock(mu_);
    if (!writing_.ok()) return;
  }
  const AuditHead head = writer_.head();
  if (head.sequence == 0 || head == published_ || !options_.publish) return;
  if (const absl::Status status = options_.publish(head, kNoKey); !status.ok()) {
    MutexLock lock(mu_);
    signing_ = status;
    return;
  }
  published_ = head;
}

void AuditTrail::BeginCheckpoint() {
  next_checkpoint_ = clock_.Boot() + options_.checkpoint_every;
  const AuditHead head = writer_.head();
  // The last checkpoint's own line is nothing new.
  if (head.sequence == 0 ||
      (at_checkpoint_.sequence > 0 && head.sequence <= at_checkpoint_.sequence + 1)) {
    return;
  }
  // A head that a loss of power takes back would look like a forgery.
  if (dirty_) Sync();
  AuditSigner* signer = nullptr;
  {
    MutexLock lock(mu_);
    if (!writing_.ok() || signing_under_way_) return;  // the hardware has been busy all the while
    signing_under_way_ = true;
    signer = signer_;
  }
  const auto take = [this, head](absl::StatusOr<AuditSignature> signature) {
    MutexLock lock(mu_);
    signed_ = Signed{head, std::move(signature)};
    changed_.NotifyAll();
  };
  if (signer == nullptr) {
    take(MakeError(Reason::kHardwareAbsent, "nothing signs the audit log"));
  } else {
    signer->Sign(CheckpointText(head), take);
  }
}

// Publishes what was signed, and writes it down.
void AuditTrail::EndCheckpoint() {
  absl::optional<Signed> made;
  {
    MutexLock lock(mu_);
    made = std::exchange(signed_, absl::nullopt);
  }
  if (!made.has_value()) return;
  const absl::StatusOr<AuditSignature>& signature = made->signature;
  AuditEntry entry =
      MakeAuditEntry(nullptr, kAuditCheckpoint, "", ReasonOf(signature.status()), clock_.Now());
  entry.facts.emplace_back(kCheckpointHead, made->head.ToString());
  std::string thumbprint = kNoKey;
  if (signature.ok()) {
    thumbprint = JwkThumbprint(signature->public_key);
    entry.facts.emplace_back(kCheckpointAlgorithm, AlgorithmName(signature->algorithm));
    entry.facts.emplace_back(kCheckpointKey,
                             ToJsonText(ToJwk(signature->public_key, signature->algorithm)));
    entry.facts.emplace_back(kCheckpointSignature, Base64UrlEncode(signature->signature));
  }
  // For a log server: what was there by now can be neither cut off nor changed any more.
  absl::Status told;
  if (options_.publish) told = options_.publish(made->head, thumbprint);
  if (told.ok()) published_ = made->head;
  MutexLock lock(mu_);
  signing_under_way_ = false;
  signing_ = signature.ok() ? told : signature.status();
  checkpoint_ = made->head;
  checkpoint_at_ = entry.time;
  // Without its line, or if nobody was told of it, it has to be made once more.
  if (!Push(std::move(entry)) || !told.ok()) return;
  at_checkpoint_ = made->head;
  uncovered_since_ = absl::nullopt;
  if (head_.sequence > at_checkpoint_.sequence) uncovered_since_ = checkpoint_at_;
}

absl::StatusOr<std::shared_ptr<AuditLog::Reading>> AuditTrail::Read(Query query,
                                                                    std::function<void()> wake) {
  const absl::optional<uid_t> uid =
      query.administrator ? absl::nullopt : absl::make_optional(query.uid);
  auto reading = std::make_shared<AuditReading>(options_.files.directory, std::move(query),
                                                *reader_, std::move(wake));
  MutexLock lock(mu_);
  readers_.erase(std::remove_if(readers_.begin(), readers_.end(),
                                [](const Reader& one) { return one.reading.expired(); }),
                 readers_.end());
  size_t all = 0, of_one = 0;
  for (const Reader& one : readers_) {
    all += one.uid.has_value();
    of_one += one.uid.has_value() && one.uid == uid;
  }
  // All readers take turns on one thread, which is not to be one user's.
  if (uid.has_value() && (all >= options_.most_readers || of_one >= options_.most_readers_of_one)) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "too many read the audit log at the same time"), kTryAgain);
  }
  readers_.push_back({reading, uid});
  return std::shared_ptr<Reading>(reading);
}

void AuditTrail::WakeReadings() {
  std::vector<Reader> readers;
  {
    MutexLock lock(mu_);
    readers = readers_;
  }
  for (const Reader& one : readers) {
    if (const auto reading = one.reading.lock()) reading->NoteWritten();
  }
}

// A check under way.
struct AuditTrail::Verification {
  AuditCheck check;
  std::function<bool()> wanted;
  absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done;
};

void AuditTrail::Verify(absl::optional<AuditHead> anchor, std::function<bool()> wanted,
                        absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done) {
  reader_->RunAfter(
      absl::ZeroDuration(), [this, anchor = std::move(anchor), wanted = std::move(wanted),
                             done = std::move(done)]() mutable {
        const AuditSigner* signer = nullptr;
        {
          MutexLock lock(mu_);
          signer = signer_;
        }
        AuditCheck::Expected expected{
            .written = condition().head,
            .anchor = std::move(anchor),
            .key = signer == nullptr ? absl::nullopt : signer->thumbprint(),
        };
        VerifyNext(std::shared_ptr<Verification>(
            new Verification{AuditCheck(options_.files.directory, std::move(expected)),
                             std::move(wanted), std::move(done)}));
      });
}

// A file at a time: readers have their turns in between.
void AuditTrail::VerifyNext(std::shared_ptr<Verification> verification) {
  Verification& now = *verification;
  if (!now.wanted()) {
    return now.done(MakeError(Reason::kCancelled, "nobody waits for the check of the audit log"));
  }
  const absl::StatusOr<bool> more = now.check.CheckNext();
  if (!more.ok()) return now.done(more.status());
  if (!*more) return now.done(now.check.End());
  reader_->RunAfter(absl::ZeroDuration(), [this, verification = std::move(verification)]() mutable {
    VerifyNext(std::move(verification));
  });
}

}  // namespace smartkey
