// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/secret.h"
#include "base/unique_fd.h"
#include "hsm/pkcs11/pkcs11_uri.h"

namespace smartkey {

// What happened when a PIN was last tried, across restarts and power cuts: a token locks itself
// after a few wrong PINs, so a service that tries a wrong one at every start locks it.
//
// Kept in one file that only its owner can read, replaced as a whole and durably, or in memory if
// there is no path. The PIN itself is not in it: scrypt (RFC 7914) of it with a random salt and the
// token's serial and label, so that the record says nothing about the same PIN at another token.
// Without a login under way or a rejected PIN there is no such file (but an empty one beside it,
// which is locked during a login). A file that makes no sense counts as a login, with whatever PIN,
// whose end is not known.
//
// Not thread-safe; several objects, also in several processes, may have the same path.
class RejectedPinRecord {
 public:
  enum class State {
    kTrying,    // a login was begun, and nobody knows how it ended
    kRejected,  // the token said that this is not its PIN
  };

  // The hash of one PIN, and what was known of that PIN when it was made. Opaque.
  struct Entry {
    State state = State::kTrying;
    int tries = 0;  // logins that were begun and whose end is not known; 0: none, nothing is known
    std::string salt;
    std::string hash;
  };

  // Keeps others with this path from logging in meanwhile. Ends with its descriptor.
  using Lock = UniqueFd;

  explicit RejectedPinRecord(std::string path);

  // Errors: kHardwareBusy (somebody else is logging in), kStoreUnavailable.
  absl::StatusOr<Lock> Acquire() const;

  // What is known of `pin`. Computes one hash: some tens of milliseconds.
  // Errors: kStoreUnavailable (the file is there and cannot be read).
  absl::StatusOr<Entry> Find(const Secret& pin, const Pkcs11TokenIdentity& token) const;

  // Replaces the record by one about this PIN. Durable when it returns.
  // Errors: kStoreUnavailable.
  absl::Status Write(const Entry& entry);

  // Nothing is to be remembered any more.
  absl::Status Clear();

  const std::string& path() const { return path_; }

 private:
  absl::StatusOr<absl::optional<Entry>> Load() const;

  const std::string path_;
  absl::optional<Entry> in_memory_;  // where there is no path
};

}  // namespace smartkey
