// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/access_requests.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/random.h"
#include "daemon/access/principal.h"
#include "daemon/model/scope_cover.h"

namespace smartkey {
namespace {

constexpr size_t kMaxReason = 80;

// The length of the UTF-8 character that `text` begins with; 0 if it begins with none.
size_t CharacterLength(absl::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xc2 ? 0
                        : first < 0xe0 ? 2
                        : first < 0xf0 ? 3
                        : first < 0xf5 ? 4
                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and what is beyond U+10FFFF.
  if ((first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) >= 0xa0) ||
      (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) >= 0x90)) {
    return 0;
  }
  return length;
}

// C0, C1, DEL; line and paragraph separators; what turns the direction of text (Unicode UAX 9).
bool IsControl(absl::string_view character) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return at(0) < 0x20 || at(0) == 0x7f;
  if (character.size() == 2) return (at(0) == 0xc2 && at(1) < 0xa0) || character == "\u061c";
  if (character.size() != 3 || at(0) != 0xe2) return false;
  return (at(1) == 0x80 &&
          ((at(2) >= 0x8e && at(2) <= 0x8f) || (at(2) >= 0xa8 && at(2) <= 0xae))) ||
         (at(1) == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9);
}

bool Fits(const Registration& registration, const AccessWish& wish) {
  if (registration.owner_name != wish.owner) return false;
  if (!wish.registration.empty()) {
    return registration.id == wish.registration ||
           registration.name.RevealIdentifying() == wish.registration;
  }
  return registration.app_id == wish.app && registration.fhir_base == wish.fhir_base;
}

bool SameWish(const AccessWish& a, const AccessWish& b) {
  return a.owner == b.owner && a.registration == b.registration && a.app == b.app &&
         a.fhir_base == b.fhir_base && a.operations == b.operations && a.scopes == b.scopes;
}

bool HasAll(const Right& right, const AccessWish& wish) {
  if (!right.operations.HasAll(wish.operations)) return false;
  if (!wish.operations.Has(Operation::kToken) || !right.scopes.has_value()) return true;
  return !wish.scopes.empty() && Covers(*right.scopes, wish.scopes);
}

}  // namespace

absl::StatusOr<std::string> CleanReason(absl::string_view text) {
  std::string clean;
  size_t characters = 0;
  while (!text.empty()) {
    if (++characters > kMaxReason) {
      return MakeError(Reason::kInvalidArgument, "a reason has at most 80 characters");
    }
    const size_t length = CharacterLength(text);
    const absl::string_view character = text.substr(0, std::max<size_t>(length, 1));
    if (length == 0) {
      clean += '?';
    } else if (IsControl(character)) {
      clean += ' ';
    } else {
      clean.append(character.data(), character.size());
    }
    text.remove_prefix(character.size());
  }
  return clean;
}

