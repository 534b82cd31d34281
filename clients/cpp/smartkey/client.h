// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "smartkey/types.h"

namespace smartkey::client {

class Channel;

// How one call is made.
struct CallOptions {
  // The call fails with kDeadlineExceeded after this. Absent: the method's own, named there.
  absl::optional<absl::Duration> timeout;
};

// Where smartkeyd is reached: SMARTKEY_SOCKET if that is set and not empty, otherwise
// /run/smartkeyd/smartkeyd.sock.
std::string PublicSocketPath();
// /run/smartkeyd-admin/admin.sock; no variable of the environment moves it.
std::string AdminSocketPath();

// What a new registration shall be.
struct EnrollmentWish {
  std::string app;                  // Empty: the only one configured for the server.
  std::string server;               // Configured name; or else:
  std::string fhir_base;            // of a configured server.
  std::vector<std::string> scopes;  // Empty: the app's own.
  std::string name;                 // Empty: the server's name. IDENTIFYING
  std::string label;                // IDENTIFYING
  std::string algorithm;            // Empty: the best that hardware and server share.
  bool context_varies = false;
  std::string renews;  // Name or id of the registration to renew; its name and label stay. Empty: a
                       // new one.
  bool new_patient =
      false;               // With `renews`: take another patient than before, and drop all shares.
  std::string owner;       // User name of the owner to be: AdminClient, as root. Empty: the caller.
  std::string request_id;  // A repeated call with the same one finds the first. Empty: none.
  // For how long the person means to allow the access, to be warned before its end. Zero: not said.
  absl::Duration access_for = absl::ZeroDuration();
};

// Which token. Name or id of a registration; or else app, FHIR base and, if needed, patient.
struct TokenWish {
  std::string registration;
  std::string app;
  std::string fhir_base;
  std::string patient;              // IDENTIFYING
  std::vector<std::string> scopes;  // Empty: all that the caller may have.
  absl::Duration min_valid = absl::ZeroDuration();
};

// Which registrations; everything given must fit.
struct RegistrationFilter {
  std::string app;
  std::string fhir_base;
  std::string server;
  std::string owner;  // User name or "uid:N".
};

// Which registrations to suspend or resume: one of these.
struct SuspensionTarget {
  std::string registration;  // Name or id.
  std::string server;        // All of this server.
  std::string owner;         // All of this user: name or "uid:N". Others' on the admin socket only.
  bool all = false;          // All that the caller may manage.
};

// What to change of a registration. Absent: stays as it is.
struct RegistrationChange {
  absl::optional<std::string> name;           // IDENTIFYING
  absl::optional<std::string> label;          // Empty: removes it. IDENTIFYING
  absl::optional<absl::Duration> access_for;  // From now on; zero: takes back what was said.
  absl::optional<bool> shares_only;           // Whether even the owner's programs need a share.
  // A new owner's user name, alone: AdminClient, as root.
  absl::optional<std::string> owner;
};

// What a share shall allow.
struct ShareTerms {
  std::vector<std::string>
      operations;                   // "token", "dpop", "jwt", "assertion", "manage". Empty: token
  std::vector<std::string> scopes;  // Empty: all.
  absl::Duration valid_for = absl::ZeroDuration();  // Zero: until it is taken back.
};

// What to ask an owner for: a registration by name or id, or else the one for an app and a FHIR
// base.
struct AccessWish {
  std::string owner;  // User name.
  std::string registration;
  std::string app;
  std::string fhir_base;
  std::vector<std::string> operations;  // As in ShareTerms.
  std::vector<std::string> scopes;      // Empty: all.
  std::string reason;                   // For the owner: at most 80 characters. IDENTIFYING
};

// A request for access that waits for its decision. Next() and Cancel() may be called from two
// threads; nothing else. Destroying it leaves the request open; it must not outlive its Client.
class AccessRequestWatch {
 public:
  struct Rep;
  explicit AccessRequestWatch(std::unique_ptr<Rep> rep);
  ~AccessRequestWatch();

  // First kPending, whether or not there is such a registration, then the decision; nullopt after
  // it. Errors: as for every call; kShuttingDown when the daemon stops, which forgets the request.
  absl::StatusOr<absl::optional<AccessAnswer>> Next();
  void Cancel();

 private:
  std::unique_ptr<Rep> rep_;
};

// The registrations of a caller as they change. Next() and Cancel() may be called from two threads;
// nothing else. Destroying it ends it; it must not outlive its Client. There is no need to read
// fast: what changes meanwhile comes as one event for each registration.
class RegistrationWatch {
 public:
  struct Rep;
  explicit RegistrationWatch(std::unique_ptr<Rep> rep);
  ~RegistrationWatch();

