// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace smartkey {
namespace {

// One line each of: reason's name, milliseconds to wait or nothing, own remedy or nothing.
constexpr absl::string_view kPayloadUrl = "smartkeyd/error";

using Code = absl::StatusCode;
using R = Reason;
using A = UserAction;
using E = ExitCode;

// The codes, and what they tell a caller that knows no reasons:
// unavailable: try later. failed precondition: a person must act. permission denied: not yours.
// invalid argument: never retry. resource exhausted: slow down.
constexpr ReasonRow kReasons[] = {
    // The call itself.
    {R::kInvalidArgument, "INVALID_ARGUMENT", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "correct the named field or option; the same call will fail again"},
    {R::kNotImplemented, "NOT_IMPLEMENTED", Code::kUnimplemented, A::kFixCall, E::kFailed,
     "use a newer smartkeyd, or do without this operation; 'smartkeyctl version' shows what this "
     "one offers"},
    {R::kDeadlineExceeded, "DEADLINE_EXCEEDED", Code::kDeadlineExceeded, A::kRetryLater,
     E::kTryLater, "try again, with a longer deadline if this repeats"},
    {R::kCancelled, "CANCELLED", Code::kCancelled, A::kNone, E::kFailed,
     "nothing to do: the call was given up; make it again if it is still wanted"},
    {R::kInternal, "INTERNAL", Code::kInternal, A::kAskAdministrator, E::kFailed,
     "tell the administrator: the journal of smartkeyd says more ('journalctl -u smartkeyd')"},
    {R::kShuttingDown, "SHUTTING_DOWN", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again in a few seconds"},
    // Who is calling, and what they may do.
    {R::kNotPermitted, "NOT_PERMITTED", Code::kPermissionDenied, A::kAskOwner, E::kNotPermitted,
     "ask the owner or the administrator to do it, or to share the registration with you"},
    {R::kShareLacksOperation, "SHARE_LACKS_OPERATION", Code::kPermissionDenied, A::kAskOwner,
     E::kNotPermitted,
     "ask the owner to allow this operation: 'smartkeyctl share REG PRINCIPAL --allow ...'"},
    {R::kShareLacksScope, "SHARE_LACKS_SCOPE", Code::kPermissionDenied, A::kAskOwner,
     E::kNotPermitted, "ask for fewer scopes, or ask the owner to widen the share"},
    {R::kContainerDenied, "CONTAINER_DENIED", Code::kPermissionDenied, A::kAskOwner,
     E::kNotPermitted,
     "run the program outside the container, or have the owner share the registration with it "
     "explicitly"},
    {R::kCallerUnidentified, "CALLER_UNIDENTIFIED", Code::kPermissionDenied, A::kAskAdministrator,
     E::kNotPermitted,
     "run the program as an ordinary user of this machine; the administrator may look at the "
     "service's PrivateUsers= setting"},
    {R::kOwnerChanged, "OWNER_CHANGED", Code::kPermissionDenied, A::kAskAdministrator,
     E::kNotPermitted,
     "a registration stays with the login that made it; root gives it to the present one: "
     "'smartkeyctl chown OWNER/NAME USER'"},
    {R::kEnrollmentNotAllowed, "ENROLLMENT_NOT_ALLOWED", Code::kPermissionDenied,
     A::kAskAdministrator, E::kNotPermitted,
     "ask the administrator to allow it in a [[policy]] block of the configuration"},
    {R::kTooManyConnections, "TOO_MANY_CONNECTIONS", Code::kResourceExhausted, A::kRetryLater,
     E::kTryLater, "close connections that are not needed, keep one per program, and try again"},
    {R::kRateLimited, "RATE_LIMITED", Code::kResourceExhausted, A::kRetryLater, E::kTryLater,
     "slow down and try again after the time given"},
    {R::kUnknownPrincipal, "UNKNOWN_PRINCIPAL", Code::kNotFound, A::kFixCall, E::kFailed,
     "check the spelling; a principal is written user:NAME, uid:N, group:NAME or "
     "unit:NAME.service"},
    {R::kShareNotFound, "SHARE_NOT_FOUND", Code::kNotFound, A::kFixCall, E::kFailed,
     "look at the shares with 'smartkeyctl show REG'"},
    {R::kShareFromPolicy, "SHARE_FROM_POLICY", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "ask the administrator to change the [[policy]] block that makes this share"},
    {R::kAccessRequestNotFound, "ACCESS_REQUEST_NOT_FOUND", Code::kNotFound, A::kFixCall,
     E::kFailed, "look at the open requests with 'smartkeyctl requests'"},
    {R::kAccessEnded, "ACCESS_ENDED", Code::kPermissionDenied, A::kAskOwner, E::kNotPermitted,
     "see how it stands ('smartkeyctl list'), ask the owner, and watch again when it is usable"},
    // Which app, server, registration.
    {R::kUnknownServer, "UNKNOWN_SERVER", Code::kNotFound, A::kFixCall, E::kFailed,
     "see 'smartkeyctl servers' for the names; an administrator adds one as a [[server]] block"},
    {R::kUnknownApp, "UNKNOWN_APP", Code::kNotFound, A::kFixCall, E::kFailed,
     "see 'smartkeyctl apps' for the ids; the app's package or an administrator adds one as an "
     "[[app]] block"},
    {R::kRegistrationNotFound, "REGISTRATION_NOT_FOUND", Code::kNotFound, A::kFixCall, E::kFailed,
     "see 'smartkeyctl list' for what you may use, or ask its owner to share it with you"},
    {R::kRegistrationAmbiguous, "REGISTRATION_AMBIGUOUS", Code::kInvalidArgument, A::kFixCall,
     E::kUsage, "name the registration, or give the patient as well"},
    {R::kNameTaken, "NAME_TAKEN", Code::kAlreadyExists, A::kFixCall, E::kFailed,
     "choose another name, or renew the registration that has it: 'smartkeyctl renew REG'"},
    {R::kTooManyRegistrations, "TOO_MANY_REGISTRATIONS", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "delete registrations that are not needed, or ask the administrator for a higher limit"},
    {R::kServerRemoved, "SERVER_REMOVED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "ask the administrator to put the [[server]] block back; the registration then works again as "
     "it is"},
    // Enrollment: steps 1 and 2.
    {R::kEnrollmentNotFound, "ENROLLMENT_NOT_FOUND", Code::kNotFound, A::kRenew, E::kFailed,
     "begin the enrollment again, as the user who will own the registration"},
    {R::kEnrollmentExpired, "ENROLLMENT_EXPIRED", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct, "begin again, and finish the login in the browser within ten minutes"},
    {R::kEnrollmentCancelled, "ENROLLMENT_CANCELLED", Code::kCancelled, A::kRenew, E::kFailed,
     "begin the enrollment again if it is still wanted"},
    {R::kTooManyEnrollments, "TOO_MANY_ENROLLMENTS", Code::kResourceExhausted, A::kRetryLater,
     E::kTryLater,
     "finish or cancel a pending enrollment, or wait ten minutes until it ends by itself"},
    {R::kConsentDenied, "CONSENT_DENIED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "begin again and allow the access; whoever may consent for this patient has to be the one who "
     "logs in"},
    {R::kStateMismatch, "STATE_MISMATCH", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "begin again, and use only the browser window that this enrollment opened"},
    {R::kIssuerMismatch, "ISSUER_MISMATCH", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "begin again; if it repeats, tell the administrator: another server may be mixing itself in"},
    {R::kAuthorizationRefused, "AUTHORIZATION_REFUSED", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "check with the administrator that the app's client_id, redirect URI and scopes are those the "
     "server knows"},
    {R::kCodeRefused, "CODE_REFUSED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "begin the enrollment again; if it repeats, the app's client_id or redirect URI is not as the "
     "server has it"},
    {R::kRegisterScopeNotGranted, "REGISTER_SCOPE_NOT_GRANTED", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "the app must be allowed dynamic registration at this server: ask the administrator or the "
     "app's vendor"},
    {R::kNoDynamicRegistration, "NO_DYNAMIC_REGISTRATION", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "ask the server's operator whether this app may register dynamically, or set "
     "registration_endpoint for the server"},
    {R::kSoftwareIdRefused, "SOFTWARE_ID_REFUSED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "check the app's software_id for this server in its configuration with the app's vendor"},
    {R::kRegistrationRefused, "REGISTRATION_REFUSED", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "ask the administrator: the server's error code is in the journal of smartkeyd"},
    {R::kRegistrationForbidden, "REGISTRATION_FORBIDDEN", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "the app must be allowed dynamic registration at this server: ask the administrator or the "
     "app's vendor"},
    {R::kRegistrationAnswerInvalid, "REGISTRATION_ANSWER_INVALID", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "nothing was kept; tell the administrator, since the server's registration endpoint does not "
     "work as it must"},
    {R::kDuplicateClientId, "DUPLICATE_CLIENT_ID", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "nothing was kept; tell the administrator, since the server gave the same client_id twice"},
    {R::kInitialTokenRefused, "INITIAL_TOKEN_REFUSED", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct,
     "log in again to get a new initial access token: each one pays for one registration only"},
    {R::kInitialTokenExpired, "INITIAL_TOKEN_EXPIRED", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct, "log in again, and pass the new token on at once"},
    {R::kRegisteredButNotDurable, "REGISTERED_BUT_NOT_DURABLE", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "do not restart smartkeyd; have the administrator free disk space: it saves the registration "
     "by itself then"},
    {R::kRedirectUriUnknown, "REDIRECT_URI_UNKNOWN", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "use one of the app's redirect_uris; 'smartkeyctl apps' shows them"},
    {R::kRedirectPortBusy, "REDIRECT_PORT_BUSY", Code::kFailedPrecondition, A::kFixCall,
     E::kPersonMustAct,
     "end the program that uses this port, or enroll with --no-browser and paste the redirect"},
    {R::kBrowserTimeout, "BROWSER_TIMEOUT", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "begin again; if the browser showed an error, redirect URI or client_id is not as the server "
     "has it"},
    {R::kEnrollmentUnderWay, "ENROLLMENT_UNDER_WAY", Code::kFailedPrecondition, A::kNone,
     E::kPersonMustAct,
     "let it finish; what came of it can then be deleted with 'smartkeyctl delete'"},
    // The state of a registration.
    {R::kNotReady, "NOT_READY", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "wait: some servers need a few minutes before a new client works"},
    {R::kReauthRequired, "REAUTH_REQUIRED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "renew it: 'smartkeyctl renew REG' goes through the browser once more and keeps name and "
     "shares"},
    {R::kRefusedByServer, "REFUSED_BY_SERVER", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "if you removed this app in the portal: renew; otherwise wait, smartkeyd tries again by "
     "itself"},
    {R::kMisconfigured, "MISCONFIGURED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "ask the administrator: the server must allow this app the jwt-bearer grant"},
    {R::kContextChanged, "CONTEXT_CHANGED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "renew it and choose the same patient, or add --new-patient, which drops all shares"},
    {R::kSuspended, "SUSPENDED", Code::kFailedPrecondition, A::kAskOwner, E::kPersonMustAct,
     "ask whoever suspended it to resume it; 'smartkeyctl show REG' says who that is"},
    {R::kOrphaned, "ORPHANED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "enroll again; the server's portal may list the app twice, the unused entry can be removed "
     "there"},
    {R::kDeleting, "DELETING", Code::kFailedPrecondition, A::kNone, E::kFailed,
     "nothing to do: it is being deleted"},
    {R::kRotationNeedsBrowser, "ROTATION_NEEDS_BROWSER", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct, "renew instead, which makes a new key: 'smartkeyctl renew REG'"},
    // Network and server.
    {R::kNoNetwork, "NO_NETWORK", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "connect this machine to the network and try again"},
    {R::kServerUnreachable, "SERVER_UNREACHABLE", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again later; if it repeats, the server or the way to it is down, or a proxy must be "
     "configured"},
    {R::kServerBusy, "SERVER_BUSY", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again after the time given; earlier tries are not sent on"},
    {R::kServerError, "SERVER_ERROR", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again later; if it lasts, tell the server's operator"},
    {R::kServerRefusingAll, "SERVER_REFUSING_ALL", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "wait: the server has a problem with all its clients, smartkeyd tries again by itself"},
    {R::kTlsNotTrusted, "TLS_NOT_TRUSTED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "check the machine's clock and network; a private CA is set by the administrator as ca_file "
     "for the server"},
    {R::kIntercepted, "INTERCEPTED", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "open a web page and sign in to the network if it asks; else tell the administrator"},
    {R::kRedirectRefused, "REDIRECT_REFUSED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "check the network's login page first; otherwise the administrator must configure the "
     "endpoint's new address"},
    {R::kBadServerAnswer, "BAD_SERVER_ANSWER", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again later; if it lasts, tell the administrator, since the server's answer cannot be "
     "used"},
    {R::kUnexpectedStatus, "UNEXPECTED_STATUS", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again later; if it lasts, the administrator must check the server's endpoints"},
    {R::kDiscoveryInvalid, "DISCOVERY_INVALID", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "tell the administrator: the field named must be mended at the server or overridden in its "
     "[[server]] block"},
    {R::kClockWrong, "CLOCK_WRONG", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "set this machine's clock, best by time synchronisation, and try again"},
    {R::kInvalidScope, "INVALID_SCOPE", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "ask for scopes that were granted at enrollment; 'smartkeyctl show REG' lists them"},
    {R::kScopeUnproven, "SCOPE_UNPROVEN", Code::kFailedPrecondition, A::kAskOwner,
     E::kPersonMustAct,
     "this server does not narrow tokens: ask the owner for a share without --scope"},
    {R::kRequestRefused, "REQUEST_REFUSED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "tell the administrator: the journal of smartkeyd names the server's error; a proxy in "
     "between is a usual cause"},
    // Hardware and keys.
    {R::kHardwareAbsent, "HARDWARE_ABSENT", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "connect or enable the TPM or token; 'smartkeyctl doctor' says what was found"},
    {R::kHardwareBusy, "HARDWARE_BUSY", Code::kResourceExhausted, A::kRetryLater, E::kTryLater,
     "try again in a few seconds"},
    {R::kHardwareDegraded, "HARDWARE_DEGRADED", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again in a minute; if it lasts, the administrator finds more in smartkeyd's journal"},
    {R::kHardwareTimeout, "HARDWARE_TIMEOUT", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again in a minute; if it lasts, the administrator finds more in smartkeyd's journal"},
    {R::kHardwareError, "HARDWARE_ERROR", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again; if it lasts, the administrator finds more in smartkeyd's journal"},
    {R::kHardwareFull, "HARDWARE_FULL", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "ask the administrator to remove keys that are not needed from the token: 'pkcs11-tool -O' "
     "lists them"},
    {R::kTpmLockout, "TPM_LOCKOUT", Code::kFailedPrecondition, A::kUnlockHardware,
     E::kPersonMustAct,
     "wait for the time given, or have the administrator clear the lockout: "
     "'tpm2_dictionarylockout --clear-lockout'"},
    {R::kTpmOwnerAuthRequired, "TPM_OWNER_AUTH_REQUIRED", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct,
     "ask the administrator: 'smartkeyctl tpm provision --owner-password-file F', with the "
     "password "
     "of the TPM's owner hierarchy in F"},
    {R::kPinMissing, "PIN_MISSING", Code::kFailedPrecondition, A::kUnlockHardware,
     E::kPersonMustAct, "ask the administrator to set pin_file for the token"},
    {R::kPinRejected, "PIN_REJECTED", Code::kFailedPrecondition, A::kUnlockHardware,
     E::kPersonMustAct,
     "ask the administrator to put the right PIN into pin_file; it is not tried again before it "
     "changes"},
    {R::kPinFinalTry, "PIN_FINAL_TRY", Code::kFailedPrecondition, A::kUnlockHardware,
     E::kPersonMustAct,
     "ask the administrator to check the PIN and to log in once with the token's own tool"},
    {R::kPinLocked, "PIN_LOCKED", Code::kFailedPrecondition, A::kUnlockHardware, E::kPersonMustAct,
     "ask the administrator to unlock the token with its security officer PIN"},
    {R::kAlgorithmUnsupported, "ALGORITHM_UNSUPPORTED", Code::kFailedPrecondition, A::kFixCall,
     E::kPersonMustAct,
     "choose another algorithm or none; 'smartkeyctl status' lists what the hardware can do"},
    {R::kKeyUnavailable, "KEY_UNAVAILABLE", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "connect the hardware the key was made in, or configure its key provider again; nothing is "
     "lost"},
    {R::kKeyLostTpmCleared, "KEY_LOST_TPM_CLEARED", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct,
     "renew it: 'smartkeyctl renew REG' makes a new key and keeps name and shares"},
    {R::kKeyLostOtherMachine, "KEY_LOST_OTHER_MACHINE", Code::kFailedPrecondition, A::kRenew,
     E::kPersonMustAct,
     "move the state directory back, where it works again, or renew here: 'smartkeyctl renew REG'"},
    {R::kKeyGone, "KEY_GONE", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "renew it: 'smartkeyctl renew REG' makes a new key and keeps name and shares"},
    {R::kKeyDamaged, "KEY_DAMAGED", Code::kFailedPrecondition, A::kRenew, E::kPersonMustAct,
     "restore the state directory from a backup of this machine, or renew: 'smartkeyctl renew "
     "REG'"},
    {R::kKeyNotProtected, "KEY_NOT_PROTECTED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "the token must keep keys sensitive and not extractable: ask the administrator for another "
     "token or setting"},
    {R::kSignatureWrong, "SIGNATURE_WRONG", Code::kUnavailable, A::kRetryLater, E::kTryLater,
     "try again; if it repeats, the hardware is failing: tell the administrator"},
    {R::kAttestationUnsupported, "ATTESTATION_UNSUPPORTED", Code::kFailedPrecondition,
     A::kAskAdministrator, E::kPersonMustAct, "use a TPM for keys that must be attested"},
    {R::kTpmHandleTaken, "TPM_HANDLE_TAKEN", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "look at it with 'tpm2_readpublic -c 0x81000001': smartkeyd never removes what is not its "
     "own, "
     "and needs the place only if the owner hierarchy has a password"},
    // Signing for apps.
    {R::kAudienceNotAllowed, "AUDIENCE_NOT_ALLOWED", Code::kPermissionDenied, A::kAskOwner,
     E::kNotPermitted, "ask the owner to allow it: 'smartkeyctl jwt-audience REG add URL'"},
    {R::kAudienceForbidden, "AUDIENCE_FORBIDDEN", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "use the URL of your own service as the audience; for a FHIR server use an access token"},
    {R::kClaimNotAllowed, "CLAIM_NOT_ALLOWED", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "leave iss, sub, aud, exp, iat, nbf, jti and cnf to smartkeyd and keep the others small"},
    {R::kUrlOutsideFhirBase, "URL_OUTSIDE_FHIR_BASE", Code::kInvalidArgument, A::kFixCall,
     E::kUsage, "use DPoP proofs only for URLs under the fhir_base that came with the token"},
    {R::kTokenNotOurs, "TOKEN_NOT_OURS", Code::kInvalidArgument, A::kFixCall, E::kUsage,
     "pass the token exactly as GetAccessToken gave it"},
    {R::kDpopUnsupported, "DPOP_UNSUPPORTED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "use the token as a Bearer token"},
    {R::kDpopDowngraded, "DPOP_DOWNGRADED", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "tell the administrator: the server must bind tokens, or DPoP must be switched off for it"},
    // The daemon itself.
    {R::kStoreUnavailable, "STORE_UNAVAILABLE", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "ask the administrator to look at 'smartkeyctl store status' and the state directory"},
    {R::kStoreFull, "STORE_FULL", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "ask the administrator to free disk space"},
    {R::kStoreTooNew, "STORE_TOO_NEW", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct,
     "install the newer smartkeyd again, or restore the state directory from before the upgrade"},
    {R::kConfigInvalid, "CONFIG_INVALID", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "'smartkeyd --config FILE --check-config' names file and line"},
    {R::kAlreadyRunning, "ALREADY_RUNNING", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "end the other smartkeyd, or give this one its own state_dir and sockets"},
    {R::kAuditUnavailable, "AUDIT_UNAVAILABLE", Code::kFailedPrecondition, A::kAskAdministrator,
     E::kPersonMustAct, "ask the administrator to look at 'smartkeyctl doctor': the audit log"},
    // Added by client libraries, never sent by the daemon.
    {R::kDaemonNotInstalled, "DAEMON_NOT_INSTALLED", Code::kUnavailable, A::kInstallOrStart,
     E::kCannotBeReached,
     "install the smartkeyd package, or set SMARTKEY_SOCKET to the socket of a running one"},
    {R::kDaemonNotRunning, "DAEMON_NOT_RUNNING", Code::kUnavailable, A::kInstallOrStart,
     E::kCannotBeReached,
     "start it, as root: 'systemctl start smartkeyd.service', or set SMARTKEY_SOCKET to the socket "
     "of a running one"},
};

constexpr UserActionRow kUserActions[] = {
    {UserAction::kNone, "USER_ACTION_NONE", "nothing to do"},
    {UserAction::kRetryLater, "RETRY_LATER", "try again later"},
    {UserAction::kRenew, "RENEW", "renew in the browser"},
    {UserAction::kAskOwner, "ASK_OWNER", "ask the owner"},
    {UserAction::kAskAdministrator, "ASK_ADMINISTRATOR", "ask the administrator"},
    {UserAction::kUnlockHardware, "UNLOCK_HARDWARE", "unlock the hardware"},
    {UserAction::kFixCall, "FIX_CALL", "correct the request"},
    {UserAction::kInstallOrStart, "INSTALL_OR_START", "install or start smartkeyd"},
};

const ReasonRow* FindRow(Reason reason) {
  const ReasonRow* row =
      std::lower_bound(std::begin(kReasons), std::end(kReasons), reason,
                       [](const ReasonRow& r, Reason wanted) { return r.reason < wanted; });
  return row != std::end(kReasons) && row->reason == reason ? row : nullptr;
}

struct Payload {
  Reason reason = Reason::kInternal;
  absl::optional<absl::Duration> retry_after;
  std::string remedy;  // Empty: the table's.
};

// For statuses from libraries, which carry no reason.
Reason NearestReason(absl::StatusCode code) {
  switch (code) {
    case Code::kOk:
      return Reason::kUnspecified;
    case Code::kCancelled:
      return Reason::kCancelled;
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
      return Reason::kInvalidArgument;
    case Code::kDeadlineExceeded:
      return Reason::kDeadlineExceeded;
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
      return Reason::kNotPermitted;
    case Code::kUnimplemented:
      return Reason::kNotImplemented;
    default:
      return Reason::kInternal;
  }
}

Payload ReadPayload(const absl::Status& status) {
  Payload payload;
  payload.reason = NearestReason(status.code());
  absl::optional<absl::Cord> cord = status.GetPayload(kPayloadUrl);
  if (!cord.has_value()) return payload;
  const std::string text(*cord);
  const std::vector<std::string> lines = absl::StrSplit(text, absl::MaxSplits('\n', 2));
  if (lines.size() != 3) return payload;
  payload.reason = ReasonFromName(lines[0]).value_or(payload.reason);
  int64_t milliseconds = 0;
  if (absl::SimpleAtoi(lines[1], &milliseconds)) {
    payload.retry_after = absl::Milliseconds(milliseconds);
  }
  payload.remedy = lines[2];
  return payload;
}

void WritePayload(const Payload& payload, absl::Status& status) {
  std::string text = absl::StrCat(ReasonName(payload.reason), "\n");
  if (payload.retry_after.has_value()) {
    absl::StrAppend(
        &text, absl::ToInt64Milliseconds(absl::Ceil(*payload.retry_after, absl::Milliseconds(1))));
  }
  absl::StrAppend(&text, "\n", payload.remedy);
  status.SetPayload(kPayloadUrl, absl::Cord(std::move(text)));
}

// Cuts to at most `limit` bytes without splitting a UTF-8 character.
std::string CutUtf8(std::string text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  text.resize(limit);
  return text;
}

}  // namespace

absl::Span<const ReasonRow> AllReasons() {
  return kReasons;
}

absl::Span<const UserActionRow> AllUserActions() {
  return kUserActions;
}

const ReasonRow& RowFor(Reason reason) {
  const ReasonRow* row = FindRow(reason);
  return row != nullptr ? *row : *FindRow(Reason::kInternal);
}

const UserActionRow& RowFor(UserAction action) {
  for (const UserActionRow& row : kUserActions) {
    if (row.action == action) return row;
  }
  return kUserActions[0];
}

absl::string_view ReasonName(Reason reason) {
  return RowFor(reason).name;
}

absl::optional<Reason> ReasonFromName(absl::string_view name) {
  for (const ReasonRow& row : kReasons) {
    if (row.name == name) return row.reason;
  }
  return absl::nullopt;
}

absl::optional<Reason> ReasonFromNumber(int number) {
  const ReasonRow* row = FindRow(static_cast<Reason>(number));
  if (row == nullptr) return absl::nullopt;
  return row->reason;
}

absl::Status MakeError(Reason reason, absl::string_view message) {
  const ReasonRow& row = RowFor(reason);
  absl::Status status(row.code, message);
  WritePayload({row.reason, absl::nullopt, ""}, status);
  return status;
}

absl::Status RegistrationNotFound() {
  return MakeError(Reason::kRegistrationNotFound, "no such registration");
}

Reason ReasonOf(const absl::Status& status) {
  return ReadPayload(status).reason;
}

UserAction UserActionOf(const absl::Status& status) {
  return status.ok() ? UserAction::kNone : RowFor(ReasonOf(status)).action;
}

ExitCode ExitCodeOf(const absl::Status& status) {
  return status.ok() ? ExitCode::kOk : RowFor(ReasonOf(status)).exit_code;
}

absl::Status Annotate(absl::Status status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload([&annotated](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

absl::Status WithRetryAfter(absl::Status status, absl::Duration retry_after) {
  if (status.ok()) return status;
  Payload payload = ReadPayload(status);
  payload.retry_after = std::max(retry_after, absl::ZeroDuration());
  WritePayload(payload, status);
  return status;
}

absl::optional<absl::Duration> RetryAfterOf(const absl::Status& status) {
  return ReadPayload(status).retry_after;
}

absl::Status WithRemedy(absl::Status status, std::string remedy) {
  if (status.ok()) return status;
  Payload payload = ReadPayload(status);
  payload.remedy = CutUtf8(std::move(remedy), kMaxRemedyBytes);
  WritePayload(payload, status);
  return status;
}

std::string RemedyOf(const absl::Status& status) {
  if (status.ok()) return "";
  Payload payload = ReadPayload(status);
  return payload.remedy.empty() ? std::string(RowFor(payload.reason).remedy) : payload.remedy;
}

}  // namespace smartkey