class AccessRequests::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(RegistrationStore& store, const AccessPolicy& access, Scheduler& scheduler,
       const Clock& clock)
      : store_(store), access_(access), scheduler_(scheduler), clock_(clock) {}

  absl::StatusOr<WatchId> Ask(const Caller& caller, AccessWish wish, std::function<void()> wake);
  absl::StatusOr<absl::optional<AccessAnswer>> Next(WatchId watch);
  void Leave(WatchId watch);
  std::vector<AccessRequest> List(const Caller& caller) const;
  void Approve(const Caller& caller, const std::string& request_id, Share terms,
               absl::AnyInvocable<void(absl::StatusOr<Approval>)> done);
  void Deny(const Caller& caller, const std::string& request_id, bool always,
            absl::AnyInvocable<void(absl::StatusOr<AccessRequest>)> done);
  void Stop();

 private:
  // One that is open.
  struct Open {
    AccessRequest request;  // without registration_id
    AccessWish wish;
    uint64_t number = 0;  // ascending with age
    Scheduler::TaskId lapse = 0;

    bool IsOf(const Caller& caller) const {
      return request.from.uid == caller.uid && request.from.user_name == caller.user_name;
    }
  };
  struct Watch {
    uid_t uid = 0;
    std::string request_id;
    std::deque<AccessAnswer> untold;
    bool over = false;  // once `untold` is empty
    std::function<void()> wake;
  };

  absl::Status CheckMayAsk(const Caller& caller) const;
  RegistrationStore::Snapshot FindWished(const AccessWish& wish) const;
  absl::StatusOr<std::string> Enter(const Caller& caller, AccessWish wish)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool WasToldNo(const Caller& caller, const AccessWish& wish) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The request and its registration, if the caller manages that.
  absl::StatusOr<AccessRequest> FindFor(const Caller& caller, const std::string& request_id) const;
  absl::Status CheckOpen(const std::string& request_id) const;
  // Tells whoever waits how it ended.
  void End(const std::string& request_id, AccessAnswer::State state,
           const std::string& registration_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Tell(Watch& watch, AccessAnswer answer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  RegistrationStore& store_;
  const AccessPolicy& access_;
  Scheduler& scheduler_;
  const Clock& clock_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_number_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, Open> open_ ABSL_GUARDED_BY(mu_);
  std::deque<Open> denied_ ABSL_GUARDED_BY(mu_);  // the last ones, as many as may be open
  std::map<WatchId, Watch> watches_ ABSL_GUARDED_BY(mu_);
};

absl::Status AccessRequests::Core::CheckMayAsk(const Caller& caller) const {
  if (caller.admin) {
    return WithRemedy(MakeError(Reason::kNotPermitted, "an administrator needs no owner's leave"),
                      "share it: 'smartkeyctl share OWNER/NAME PRINCIPAL'");
  }
  // A service may have a uid without a login.
  Caller named = caller;
  if (named.user_name.empty()) named.user_name = "service";
  return CheckIdentity(named);
}

RegistrationStore::Snapshot AccessRequests::Core::FindWished(const AccessWish& wish) const {
  RegistrationStore::Snapshot oldest;
  for (const RegistrationStore::Snapshot& one : store_.ListOwned(wish.owner)) {
    if (!Fits(*one, wish)) continue;
    if (oldest == nullptr || one->created_at < oldest->created_at) oldest = one;
  }
  return oldest;
}

bool AccessRequests::Core::WasToldNo(const Caller& caller, const AccessWish& wish) const {
  return std::any_of(denied_.begin(), denied_.end(),
                     [&](const Open& one) { return one.IsOf(caller) && SameWish(one.wish, wish); });
}

absl::StatusOr<std::string> AccessRequests::Core::Enter(const Caller& caller, AccessWish wish) {
  int of_uid = 0;
  for (const auto& [id, open] : open_) {
    if (open.request.from.uid != caller.uid) continue;
    ++of_uid;
    if (open.IsOf(caller) && SameWish(open.wish, wish)) return id;
  }
  if (of_uid >= kMaxPerUid || static_cast<int>(open_.size()) >= kMaxOpen) {
    return WithRemedy(MakeError(Reason::kRateLimited, "too many requests for access are open"),
                      "wait until an owner decides one of them, or it lapses after 7 days");
  }
  Open open;
  open.number = ++last_number_;
  open.request = {RandomId(),  caller,          ShareFor(caller).principal,
                  "",          wish.operations, wish.scopes,
                  wish.reason, clock_.Now(),    clock_.Now() + kLifetime};
  open.wish = std::move(wish);
  Log(LogLevel::kInfo, "access asked for", {{"request", open.request.id}, {"uid", caller.uid}});
  const std::string id = open.request.id;
  open.lapse = scheduler_.RunAfter(kLifetime, [weak = weak_from_this(), id] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    MutexLock lock(self->mu_);
    self->End(id, AccessAnswer::State::kLapsed, "");
  });
  open_.emplace(id, std::move(open));
  return id;
}

absl::StatusOr<AccessRequests::WatchId> AccessRequests::Core::Ask(const Caller& caller,
                                                                  AccessWish wish,
                                                                  std::function<void()> wake) {
  if (absl::Status status = access_.Noted(CheckMayAsk(caller), caller, "request", "");
      !status.ok()) {
    return status;
  }
  // What is found here shows in nothing that is told before kPending.
  const RegistrationStore::Snapshot wished = FindWished(wish);
  const bool has_it = wished != nullptr && HasAll(access_.RightTo(caller, *wished), wish);
  const bool denied = wished != nullptr && IsDenied(*wished, caller, clock_.Now());

  MutexLock lock(mu_);
  if (stopped_) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  const auto watches_of_uid =
      std::count_if(watches_.begin(), watches_.end(),
                    [&](const auto& entry) { return entry.second.uid == caller.uid; });
  if (watches_of_uid >= kMaxWatchesPerUid) {
    return WithRetryAfter(
        MakeError(Reason::kRateLimited, "too many watch their requests for access"),
        absl::Seconds(10));
  }
  Watch watch;
  watch.uid = caller.uid;
  watch.wake = std::move(wake);
  if (has_it || (denied && WasToldNo(caller, wish))) {
    watch.request_id = RandomId();
    watch.over = true;
    const AccessAnswer::State end =
        has_it ? AccessAnswer::State::kApproved : AccessAnswer::State::kDenied;
    watch.untold.push_back({watch.request_id, AccessAnswer::State::kPending, ""});
    watch.untold.push_back({watch.request_id, end, has_it ? wished->id : ""});
  } else {
    absl::StatusOr<std::string> id = Enter(caller, std::move(wish));
    if (!id.ok()) return id.status();
    watch.request_id = *id;
    watch.untold.push_back({*id, AccessAnswer::State::kPending, ""});
  }
  const WatchId id = ++last_number_;
  watches_.emplace(id, std::move(watch));
  return id;
}