  // Waits for the next event: kCurrent for each registration, then kSynced, then changes. nullopt:
  // the one registration that was watched is gone. Errors: as for every call; kShuttingDown when
  // the daemon stops; kCancelled after Cancel().
  absl::StatusOr<absl::optional<RegistrationEvent>> Next();
  void Cancel();

 private:
  std::unique_ptr<Rep> rep_;
};

// The audit log, entry by entry. Next() and Cancel() may be called from two threads; nothing else.
// Destroying it ends it; it must not outlive its Client.
class AuditStream {
 public:
  struct Rep;
  explicit AuditStream(std::unique_ptr<Rep> rep);
  ~AuditStream();

  // nullopt: that was the last one. Errors: as for every call.
  absl::StatusOr<absl::optional<AuditEntry>> Next();
  void Cancel();

 private:
  std::unique_ptr<Rep> rep_;
};

// A token that is always current. Next() and Cancel() may be called from two threads; nothing else.
// Destroying it ends it; it must not outlive its Client. There is no need to read fast: only the
// latest state waits to be read.
class TokenWatch {
 public:
  struct Rep;
  explicit TokenWatch(std::unique_ptr<Rep> rep);
  ~TokenWatch();

  // Waits for the next state: the first one at once, or as soon as a token was fetched; then
  // whenever another token is to be used, or there is another reason for having none. Errors: as
  // for every call; kAccessEnded when the right to the token ends or the registration is suspended
  // or deleted, kShuttingDown when the daemon stops, kCancelled after Cancel().
  absl::StatusOr<absl::optional<TokenState>> Next();
  void Cancel();

 private:
  std::unique_ptr<Rep> rep_;
};

// The steps of one enrollment as they happen. Next() and Cancel() may be called from two threads;
// nothing else. Destroying it cancels it; it must not outlive its Client.
class EnrollmentWatch {
 public:
  struct Rep;
  explicit EnrollmentWatch(std::unique_ptr<Rep> rep);
  ~EnrollmentWatch();

  // Waits for the next step. nullopt: the stream has ended, as it does after kDone and kFailed.
  // Errors: as for every call; kCancelled after Cancel().
  absl::StatusOr<absl::optional<EnrollmentProgress>> Next();
  void Cancel();

 private:
  std::unique_ptr<Rep> rep_;
};

// smartkeyd, as a local app or an owner's tool sees it, over its unix socket. Every call blocks
// until its answer or its deadline. Thread-safe: one client serves a whole program, and the
// connection is made at the first call and made again when the daemon was restarted.
//
//   auto client = smartkey::client::Client::Connect();
//   auto token = (*client)->GetAccessToken({.registration = "mercy"});
//
// Nothing waits for a daemon that is not there: such calls fail at once.
//
// Errors of every call, read with base/error.h (ReasonOf, UserActionOf, RemedyOf, RetryAfterOf):
// kDaemonNotInstalled (the socket's directory does not exist), kDaemonNotRunning (nobody answers on
// the socket), kNotPermitted (the socket is not for this user), kDeadlineExceeded, kShuttingDown
// (the connection broke in mid-call), and what the daemon answers. The texts are the daemon's own
// and fit for a terminal: control characters are escaped.
//
// The first Connect() of a process removes every GRPC_* variable from its environment, since
// GRPC_TRACE would print tokens: make it before starting threads that read the environment.
class Client {
 public:
  // Does no I/O. Empty path: PublicSocketPath(). Errors: kInvalidArgument for a path that is
  // relative or too long for a socket.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(std::string socket_path = "");
  virtual ~Client();

  // Enrollment, steps 1 and 2. Whoever calls Begin opens the browser, listens at `redirect_uri`,
  // and hands the redirect's query (a secret) to Complete. Default deadlines: Begin 60 s, Complete
  // and EnrollWithInitialToken 5 min (some hardware needs minutes for a key), the watch none.
  absl::StatusOr<BegunEnrollment> BeginEnrollment(const EnrollmentWish& wish,
                                                  const std::string& redirect_uri,
                                                  CallOptions options = {});
  absl::StatusOr<Registration> CompleteEnrollment(const std::string& enrollment_id,
                                                  const Secret& redirect_query,
                                                  CallOptions options = {});
  absl::Status CancelEnrollment(const std::string& enrollment_id, CallOptions options = {});
  absl::StatusOr<std::unique_ptr<EnrollmentWatch>> WatchEnrollment(const std::string& enrollment_id,
                                                                   CallOptions options = {});
  // `expires_in`: what is left of the token's life, if known.
  absl::StatusOr<Registration> EnrollWithInitialToken(
      const EnrollmentWish& wish, const Secret& initial_access_token,
      absl::optional<absl::Duration> expires_in = absl::nullopt, CallOptions options = {});

