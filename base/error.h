// SPDX-License-Identifier: Apache-2.0
#pragma once

// What went wrong, in one closed vocabulary, and what follows from it.
//
// Every refusal that reaches a person or an app is an absl::Status made by MakeError(). It carries
// a Reason as a payload; one table (error.cc) says for each reason the status code, who has to do
// something, the exit code of smartkeyctl and a sentence of remedy. The same enums stand, name for
// name and number for number, in proto/smartkey/v1/error.proto, where each reason is explained; a
// test keeps the two equal. This file knows no proto, so that every layer can use it.
//
// Messages: lower case, no full stop, what happened to what. They go to apps and journals: nothing
// secret in them, no patient id, no label, no registration's name, no uncut text from a server.
//
//   if (!found) return MakeError(Reason::kUnknownServer, "no server of this name is configured");
//   absl::Status status = Annotate(key.status(), "making the key of enrollment e-17");
//   if (ReasonOf(status) == Reason::kServerBusy) gate.CloseFor(RetryAfterOf(status));
//
// All functions are pure and thread-safe; the views they return point into static storage.

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace smartkey {

// Numbers are those of smartkey.v1.ErrorDetail.Reason and never change meaning.
enum class Reason : int {
  kUnspecified = 0,  // No error. Never in the table, never in MakeError().

  // The call itself.
  kInvalidArgument = 1,
  kNotImplemented = 2,
  kDeadlineExceeded = 3,
  kCancelled = 4,
  kInternal = 5,
  kShuttingDown = 6,

  // Who is calling, and what they may do.
  kNotPermitted = 20,
  kShareLacksOperation = 21,
  kShareLacksScope = 22,
  kContainerDenied = 23,
  kCallerUnidentified = 24,
  kOwnerChanged = 25,
  kEnrollmentNotAllowed = 26,
  kTooManyConnections = 27,
  kRateLimited = 28,
  kUnknownPrincipal = 29,
  kShareNotFound = 30,
  kShareFromPolicy = 31,
  kAccessRequestNotFound = 32,
  kAccessEnded = 33,

  // Which app, server, registration.
  kUnknownServer = 40,
  kUnknownApp = 41,
  kRegistrationNotFound = 42,
  kRegistrationAmbiguous = 43,
  kNameTaken = 44,
  kTooManyRegistrations = 45,
  kServerRemoved = 46,

  // Enrollment: steps 1 and 2.
  kEnrollmentNotFound = 60,
  kEnrollmentExpired = 61,
  kEnrollmentCancelled = 62,
  kTooManyEnrollments = 63,
  kConsentDenied = 64,
  kStateMismatch = 65,
  kIssuerMismatch = 66,
  kAuthorizationRefused = 67,
  kCodeRefused = 68,
  kRegisterScopeNotGranted = 69,
  kNoDynamicRegistration = 70,
  kSoftwareIdRefused = 71,
  kRegistrationRefused = 72,
  kRegistrationForbidden = 73,
  kRegistrationAnswerInvalid = 74,
  kDuplicateClientId = 75,
  kInitialTokenRefused = 76,
  kInitialTokenExpired = 77,
  kRegisteredButNotDurable = 78,
  kRedirectUriUnknown = 79,
  kRedirectPortBusy = 80,
  kBrowserTimeout = 81,
  kEnrollmentUnderWay = 82,

  // The state of a registration.
  kNotReady = 100,
  kReauthRequired = 101,
  kRefusedByServer = 102,
  kMisconfigured = 103,
  kContextChanged = 104,
  kSuspended = 105,
  kOrphaned = 106,
  kDeleting = 107,
  kRotationNeedsBrowser = 108,

  // Network and server.
  kNoNetwork = 120,
  kServerUnreachable = 121,
  kServerBusy = 122,
  kServerError = 123,
  kServerRefusingAll = 124,
  kTlsNotTrusted = 125,
  kIntercepted = 126,
  kRedirectRefused = 127,
  kBadServerAnswer = 128,
  kUnexpectedStatus = 129,
  kDiscoveryInvalid = 130,
  kClockWrong = 131,
  kInvalidScope = 132,
  kScopeUnproven = 133,
  kRequestRefused = 134,

  // Hardware and keys.
  kHardwareAbsent = 150,
  kHardwareBusy = 151,
  kHardwareDegraded = 152,
  kHardwareTimeout = 153,
  kHardwareError = 154,
  kHardwareFull = 155,
  kTpmLockout = 156,
  kTpmOwnerAuthRequired = 157,
  kPinMissing = 158,
  kPinRejected = 159,
  kPinFinalTry = 160,
  kPinLocked = 161,
  kAlgorithmUnsupported = 162,
  kKeyUnavailable = 163,
  kKeyLostTpmCleared = 164,
  kKeyLostOtherMachine = 165,
  kKeyGone = 166,
  kKeyDamaged = 167,
  kKeyNotProtected = 168,
  kSignatureWrong = 169,
  kAttestationUnsupported = 170,
  kTpmHandleTaken = 171,

  // Signing for apps.
  kAudienceNotAllowed = 190,
  kAudienceForbidden = 191,
  kClaimNotAllowed = 192,
  kUrlOutsideFhirBase = 193,
  kTokenNotOurs = 194,
  kDpopUnsupported = 195,
  kDpopDowngraded = 196,

  // The daemon itself.
  kStoreUnavailable = 210,
  kStoreFull = 211,
  kStoreTooNew = 212,
  kConfigInvalid = 213,
  kAlreadyRunning = 214,
  kAuditUnavailable = 215,

  // Added by client libraries, never sent by the daemon.
  kDaemonNotInstalled = 230,
  kDaemonNotRunning = 231,
};

// Who has to do what. Numbers are those of smartkey.v1.ErrorDetail.UserAction.
enum class UserAction : int {
  kNone = 0,              // Nothing is to be done.
  kRetryLater = 1,        // Wait; see RetryAfterOf().
  kRenew = 2,             // A person goes through the browser again: enroll or renew.
  kAskOwner = 3,          // The registration's owner decides.
  kAskAdministrator = 4,  // The administrator mends configuration, machine or server.
  kUnlockHardware = 5,    // Someone unlocks the TPM or token.
  kFixCall = 6,           // The request itself is wrong.
  kInstallOrStart = 7,    // smartkeyd is missing or not running.
};

// Exit codes of smartkeyctl.
enum class ExitCode : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNotPermitted = 3,
  kPersonMustAct = 4,
  kTryLater = 5,
  kCannotBeReached = 6,
};

