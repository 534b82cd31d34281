// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "daemon/model/audit_entry.h"
#include "daemon/model/caller.h"

namespace smartkey {

// What was done with registrations, by whom, with what outcome. What is told here is written by a
// thread of the log's own: telling never waits for a disk. Thread-safe.
class AuditLog {
 public:
  virtual ~AuditLog() = default;

  // Something that is worth a line each time: a share, a step of an enrollment, an assertion, what
  // an administrator did. `caller` null: smartkeyd did it by itself. Facts are cut to 256 bytes; of
  // a user who makes very many lines only the number of each kind is written.
  virtual void Note(const Caller* caller, absl::string_view operation,
                    absl::string_view registration_id, const absl::Status& outcome,
                    AuditFacts facts = {}) = 0;

  // A token goes to a caller. A line the first time that this token goes to this user and unit;
  // what follows is counted, and the count written once a minute.
  virtual void NoteDelivery(const Caller& caller, absl::string_view registration_id,
                            absl::string_view token_hash) = 0;

  // A caller may not do something. A line the first time for this user (and whom he logged in as),
  // operation, registration and reason; what follows is counted likewise. `registration_id` is what
  // was meant, also if the caller is told that there is none.
  virtual void NoteRefusal(const Caller& caller, absl::string_view operation,
                           absl::string_view registration_id, const absl::Status& refusal) = 0;

  // May the caller do something that has to be in the log? Errors, if the configuration says
  // `on_full = "deny"`: kAuditUnavailable while it cannot be written, kRateLimited while this user
  // has more lines than it takes of one.
  virtual absl::Status CheckWritable(const Caller& caller) const = 0;

  virtual AuditCondition condition() const = 0;

  // Which entries a reader wants.
  struct Query {
    absl::Time since = absl::InfinitePast();
    bool follow = false;
    bool administrator = false;
    uid_t uid = 0;                // the reader's
    std::string registration_id;  // entries about others need not be asked for; empty: all
    // Asked for each entry of the period, on the log's reading thread.
    std::function<bool(const AuditEntry&)> wanted;
  };
  // Reads the log from its files; a stream for one reader at his pace.
  class Reading {
   public:
    virtual ~Reading() = default;
    // The next entry; nullopt: none now, `wake` is called when there may be one. After the last
    // entry, unless it follows, kCancelled. What cannot be read is passed over. One thread at a
    // time.
    virtual absl::StatusOr<absl::optional<AuditEntry>> Next() = 0;
    // `wake` is not called again, but for a call under way.
    virtual void Stop() = 0;
  };
  // Errors: kRateLimited for too many readers at once, of all users or of this one; an
  // administrator is never one too many.
  virtual absl::StatusOr<std::shared_ptr<Reading>> Read(Query query,
                                                        std::function<void()> wake) = 0;

  // Checks the whole chain. `anchor`: a head that was kept elsewhere. `wanted` is asked on the way:
  // after a no, the check ends with kCancelled. `done` runs once. Both on a thread of the log's.
  virtual void Verify(absl::optional<AuditHead> anchor, std::function<bool()> wanted,
                      absl::AnyInvocable<void(absl::StatusOr<AuditVerification>)> done) = 0;
};

}  // namespace smartkey
