// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>

#include "absl/status/status.h"
#include "base/secret.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "hsm/pkcs11/rejected_pin_record.h"

namespace smartkey {

// Logs in to a token without ever locking it. The rules:
// - A token that says that its PIN is locked, or that the next wrong one locks it, is left alone.
// - A PIN that the token has rejected is never tried again, by this process or a later one, until
//   the PIN file holds another (RejectedPinRecord).
// - The try is recorded before it is made. If nobody knows how it ended (a crash, a power cut, a
//   token that died, an answer that says nothing), the PIN counts as rejected if the token says
//   that a wrong one was entered; else it is tried once more, and then no more.
// - A token that went away in the middle does not count against a PIN that this object has seen
//   accepted.
//
// The PIN is read from its file at each login, and the one accepted last is kept as a Secret. Not
// thread-safe; a login of another object with the same record makes this one fail (kHardwareBusy).
class Pkcs11Login {
 public:
  struct Options {
    std::string pin_file;           // empty: none is configured
    std::string rejected_pin_file;  // where the record is kept; empty: in this object only
  };

  explicit Pkcs11Login(Options options);

  // Logs the process in as the token's user, through any session of it. Already logged in is
  // success.
  // Errors: kPinMissing, kPinRejected, kPinFinalTry, kPinLocked, kConfigInvalid (the token wants
  // its PIN on its own keys; the PIN file is open to others), kHardwareBusy, kStoreUnavailable, and
  // what else the token answers.
  absl::Status LogIn(Pkcs11Session& session, const Pkcs11Token& token);

  // Says yes to one use of a key that asks each time (CKA_ALWAYS_AUTHENTICATE; PKCS#11 v2.40
  // section 4.9), after C_SignInit. Errors: as LogIn.
  absl::Status AuthenticateUse(Pkcs11Session& session, const Pkcs11Token& token);

 private:
  // What it takes to try.
  struct Ready {
    Secret pin;
    bool wrong_one_was_entered = false;  // since the last right one, as the token says
  };

  absl::StatusOr<Ready> Prepare(Pkcs11Session& session, const Pkcs11Token& token);
  absl::Status TryOnRecord(Pkcs11Session& session, const Pkcs11Token& token, CK_USER_TYPE user,
                           const Ready& ready);
  // Keeps on record what C_Login has answered.
  absl::Status Settle(CK_RV answer, RejectedPinRecord::Entry entry, const Secret& pin);
  absl::Status Reject(RejectedPinRecord::Entry entry, absl::Status why);
  void Forget();
  absl::Status NeverEnded() const;
  bool IsKnownGood(const Secret& pin) const;

  const Options options_;
  RejectedPinRecord record_;
  Secret accepted_;  // the PIN that worked last; empty: none yet
};

}  // namespace smartkey