absl::StatusOr<absl::optional<AccessAnswer>> AccessRequests::Core::Next(WatchId id) {
  MutexLock lock(mu_);
  if (stopped_) return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  const auto found = watches_.find(id);
  if (found == watches_.end()) return MakeError(Reason::kCancelled, "the request was left");
  Watch& watch = found->second;
  if (watch.untold.empty()) {
    if (!watch.over) return absl::nullopt;
    watches_.erase(found);
    return MakeError(Reason::kCancelled, "the request was left");
  }
  AccessAnswer answer = std::move(watch.untold.front());
  watch.untold.pop_front();
  return answer;
}

void AccessRequests::Core::Leave(WatchId watch) {
  MutexLock lock(mu_);
  watches_.erase(watch);
}

std::vector<AccessRequest> AccessRequests::Core::List(const Caller& caller) const {
  std::vector<Open> all;
  {
    MutexLock lock(mu_);
    for (const auto& [id, open] : open_) all.push_back(open);
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  std::vector<AccessRequest> visible;
  for (Open& open : all) {
    const RegistrationStore::Snapshot registration = FindWished(open.wish);
    if (registration == nullptr) continue;  // there is none such, or none any more
    if (!access_.RightTo(caller, *registration).operations.Has(Operation::kManage)) continue;
    // He was told no lately, and asks in other words.
    if (IsDenied(*registration, open.request.from, clock_.Now())) continue;
    open.request.registration_id = registration->id;
    visible.push_back(std::move(open.request));
  }
  return visible;
}

absl::Status AccessRequests::Core::CheckOpen(const std::string& request_id) const {
  MutexLock lock(mu_);
  if (open_.contains(request_id)) return absl::OkStatus();
  return MakeError(Reason::kAccessRequestNotFound, "no open request has this id");
}

absl::StatusOr<AccessRequest> AccessRequests::Core::FindFor(const Caller& caller,
                                                            const std::string& request_id) const {
  for (AccessRequest& one : List(caller)) {
    if (one.id == request_id) return std::move(one);
  }
  return MakeError(Reason::kAccessRequestNotFound, "no open request has this id");
}

void AccessRequests::Core::Approve(const Caller& caller, const std::string& request_id, Share terms,
                                   absl::AnyInvocable<void(absl::StatusOr<Approval>)> done) {
  const absl::StatusOr<AccessRequest> request = FindFor(caller, request_id);
  if (!request.ok()) return done(request.status());
  if (absl::Status status = access_.CheckWritable(caller); !status.ok()) return done(status);
  Share share = ShareFor(request->from);
  share.id = terms.id;
  share.created_at = terms.created_at;
  share.created_by = terms.created_by;
  share.created_by_name = terms.created_by_name;
  share.ends_at = terms.ends_at;
  share.operations = std::move(terms.operations);
  if (share.operations.empty()) {
    for (const Operation one : request->operations.list()) {
      share.operations.emplace_back(OperationName(one));
    }
  }
  share.scopes = std::move(terms.scopes);
  if (share.scopes.empty()) share.scopes.assign(request->scopes.begin(), request->scopes.end());
  if (absl::Status status = CheckShare(share, clock_.Now()); !status.ok()) return done(status);

  auto made = std::make_shared<Share>();
  store_.Update(
      request->registration_id,
      [self = shared_from_this(), caller, request_id, share,
       made](Registration& changed) mutable -> absl::Status {
        if (absl::Status status = self->CheckOpen(request_id); !status.ok()) return status;
        absl::StatusOr<std::string> made_under = self->access_.CheckShareBy(caller, changed, share);
        if (!made_under.ok()) return made_under.status();
        share.made_under = *std::move(made_under);
        if (absl::Status status = CheckShareScopes(share, changed); !status.ok()) return status;
        absl::StatusOr<Share> added = AddShare(changed, std::move(share), self->clock_.Now());
        if (!added.ok()) return added.status();
        *made = *std::move(added);
        return absl::OkStatus();
      },
      [self = shared_from_this(), request_id, made, registration_id = request->registration_id,
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
        if (!updated.ok()) return done(updated.status());
        {
          MutexLock lock(self->mu_);
          self->End(request_id, AccessAnswer::State::kApproved, registration_id);
        }
        done(Approval{registration_id, *made});
      });
}

void AccessRequests::Core::Deny(const Caller& caller, const std::string& request_id, bool always,
                                absl::AnyInvocable<void(absl::StatusOr<AccessRequest>)> done) {
  const absl::StatusOr<AccessRequest> request = FindFor(caller, request_id);
  if (!request.ok()) return done(request.status());
  if (absl::Status status = access_.CheckWritable(caller); !status.ok()) return done(status);
  const absl::Time now = clock_.Now();
  const Denial denial = {request->from.uid, request->from.user_name, now,
                         always ? absl::InfiniteFuture() : now + kSilence};
  store_.Update(
      request->registration_id,
      [self = shared_from_this(), caller, request_id, denial,
       now](Registration& changed) -> absl::Status {
        if (absl::Status status = self->CheckOpen(request_id); !status.ok()) return status;
        if (absl::Status status =
                self->access_.Noted(self->access_.Check(caller, changed, Operation::kManage),
                                    caller, OperationName(Operation::kManage), changed.id);
            !status.ok()) {
          return status;
        }
        PutDenial(changed, denial, now);
        return absl::OkStatus();
      },
      [self = shared_from_this(), request = *request,
       done = std::move(done)](absl::StatusOr<RegistrationStore::Snapshot> updated) mutable {
        if (!updated.ok()) return done(updated.status());
        {
          MutexLock lock(self->mu_);
          if (const auto open = self->open_.find(request.id); open != self->open_.end()) {
            self->denied_.push_back(open->second);
            if (self->denied_.size() > kMaxOpen) self->denied_.pop_front();
          }
          self->End(request.id, AccessAnswer::State::kDenied, "");
        }
        done(request);
      });
}

void AccessRequests::Core::End(const std::string& request_id, AccessAnswer::State state,
                               const std::string& registration_id) {
  const auto found = open_.find(request_id);
  if (found == open_.end()) return;
  scheduler_.Cancel(found->second.lapse);
  open_.erase(found);
  for (auto& [id, watch] : watches_) {
    if (watch.request_id != request_id || watch.over) continue;
    watch.over = true;
    Tell(watch, {request_id, state, registration_id});
  }
}

void AccessRequests::Core::Tell(Watch& watch, AccessAnswer answer) {
  watch.untold.push_back(std::move(answer));
  // Never under the lock.
  scheduler_.RunAfter(absl::ZeroDuration(), watch.wake);
}

void AccessRequests::Core::Stop() {
  MutexLock lock(mu_);
  stopped_ = true;
  for (auto& [id, watch] : watches_) scheduler_.RunAfter(absl::ZeroDuration(), watch.wake);
}

AccessRequests::AccessRequests(RegistrationStore& store, const AccessPolicy& access,
                               Scheduler& scheduler, const Clock& clock)
    : core_(std::make_shared<Core>(store, access, scheduler, clock)) {}
AccessRequests::~AccessRequests() = default;

absl::StatusOr<AccessRequests::WatchId> AccessRequests::Ask(const Caller& caller, AccessWish wish,
                                                            std::function<void()> wake) {
  return core_->Ask(caller, std::move(wish), std::move(wake));
}

absl::StatusOr<absl::optional<AccessAnswer>> AccessRequests::Next(WatchId watch) {
  return core_->Next(watch);
}

void AccessRequests::Leave(WatchId watch) {
  core_->Leave(watch);
}

std::vector<AccessRequest> AccessRequests::List(const Caller& caller) const {
  return core_->List(caller);
}

void AccessRequests::Approve(const Caller& caller, const std::string& request_id, Share terms,
                             absl::AnyInvocable<void(absl::StatusOr<Approval>)> done) {
  core_->Approve(caller, request_id, std::move(terms), std::move(done));
}

void AccessRequests::Deny(const Caller& caller, const std::string& request_id, bool always,
                          absl::AnyInvocable<void(absl::StatusOr<AccessRequest>)> done) {
  core_->Deny(caller, request_id, always, std::move(done));
}

void AccessRequests::Stop() {
  core_->Stop();
}

}  // namespace smartkey