  // Registrations. `registration` is a name or an id; on the admin socket a name is `alice/mercy`.
  // Default deadline of these and the following: 30 s.
  absl::StatusOr<std::vector<Registration>> ListRegistrations(const RegistrationFilter& filter = {},
                                                              CallOptions options = {});
  absl::StatusOr<Registration> GetRegistration(const std::string& registration,
                                               CallOptions options = {});
  absl::StatusOr<Registration> UpdateRegistration(const std::string& registration,
                                                  const RegistrationChange& change,
                                                  CallOptions options = {});
  absl::StatusOr<Deletion> DeleteRegistration(const std::string& registration,
                                              CallOptions options = {});
  // Stops tokens and assertions at once. Returns the ids of those that changed. Default deadline of
  // this and Resume: 60 s.
  absl::StatusOr<std::vector<std::string>> SuspendRegistrations(const SuspensionTarget& target,
                                                                const std::string& why = "",
                                                                CallOptions options = {});
  absl::StatusOr<Resumption> ResumeRegistrations(const SuspensionTarget& target,
                                                 CallOptions options = {});
  // Another key without a login, where the server lets that be done. `algorithm` empty: as before.
  // Errors: kRotationNeedsBrowser: renew instead.
  absl::StatusOr<Registration> RotateKey(const std::string& registration,
                                         const std::string& algorithm = "",
                                         CallOptions options = {});
  // Every change from now on, of one registration or of those that fit. No deadline unless given.
  absl::StatusOr<std::unique_ptr<RegistrationWatch>> WatchRegistrations(
      const RegistrationFilter& filter = {}, const std::string& registration = "",
      CallOptions options = {});

  // What the audit log says of registrations that the caller may manage; on the admin socket all
  // of it. No deadline unless given.
  absl::StatusOr<std::unique_ptr<AuditStream>> ReadAuditLog(const AuditQuery& query,
                                                            CallOptions options = {});

  // Who else may use a registration. A principal is written `user:bob`, `uid:1001`, `group:clinic`,
  // `unit:viewer.service`, or several joined by '+'. A second share for the same one replaces the
  // first.
  absl::StatusOr<Share> ShareRegistration(const std::string& registration,
                                          const std::string& principal, const ShareTerms& terms,
                                          CallOptions options = {});
  absl::Status UnshareRegistration(const std::string& registration, const std::string& principal,
                                   CallOptions options = {});
  // Asks an owner. No deadline unless given. Errors by Next().
  absl::StatusOr<std::unique_ptr<AccessRequestWatch>> RequestAccess(const AccessWish& wish,
                                                                    CallOptions options = {});
  // The open requests for the caller's registrations, or for this one; AdminClient: for all.
  absl::StatusOr<std::vector<AccessRequest>> ListAccessRequests(
      const std::string& registration = "", CallOptions options = {});
  // Adds what the terms say to what the principal has; what they leave out is as it was asked for.
  absl::StatusOr<Share> ApproveAccessRequest(const std::string& request_id, const ShareTerms& terms,
                                             CallOptions options = {});
  // `always`: to this and every later request of this principal for this registration.
  absl::Status DenyAccessRequest(const std::string& request_id, bool always,
                                 CallOptions options = {});
  // Why a principal may do what it may: the caller if there is none; several are one caller's.
  absl::StatusOr<AccessExplanation> ExplainAccess(const std::string& registration,
                                                  const std::vector<std::string>& principals,
                                                  CallOptions options = {});

  // Step 3, cached. Default deadline: 60 s.
  absl::StatusOr<AccessToken> GetAccessToken(const TokenWish& wish, CallOptions options = {});
  // As GetAccessToken, and from then on whenever there is another one. `min_valid` says how long
  // before its end the next one shall come. No deadline unless given.
  absl::StatusOr<std::unique_ptr<TokenWatch>> WatchAccessToken(const TokenWish& wish,
                                                               CallOptions options = {});
  // The FHIR server refused this token (401): exactly that one is dropped, and a new one fetched.
  absl::StatusOr<Rejection> ReportRejectedToken(const std::string& registration,
                                                const Secret& token, CallOptions options = {});
  absl::StatusOr<ClientAssertion> SignClientAssertion(const std::string& registration,
                                                      CallOptions options = {});
  absl::StatusOr<Jwks> GetJwks(const std::string& registration, CallOptions options = {});

  absl::StatusOr<DaemonInfo> GetServerInfo(CallOptions options = {});
  absl::StatusOr<std::vector<Server>> ListServers(CallOptions options = {});
  absl::StatusOr<std::vector<App>> ListApps(CallOptions options = {});

 protected:
  explicit Client(std::unique_ptr<Channel> channel);
  Channel& channel() { return *channel_; }

 private:
  std::unique_ptr<Channel> channel_;
};

}  // namespace smartkey::client