struct ReasonRow {
  Reason reason;
  absl::string_view name;  // As in the proto: "NO_NETWORK".
  absl::StatusCode code;
  UserAction action;
  ExitCode exit_code;
  absl::string_view remedy;  // What to do next, in plain words; at most kMaxRemedyBytes.
};

struct UserActionRow {
  UserAction action;
  absl::string_view name;   // As in the proto: "RETRY_LATER".
  absl::string_view words;  // For people: "try again later".
};

constexpr size_t kMaxRemedyBytes = 200;

// The whole table, by ascending number, without kUnspecified.
absl::Span<const ReasonRow> AllReasons();
absl::Span<const UserActionRow> AllUserActions();

// The row of a reason; that of kInternal for kUnspecified and for numbers not in the table.
const ReasonRow& RowFor(Reason reason);
const UserActionRow& RowFor(UserAction action);

// "NO_NETWORK" for kNoNetwork; "INTERNAL" where RowFor() says so.
absl::string_view ReasonName(Reason reason);
// The reverse, exact and case-sensitive; absent for unknown names.
absl::optional<Reason> ReasonFromName(absl::string_view name);
// From the wire; absent for numbers that this build does not know, and for 0.
absl::optional<Reason> ReasonFromNumber(int number);

// A status with the table's code, this message, and the reason as payload.
absl::Status MakeError(Reason reason, absl::string_view message);

// The one answer about a registration that is not there or not there for this caller. Both get the
// same bytes, so that nobody can find out which registrations exist.
absl::Status RegistrationNotFound();

// kUnspecified for OK. Without a payload (a status from elsewhere) the nearest reason for its code,
// which is kInternal for all codes but cancelled, deadline, permission, argument and unimplemented.
Reason ReasonOf(const absl::Status& status);

// Shorthand for RowFor(ReasonOf(status)); kNone and kOk for OK.
UserAction UserActionOf(const absl::Status& status);
ExitCode ExitCodeOf(const absl::Status& status);

// Prefixes "context: " to the message, keeping code and payloads. OK stays OK.
absl::Status Annotate(absl::Status status, absl::string_view context);

// When another try makes sense, counted from now; negative values become zero, fractions of a
// millisecond are cut. OK stays OK. RetryAfterOf(): absent when nobody said so.
absl::Status WithRetryAfter(absl::Status status, absl::Duration retry_after);
absl::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

// Replaces the table's remedy by one that fits better; cut to kMaxRemedyBytes. OK stays OK.
// RemedyOf(): the table's remedy unless replaced; empty for OK.
absl::Status WithRemedy(absl::Status status, std::string remedy);
std::string RemedyOf(const absl::Status& status);

}  // namespace smartkey
