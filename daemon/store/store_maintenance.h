// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace smartkey {

// A copy of the whole record, made while it was in order.
struct StoreCopy {
  std::string file;  // its path below the state directory
  absl::Time made_at = absl::InfinitePast();
};

// How the files of the record do; whether it can be read and written says RegistrationStore.
struct StoreCondition {
  int schema_version = 0;              // 0 while it cannot be read
  std::vector<StoreCopy> copies;       // of the days, newest first; then of before upgrades
  absl::Status copying;                // OK, or why the last copy could not be made
  std::vector<std::string> set_aside;  // folders of what was set aside, with their whole path
  // It was written on another computer: this one's keys are not in it, and that one may use it too.
  bool of_another_machine = false;
};

// Where the registrations of a recovered record came from.
struct StoreRecovery {
  int from_memory = 0;        // read before the file was damaged
  int from_damaged_file = 0;  // the newest
  int from_copy = 0;          // as of the time of that copy
  StoreCopy copy;             // the copy used; no file: none
  // Something of the damaged file could not be read: what was enrolled since the copy may be gone.
  bool incomplete = false;
  std::string set_aside;  // the folder where all the old files are; empty: there were none

  int registrations() const { return from_memory + from_damaged_file + from_copy; }
};

// Looks after the record on disk, for the administrator and for the daemon's own housekeeping.
// Nothing here ever deletes a damaged record: it is set aside. `done` runs exactly once, on the
// store's thread, and must not block. Thread-safe.
class StoreMaintenance {
 public:
  virtual ~StoreMaintenance() = default;

  // Never waits for the disk.
  virtual StoreCondition condition() const = 0;

  // Puts a new record in the place of a damaged or lost one: with what is in memory, if it was read
  // before, or else with what the damaged file and the newest good copy still hold. With `copy`
  // (its file) just with that one. Afterwards registrations are served at once. Killed in the
  // middle, the old or the new record is there. Errors: kInvalidArgument if there is nothing to be
  // recovered or no such copy, kStoreUnavailable if nothing can be read or written, kStoreTooNew.
  virtual void Recover(std::string copy,
                       absl::AnyInvocable<void(absl::StatusOr<StoreRecovery>)> done) = 0;

  // Puts an empty record in the place of one that cannot be read. `done` gets the folder with the
  // old files; empty if there were none. Errors: kInvalidArgument if it can be read,
  // kStoreUnavailable.
  virtual void Reset(absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) = 0;

  // Takes it that this computer is now the one that uses the record. Errors: as for any write.
  virtual void Adopt(absl::AnyInvocable<void(absl::Status)> done) = 0;

  // What is due: looks again at a record that could not be read, makes the copy of the day. Called
  // again and again (StoreUpkeep).
  virtual void Maintain(absl::AnyInvocable<void()> done) = 0;
};

}  // namespace smartkey
