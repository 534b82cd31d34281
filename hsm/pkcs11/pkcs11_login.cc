// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_login.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "hsm/pkcs11/pin_file.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

// Logins with one PIN that may be begun without anybody learning how they end.
constexpr int kMostUnresolved = 2;

// Why a token must not be offered a PIN at all, or will not take one.
absl::Status CheckTokenFlags(CK_FLAGS flags) {
  if (flags & CKF_USER_PIN_LOCKED) {
    return MakeError(Reason::kPinLocked, "the token's pin is locked");
  }
  if (flags & CKF_USER_PIN_FINAL_TRY) {
    return MakeError(Reason::kPinFinalTry,
                     "the next wrong pin would lock the token, so none is tried");
  }
  if (flags & CKF_PROTECTED_AUTHENTICATION_PATH) {
    return WithRemedy(MakeError(Reason::kConfigInvalid,
                                "the token wants its pin on its own keys, where nobody is"),
                      "use a token that takes its PIN from the application");
  }
  if ((flags & CKF_USER_PIN_INITIALIZED) == 0) {
    return WithRemedy(MakeError(Reason::kPinMissing, "the token has no user pin yet"),
                      "have the token's security officer set its user PIN");
  }
  if (flags & CKF_USER_PIN_TO_BE_CHANGED) {
    return WithRemedy(MakeError(Reason::kPinRejected, "the token's pin has to be changed first"),
                      "change the token's user PIN with its own tool, then put it into pin_file");
  }
  return absl::OkStatus();
}

bool IsWrongPin(CK_RV answer) {
  return answer == CKR_PIN_INCORRECT || answer == CKR_PIN_INVALID || answer == CKR_PIN_LEN_RANGE;
}

// Answers after which it is known that the PIN was not found wrong.
bool SaysNothingAgainstThePin(CK_RV answer) {
  switch (answer) {
    case CKR_PIN_EXPIRED:
    case CKR_PIN_LOCKED:
    case CKR_USER_PIN_NOT_INITIALIZED:
    case CKR_USER_ANOTHER_ALREADY_LOGGED_IN:
    case CKR_USER_TOO_MANY_TYPES:
    case CKR_USER_TYPE_INVALID:
    case CKR_SESSION_READ_ONLY_EXISTS:
    case CKR_FUNCTION_NOT_SUPPORTED:
      return true;
    default:
      return false;
  }
}

bool TokenWasAway(CK_RV answer) {
  return RowForPkcs11Code(answer).recovery == Pkcs11Recovery::kLogInAgain ||
         RowForPkcs11Code(answer).recovery == Pkcs11Recovery::kNewSession ||
         answer == CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV CallLogin(Pkcs11Session& session, CK_USER_TYPE user, const Secret& pin) {
  const absl::string_view octets = pin.RevealSecret();
  return session.functions().C_Login(session.handle(), user,
                                     reinterpret_cast<CK_BYTE*>(const_cast<char*>(octets.data())),
                                     octets.size());
}

}  // namespace

Pkcs11Login::Pkcs11Login(Options options)
    : options_(std::move(options)), record_(options_.rejected_pin_file) {}

absl::StatusOr<Pkcs11Login::Ready> Pkcs11Login::Prepare(Pkcs11Session& session,
                                                        const Pkcs11Token& token) {
  absl::StatusOr<CK_TOKEN_INFO> info = ReadTokenInfo(session.functions(), token.slot);
  if (!info.ok()) return info.status();
  // Another token may be in that slot by now: our PIN is not for it, and would count against it.
  if (!(IdentityOf(*info) == token.identity)) return Pkcs11Status(CKR_TOKEN_NOT_PRESENT, "log in");
  if (absl::Status status = CheckTokenFlags(info->flags); !status.ok()) return status;
  if (options_.pin_file.empty()) {
    return MakeError(Reason::kPinMissing, "the token wants a pin, and none is configured");
  }
  absl::StatusOr<Secret> pin = ReadPinFile(options_.pin_file);
  if (!pin.ok()) return pin.status();
  return Ready{.pin = *std::move(pin),
               .wrong_one_was_entered = (info->flags & CKF_USER_PIN_COUNT_LOW) != 0};
}

absl::Status Pkcs11Login::LogIn(Pkcs11Session& session, const Pkcs11Token& token) {
  absl::StatusOr<Ready> ready = Prepare(session, token);
  if (!ready.ok()) return ready.status();
  return TryOnRecord(session, token, CKU_USER, *ready);
}

absl::Status Pkcs11Login::AuthenticateUse(Pkcs11Session& session, const Pkcs11Token& token) {
  absl::StatusOr<Ready> ready = Prepare(session, token);
  if (!ready.ok()) return ready.status();
  if (!IsKnownGood(ready->pin) || ready->wrong_one_was_entered) {
    return TryOnRecord(session, token, CKU_CONTEXT_SPECIFIC, *ready);
  }
  // The token took this very PIN before, and none was wrong since: no need to hash it and to write
  // to the disk for every signature. If it was changed meanwhile, that is on record afterwards.
  const CK_RV answer = CallLogin(session, CKU_CONTEXT_SPECIFIC, ready->pin);
  if (!IsWrongPin(answer)) return Pkcs11Status(answer, "authenticate");
  absl::StatusOr<RejectedPinRecord::Entry> entry = record_.Find(ready->pin, token.identity);
  if (!entry.ok()) return entry.status();
  entry->tries = 1;
  return Reject(*std::move(entry), Pkcs11Status(answer, "authenticate"));
}

absl::Status Pkcs11Login::TryOnRecord(Pkcs11Session& session, const Pkcs11Token& token,
                                      CK_USER_TYPE user, const Ready& ready) {
  absl::StatusOr<RejectedPinRecord::Lock> lock = record_.Acquire();
  if (!lock.ok()) return lock.status();
  absl::StatusOr<RejectedPinRecord::Entry> entry = record_.Find(ready.pin, token.identity);
  if (!entry.ok()) return entry.status();
  if (entry->tries > 0 && entry->state == RejectedPinRecord::State::kRejected) {
    return MakeError(Reason::kPinRejected,
                     "the token has rejected this pin before, so it is not tried again");
  }
  if (entry->tries >= kMostUnresolved || (entry->tries > 0 && ready.wrong_one_was_entered)) {
    return Reject(*std::move(entry), NeverEnded());
  }
  entry->state = RejectedPinRecord::State::kTrying;
  ++entry->tries;
  if (absl::Status status = record_.Write(*entry); !status.ok()) return status;
  return Settle(CallLogin(session, user, ready.pin), *std::move(entry), ready.pin);
}

absl::Status Pkcs11Login::Settle(CK_RV answer, RejectedPinRecord::Entry entry, const Secret& pin) {
  if (answer == CKR_OK || answer == CKR_USER_ALREADY_LOGGED_IN) {
    // Somebody else of this process may have logged in: that says nothing about our PIN.
    if (answer == CKR_OK) accepted_ = pin.Clone();
    Forget();
    return absl::OkStatus();
  }
  const absl::Status status = Pkcs11Status(answer, "log in");
  if (IsWrongPin(answer)) return Reject(std::move(entry), status);
  if (SaysNothingAgainstThePin(answer) || (IsKnownGood(pin) && TokenWasAway(answer))) Forget();
  return status;
}

absl::Status Pkcs11Login::Reject(RejectedPinRecord::Entry entry, absl::Status why) {
  accepted_ = Secret();
  entry.state = RejectedPinRecord::State::kRejected;
  // If it cannot be written, the record of the try still stands, and counts against the PIN.
  if (absl::Status status = record_.Write(entry); !status.ok()) {
    Log(LogLevel::kWarning, "rejected pin could not be recorded", {{"error", status.message()}});
  }
  return why;
}

void Pkcs11Login::Forget() {
  // What stays is the record of a try: one more, in a restart's time, is no danger.
  if (absl::Status status = record_.Clear(); !status.ok()) {
    Log(LogLevel::kWarning, "record of the token's pin could not be removed",
        {{"error", status.message()}});
  }
}

absl::Status Pkcs11Login::NeverEnded() const {
  return WithRemedy(
      MakeError(Reason::kPinRejected,
                "logins with this pin were begun and never ended, so it is not tried again"),
      absl::StrCat("check the PIN with the token's own tool; if it is right, remove ",
                   Printable(record_.path(), 100)));
}

bool Pkcs11Login::IsKnownGood(const Secret& pin) const {
  return !accepted_.empty() && Secret::Equal(accepted_, pin.RevealSecret());
}

}  // namespace smartkey
