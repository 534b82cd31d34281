// SPDX-License-Identifier: Apache-2.0
#pragma once

// Access tokens from smartkeyd, for programs in C and for whatever calls C. README.md has an
// example.
//
// Objects. Every type is opaque and made by the library. A function that returns a pointer without
// const gives you an object: free it with the function of its type. A pointer to const is lent: it
// lives as long as what it came from, unless a comment says less. All _free functions take NULL.
//
// Strings. UTF-8, ended by NUL. Those that come back belong to the object they were read from,
// never are NULL, and are "" where nothing is given or known. Of those that go in a copy is taken,
// and NULL is the same as "". Several scopes in one string are separated by single spaces.
//
// Numbers. Times are whole seconds since 1970-01-01 00:00 UTC, 0 where none is known. Lengths of
// time say their unit in the name. A newer smartkeyd may send numbers that no enum here has: have a
// default.
//
// Errors. A function that can fail returns NULL or false then, and puts an error into `*error`, to
// be freed with smartkey_error_free(). After success `*error` is NULL. `error` itself may be NULL.
// Nothing is thrown: where something would be, as when memory runs out, the process ends, as it
// does in gRPC below.
//
// Threads. One smartkey_client serves a whole program: all calls on it may be made by many threads
// at the same time, and each blocks its own thread until the answer or its deadline. What came back
// (tokens, errors, registrations, enrollments) never changes and may be read by many threads. A
// request is for one thread at a time; calls only read it. No object may be freed while another
// thread uses it.
//
// fork(). A child does not inherit the threads below a client. Where a process has connected, its
// children can only exec(): each call there fails with SMARTKEY_REASON_INVALID_ARGUMENT. Connect
// after fork() instead.
//
// Stability. Within libsmartkey.so.1 functions and numbers are only added: a program runs with
// every library that is not older than the one it was built with.
//
// IDENTIFYING: may tell who a patient is, so it is for the owner's eyes and never for logs.
// SENSITIVE: whoever has it can read the record, or get a token that can.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMARTKEY_API __attribute__((visibility("default")))
#ifdef __cplusplus
#define SMARTKEY_NOEXCEPT noexcept
#else
#define SMARTKEY_NOEXCEPT
#endif

typedef struct smartkey_client smartkey_client;
typedef struct smartkey_error smartkey_error;
typedef struct smartkey_token_request smartkey_token_request;
typedef struct smartkey_token smartkey_token;
typedef struct smartkey_token_watch smartkey_token_watch;
typedef struct smartkey_registration smartkey_registration;
typedef struct smartkey_registration_list smartkey_registration_list;
typedef struct smartkey_enrollment_request smartkey_enrollment_request;
typedef struct smartkey_enrollment smartkey_enrollment;

// The library's version, as "0.1.0". Static.
SMARTKEY_API const char* smartkey_version(void) SMARTKEY_NOEXCEPT;

// ---- Errors.

// Who has to do what: smartkey_error_user_action().
enum {
  SMARTKEY_ACTION_NONE = 0,               // Nothing is to be done.
  SMARTKEY_ACTION_RETRY_LATER = 1,        // Wait: smartkey_error_retry_after_ms().
  SMARTKEY_ACTION_RENEW = 2,              // A person goes through the browser again.
  SMARTKEY_ACTION_ASK_OWNER = 3,          // The registration's owner decides.
  SMARTKEY_ACTION_ASK_ADMINISTRATOR = 4,  // Configuration, machine or server want mending.
  SMARTKEY_ACTION_UNLOCK_HARDWARE = 5,    // Someone unlocks the TPM or token.
  SMARTKEY_ACTION_FIX_CALL = 6,           // The call itself is wrong.
  SMARTKEY_ACTION_INSTALL_OR_START = 7,   // smartkeyd is missing or not running.
};

// The SMARTKEY_REASON_ number: what went wrong, in one closed vocabulary. 0 for NULL.
SMARTKEY_API int smartkey_error_reason(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// The same as a word, as "NO_NETWORK". "" for NULL.
SMARTKEY_API const char* smartkey_error_reason_name(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// The SMARTKEY_ACTION_ number. SMARTKEY_ACTION_NONE for NULL.
SMARTKEY_API int smartkey_error_user_action(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// What happened, for people: one line, no secret, fit for a terminal. "" for NULL, and where the
// error says how something stands (smartkey_registration_cause() and the like).
SMARTKEY_API const char* smartkey_error_message(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// What to do next, for people: one line of at most 200 bytes. "" for NULL.
SMARTKEY_API const char* smartkey_error_remedy(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// When another try makes sense, in milliseconds from the call's end; -1 if nobody said so, and for
// NULL.
SMARTKEY_API int64_t smartkey_error_retry_after_ms(const smartkey_error* error) SMARTKEY_NOEXCEPT;
// The exit code of smartkeyctl for it: 1 failed, 2 wrong usage, 3 not permitted, 4 a person must
// act, 5 try later, 6 smartkeyd cannot be reached. 0 for NULL.
SMARTKEY_API int smartkey_error_exit_code(const smartkey_error* error) SMARTKEY_NOEXCEPT;
SMARTKEY_API void smartkey_error_free(smartkey_error* error) SMARTKEY_NOEXCEPT;

// ---- The client.

// A client for the daemon at this socket; NULL or "": at SMARTKEY_SOCKET if that is set and not
// empty, otherwise at /run/smartkeyd/smartkeyd.sock. Does no I/O: the connection is made at the
// first call, and made again when the daemon was restarted. The first one of a process removes
// every GRPC_* variable from its environment, since GRPC_TRACE would print tokens on stderr:
// connect before starting threads that read the environment.
//
// Errors: INVALID_ARGUMENT for a path that is relative or too long, and in a child (see fork()).
//
// Errors of every call on the client: DAEMON_NOT_INSTALLED (the socket's directory does not exist)
// and DAEMON_NOT_RUNNING (nobody answers on it), both at once and not after a wait; NOT_PERMITTED
// (the socket is not for this user), DEADLINE_EXCEEDED, SHUTTING_DOWN (the connection broke), and
// what the daemon answers. Every `timeout_ms` of 0 or less means the call's default.
SMARTKEY_API smartkey_client* smartkey_client_connect(const char* socket_path,
                                                      smartkey_error** error) SMARTKEY_NOEXCEPT;
// Watches that were made with it go on: each has a free of its own.
SMARTKEY_API void smartkey_client_free(smartkey_client* client) SMARTKEY_NOEXCEPT;

// ---- Tokens.

// Which token: that of the registration with this name or id; NULL or "": of the one that
// smartkey_token_request_set_context() describes.
SMARTKEY_API smartkey_token_request* smartkey_token_request_new(const char* registration)
    SMARTKEY_NOEXCEPT;
// For an app that does not know its registration's name: the only usable one of this app (its
// reverse-DNS id) at this FHIR base. `patient` is the patient's id at that server; NULL or "": any.
// Without effect where a name or id was given. IDENTIFYING
SMARTKEY_API void smartkey_token_request_set_context(smartkey_token_request* request,
                                                     const char* app, const char* fhir_base,
                                                     const char* patient) SMARTKEY_NOEXCEPT;
// Adds one scope, as "patient/*.rs". Without any: all that the caller may have.
SMARTKEY_API void smartkey_token_request_add_scope(smartkey_token_request* request,
                                                   const char* scope) SMARTKEY_NOEXCEPT;
// For how many seconds the token has to be good yet, beyond the margin that is always kept; for a
// watch: how long before its end the next one shall come. 0 or less: any time.
SMARTKEY_API void smartkey_token_request_set_min_valid(smartkey_token_request* request,
                                                       int64_t seconds) SMARTKEY_NOEXCEPT;
SMARTKEY_API void smartkey_token_request_free(smartkey_token_request* request) SMARTKEY_NOEXCEPT;

// A token that is good now: from the daemon's cache, or from the server. Ask before each batch of
// requests instead of keeping one. Default deadline: 60 s.
//
// Errors: REGISTRATION_NOT_FOUND (also where it is somebody else's and not shared), REAUTH_REQUIRED
// (a person renews it), SUSPENDED, SERVER_UNREACHABLE and others: go by the user action.
SMARTKEY_API smartkey_token* smartkey_client_get_token(smartkey_client* client,
                                                       const smartkey_token_request* request,
                                                       int64_t timeout_ms,
                                                       smartkey_error** error) SMARTKEY_NOEXCEPT;

// Tells that the FHIR server refused this token (401), and asks for another: exactly this one is
// dropped, and the next smartkey_client_get_token() waits for the new one. True as well if another
// one had replaced it already. Default deadline: 30 s.
SMARTKEY_API bool smartkey_client_report_rejected(smartkey_client* client,
                                                  const smartkey_token* token, int64_t timeout_ms,
                                                  smartkey_error** error) SMARTKEY_NOEXCEPT;

// The token itself, for the `Authorization` header. Printable ASCII without spaces. SENSITIVE
SMARTKEY_API const char* smartkey_token_value(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// "Bearer" or "DPoP".
SMARTKEY_API const char* smartkey_token_type(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// True if the token may be sent to this URL: one below its FHIR base, written as the base is, whose
// path does not lead out of it again ("..", also encoded). Send it to no other URL, and follow no
// redirect with it.
SMARTKEY_API bool smartkey_token_allows_url(const smartkey_token* token,
                                            const char* url) SMARTKEY_NOEXCEPT;
// The base of the FHIR server that the token is for.
SMARTKEY_API const char* smartkey_token_fhir_base(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// Time after which it is not to be used.
SMARTKEY_API int64_t smartkey_token_expires_at(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// Time from which on asking again may give a newer one.
SMARTKEY_API int64_t smartkey_token_refresh_after(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// What the server granted; what the registration has if it did not say.
SMARTKEY_API const char* smartkey_token_scope(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// True if something that was asked for is not among what was granted.
SMARTKEY_API bool smartkey_token_scope_narrowed(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// True if it is good for less time than was asked for, since the server's tokens are.
SMARTKEY_API bool smartkey_token_min_valid_unmet(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// The patient's id at the FHIR server. IDENTIFYING
SMARTKEY_API const char* smartkey_token_patient(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// The URL of the person who logged in (`fhirUser`). IDENTIFYING
SMARTKEY_API const char* smartkey_token_fhir_user(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// What else the server said with it (encounter, location, ...), a JSON object. IDENTIFYING
SMARTKEY_API const char* smartkey_token_launch_context(const smartkey_token* token)
    SMARTKEY_NOEXCEPT;
// The id of its registration, and the number of the generation that fetched it.
SMARTKEY_API const char* smartkey_token_registration_id(const smartkey_token* token)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API uint32_t smartkey_token_generation(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// Why the daemon could not get a newer one, where it tried; NULL if all is well. The token is good
// all the same.
SMARTKEY_API const smartkey_error* smartkey_token_refresh_error(const smartkey_token* token)
    SMARTKEY_NOEXCEPT;

// A second one with the same content, to be freed by itself: keeps what a watch has lent.
SMARTKEY_API smartkey_token* smartkey_token_copy(const smartkey_token* token) SMARTKEY_NOEXCEPT;
// The last one with this content overwrites the token's value before the memory is given back. What
// the program copied out of it is its own affair, and the buffers of gRPC, which it came through,
// are not overwritten.
SMARTKEY_API void smartkey_token_free(smartkey_token* token) SMARTKEY_NOEXCEPT;

// ---- Watching a token.

// Called by a thread of the watch, one call after another, each time with all there is to know:
// `token` is the one to use from now on, NULL if there is none just now; `error` says why there is
// none, or why it could not be renewed yet, and is NULL if all is well. Both are lent for the time
// of the call: smartkey_token_copy() keeps the first.
//
// `ended` is true in the last call: `token` is NULL, and `error` says why: ACCESS_ENDED (the right
// to it ended, or the registration was suspended or deleted), SHUTTING_DOWN (the daemon stops:
// watch again after a few seconds), or what a call fails with. There is no such call after the
// watch was stopped.
//
// Returns true to go on; false to stop the watch. Must return by itself: nothing may be thrown or
// jumped out of it. It may make calls on the client, but not free the watch.
typedef bool (*smartkey_token_watch_fn)(const smartkey_token* token, const smartkey_error* error,
                                        bool ended, void* user_data);

// A token that is always current: the first call comes at once, or as soon as a token was fetched,
// and then whenever another token is to be used, or another error says why there is none. There is
// no need to be fast: only the latest state waits to be read. `function` may be called before this
// returns. The thread takes none of the program's signals. No deadline.
//
// Errors: INVALID_ARGUMENT without a function, INTERNAL if no thread can be started. What smartkeyd
// has to say comes by `function`.
SMARTKEY_API smartkey_token_watch* smartkey_client_watch_token(
    smartkey_client* client, const smartkey_token_request* request,
    smartkey_token_watch_fn function, void* user_data, smartkey_error** error) SMARTKEY_NOEXCEPT;
// Stops it. When this returns `function` has returned, and is not called again.
SMARTKEY_API void smartkey_token_watch_free(smartkey_token_watch* watch) SMARTKEY_NOEXCEPT;

// ---- Registrations.

// How a registration stands: smartkey_registration_state().
enum {
  SMARTKEY_STATE_UNSPECIFIED = 0,
  SMARTKEY_STATE_PENDING = 1,           // The person is in the browser.
  SMARTKEY_STATE_REGISTERING = 2,       // The server is being asked.
  SMARTKEY_STATE_VERIFYING = 3,         // The first token is being fetched.
  SMARTKEY_STATE_ACTIVE = 4,            // Works.
  SMARTKEY_STATE_SUSPECT = 5,           // Was refused, and is tried again.
  SMARTKEY_STATE_REAUTH_REQUIRED = 6,   // Was refused for long: to be renewed.
  SMARTKEY_STATE_MISCONFIGURED = 7,     // The server does not let this client do it.
  SMARTKEY_STATE_CONTEXT_CHANGED = 8,   // A token named another patient or user: to be renewed.
  SMARTKEY_STATE_ORPHANED = 9,          // The server's answer never came: to be renewed.
  SMARTKEY_STATE_KEY_UNAVAILABLE = 10,  // The key's hardware is not there.
  SMARTKEY_STATE_KEY_LOST = 11,         // The key is gone for good: to be renewed.
  SMARTKEY_STATE_DELETING = 12,         // Is being deleted.
};

// All registrations that the caller may use, own and shared; with those arguments that are neither
// NULL nor "" only the ones that fit: id of the app, configured name of the server, FHIR base.
// Default deadline: 30 s.
SMARTKEY_API smartkey_registration_list* smartkey_client_list_registrations(
    smartkey_client* client, const char* app, const char* server, const char* fhir_base,
    int64_t timeout_ms, smartkey_error** error) SMARTKEY_NOEXCEPT;
SMARTKEY_API size_t smartkey_registration_list_size(const smartkey_registration_list* list)
    SMARTKEY_NOEXCEPT;
// Lent. NULL if `index` is not below the size.
SMARTKEY_API const smartkey_registration* smartkey_registration_list_at(
    const smartkey_registration_list* list, size_t index) SMARTKEY_NOEXCEPT;
SMARTKEY_API void smartkey_registration_list_free(smartkey_registration_list* list)
    SMARTKEY_NOEXCEPT;

// The one with this name or id. Default deadline: 30 s. Errors: REGISTRATION_NOT_FOUND.
SMARTKEY_API smartkey_registration* smartkey_client_get_registration(
    smartkey_client* client, const char* registration, int64_t timeout_ms,
    smartkey_error** error) SMARTKEY_NOEXCEPT;
// Only for one that was given, not for one of a list.
SMARTKEY_API void smartkey_registration_free(smartkey_registration* registration) SMARTKEY_NOEXCEPT;

SMARTKEY_API const char* smartkey_registration_id(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// Unique among those of one owner. IDENTIFYING
SMARTKEY_API const char* smartkey_registration_name(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// Free text of the owner. IDENTIFYING
SMARTKEY_API const char* smartkey_registration_label(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API uint32_t smartkey_registration_owner_uid(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// "" if the uid has no name.
SMARTKEY_API const char* smartkey_registration_owner_name(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// True if it is the caller's own; false if it is shared with him.
SMARTKEY_API bool smartkey_registration_is_own(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_app(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_server(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_fhir_base(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_scopes(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// IDENTIFYING, both.
SMARTKEY_API const char* smartkey_registration_patient(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_fhir_user(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// The SMARTKEY_STATE_ number, the same as a word ("ACTIVE"), and in words for people ("working",
// "needs you: renew").
SMARTKEY_API int smartkey_registration_state(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_state_name(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_registration_state_words(
    const smartkey_registration* registration) SMARTKEY_NOEXCEPT;
// The SMARTKEY_ACTION_ number: who has to do something about it.
SMARTKEY_API int smartkey_registration_user_action(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// Why it stands so. NULL: there is nothing to say.
SMARTKEY_API const smartkey_error* smartkey_registration_cause(
    const smartkey_registration* registration) SMARTKEY_NOEXCEPT;
// True if somebody has stopped its tokens, whatever its state.
SMARTKEY_API bool smartkey_registration_suspended(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API int64_t smartkey_registration_created_at(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;
// When the access will probably end: a reason to renew before, never a certainty.
SMARTKEY_API int64_t smartkey_registration_expected_end(const smartkey_registration* registration)
    SMARTKEY_NOEXCEPT;

// ---- Enrollment.

// Whoever enrolls begins, opens `authorization_url` in the person's browser, listens at the
// redirect URI, and completes with what the browser brought back. `smartkeyctl enroll` does all
// that: an app needs these only for a browser of its own.

// What a new registration shall be; at the server with this configured name. NULL or "": at the one
// of smartkey_enrollment_request_set_fhir_base(), or of the registration that is renewed.
SMARTKEY_API smartkey_enrollment_request* smartkey_enrollment_request_new(const char* server)
    SMARTKEY_NOEXCEPT;
// The FHIR base of a configured server, where its name is not known.
SMARTKEY_API void smartkey_enrollment_request_set_fhir_base(
    smartkey_enrollment_request* request, const char* fhir_base) SMARTKEY_NOEXCEPT;
// The app's id. Not set: the only one configured for the server.
SMARTKEY_API void smartkey_enrollment_request_set_app(smartkey_enrollment_request* request,
                                                      const char* app) SMARTKEY_NOEXCEPT;
// Adds one scope. Without any: the app's own.
SMARTKEY_API void smartkey_enrollment_request_add_scope(smartkey_enrollment_request* request,
                                                        const char* scope) SMARTKEY_NOEXCEPT;
// Its name: 1 to 64 letters, digits, dots, dashes, underscores. Not set: the server's. IDENTIFYING
SMARTKEY_API void smartkey_enrollment_request_set_name(smartkey_enrollment_request* request,
                                                       const char* name) SMARTKEY_NOEXCEPT;
// Free text, at most 200 bytes. IDENTIFYING
SMARTKEY_API void smartkey_enrollment_request_set_label(smartkey_enrollment_request* request,
                                                        const char* label) SMARTKEY_NOEXCEPT;
// The key's JOSE algorithm: "ES256", "ES384", "RS256" or "RS384". Not set: the best that hardware
// and server share.
SMARTKEY_API void smartkey_enrollment_request_set_algorithm(
    smartkey_enrollment_request* request, const char* algorithm) SMARTKEY_NOEXCEPT;
// Its tokens may be for any patient and user. False: for those of the first token only.
SMARTKEY_API void smartkey_enrollment_request_set_context_varies(
    smartkey_enrollment_request* request, bool varies) SMARTKEY_NOEXCEPT;
// Renews the registration with this name or id instead of making one. `new_patient`: it may be for
// another patient than before; all its shares are dropped then.
SMARTKEY_API void smartkey_enrollment_request_set_renews(smartkey_enrollment_request* request,
                                                         const char* registration,
                                                         bool new_patient) SMARTKEY_NOEXCEPT;
// Chosen by the caller, at most 64 printable characters: a second begin with the same one finds the
// first enrollment.
SMARTKEY_API void smartkey_enrollment_request_set_request_id(
    smartkey_enrollment_request* request, const char* request_id) SMARTKEY_NOEXCEPT;
// For how long the person means to allow the access, to be warned before its end. 0 or less: not
// said.
SMARTKEY_API void smartkey_enrollment_request_set_access_for(smartkey_enrollment_request* request,
                                                             int64_t seconds) SMARTKEY_NOEXCEPT;
SMARTKEY_API void smartkey_enrollment_request_free(smartkey_enrollment_request* request)
    SMARTKEY_NOEXCEPT;

// Begins. `redirect_uri` is where the caller listens, with its real port; it has to be one that the
// app has registered. Default deadline: 60 s.
SMARTKEY_API smartkey_enrollment* smartkey_client_begin_enrollment(
    smartkey_client* client, const smartkey_enrollment_request* request, const char* redirect_uri,
    int64_t timeout_ms, smartkey_error** error) SMARTKEY_NOEXCEPT;
// Makes the key, exchanges the code, registers, and gets the first token. `redirect_query` is what
// stands behind the '?' of the redirect, as it came: SENSITIVE, so wipe it afterwards. Default
// deadline: 5 min, since some hardware needs minutes for a key.
SMARTKEY_API smartkey_registration* smartkey_client_complete_enrollment(
    smartkey_client* client, const char* enrollment_id, const char* redirect_query,
    int64_t timeout_ms, smartkey_error** error) SMARTKEY_NOEXCEPT;
// Gives it up; without effect on one that has ended. Default deadline: 30 s.
SMARTKEY_API bool smartkey_client_cancel_enrollment(smartkey_client* client,
                                                    const char* enrollment_id, int64_t timeout_ms,
                                                    smartkey_error** error) SMARTKEY_NOEXCEPT;

SMARTKEY_API const char* smartkey_enrollment_id(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
// Of the registration in the making, or of the one that is renewed.
SMARTKEY_API const char* smartkey_enrollment_registration_id(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
// To be opened in the person's own browser, as it is.
SMARTKEY_API const char* smartkey_enrollment_authorization_url(
    const smartkey_enrollment* enrollment) SMARTKEY_NOEXCEPT;
// Where the browser will come back to.
SMARTKEY_API const char* smartkey_enrollment_redirect_uri(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
// When it ends by itself.
SMARTKEY_API int64_t smartkey_enrollment_expires_at(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
// What to show before the browser is opened: the hosts where the person logs in and where the code
// goes, what is asked for, and what the person should know ("SAME_APP_SAME_SERVER"), several
// separated by spaces.
SMARTKEY_API const char* smartkey_enrollment_authorization_host(
    const smartkey_enrollment* enrollment) SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_enrollment_token_host(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_enrollment_fhir_base(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_enrollment_scopes(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API const char* smartkey_enrollment_warnings(const smartkey_enrollment* enrollment)
    SMARTKEY_NOEXCEPT;
SMARTKEY_API void smartkey_enrollment_free(smartkey_enrollment* enrollment) SMARTKEY_NOEXCEPT;

// ---- Reasons, as smartkeyd's smartkey.v1.ErrorDetail.Reason has them.

enum {
  SMARTKEY_REASON_INVALID_ARGUMENT = 1,
  SMARTKEY_REASON_NOT_IMPLEMENTED = 2,
  SMARTKEY_REASON_DEADLINE_EXCEEDED = 3,
  SMARTKEY_REASON_CANCELLED = 4,
  SMARTKEY_REASON_INTERNAL = 5,
  SMARTKEY_REASON_SHUTTING_DOWN = 6,
  SMARTKEY_REASON_NOT_PERMITTED = 20,
  SMARTKEY_REASON_SHARE_LACKS_OPERATION = 21,
  SMARTKEY_REASON_SHARE_LACKS_SCOPE = 22,
  SMARTKEY_REASON_CONTAINER_DENIED = 23,
  SMARTKEY_REASON_CALLER_UNIDENTIFIED = 24,
  SMARTKEY_REASON_OWNER_CHANGED = 25,
  SMARTKEY_REASON_ENROLLMENT_NOT_ALLOWED = 26,
  SMARTKEY_REASON_TOO_MANY_CONNECTIONS = 27,
  SMARTKEY_REASON_RATE_LIMITED = 28,
  SMARTKEY_REASON_UNKNOWN_PRINCIPAL = 29,
  SMARTKEY_REASON_SHARE_NOT_FOUND = 30,
  SMARTKEY_REASON_SHARE_FROM_POLICY = 31,
  SMARTKEY_REASON_ACCESS_REQUEST_NOT_FOUND = 32,
  SMARTKEY_REASON_ACCESS_ENDED = 33,
  SMARTKEY_REASON_UNKNOWN_SERVER = 40,
  SMARTKEY_REASON_UNKNOWN_APP = 41,
  SMARTKEY_REASON_REGISTRATION_NOT_FOUND = 42,
  SMARTKEY_REASON_REGISTRATION_AMBIGUOUS = 43,
  SMARTKEY_REASON_NAME_TAKEN = 44,
  SMARTKEY_REASON_TOO_MANY_REGISTRATIONS = 45,
  SMARTKEY_REASON_SERVER_REMOVED = 46,
  SMARTKEY_REASON_ENROLLMENT_NOT_FOUND = 60,
  SMARTKEY_REASON_ENROLLMENT_EXPIRED = 61,
  SMARTKEY_REASON_ENROLLMENT_CANCELLED = 62,
  SMARTKEY_REASON_TOO_MANY_ENROLLMENTS = 63,
  SMARTKEY_REASON_CONSENT_DENIED = 64,
  SMARTKEY_REASON_STATE_MISMATCH = 65,
  SMARTKEY_REASON_ISSUER_MISMATCH = 66,
  SMARTKEY_REASON_AUTHORIZATION_REFUSED = 67,
  SMARTKEY_REASON_CODE_REFUSED = 68,
  SMARTKEY_REASON_REGISTER_SCOPE_NOT_GRANTED = 69,
  SMARTKEY_REASON_NO_DYNAMIC_REGISTRATION = 70,
  SMARTKEY_REASON_SOFTWARE_ID_REFUSED = 71,
  SMARTKEY_REASON_REGISTRATION_REFUSED = 72,
  SMARTKEY_REASON_REGISTRATION_FORBIDDEN = 73,
  SMARTKEY_REASON_REGISTRATION_ANSWER_INVALID = 74,
  SMARTKEY_REASON_DUPLICATE_CLIENT_ID = 75,
  SMARTKEY_REASON_INITIAL_TOKEN_REFUSED = 76,
  SMARTKEY_REASON_INITIAL_TOKEN_EXPIRED = 77,
  SMARTKEY_REASON_REGISTERED_BUT_NOT_DURABLE = 78,
  SMARTKEY_REASON_REDIRECT_URI_UNKNOWN = 79,
  SMARTKEY_REASON_REDIRECT_PORT_BUSY = 80,
  SMARTKEY_REASON_BROWSER_TIMEOUT = 81,
  SMARTKEY_REASON_ENROLLMENT_UNDER_WAY = 82,
  SMARTKEY_REASON_NOT_READY = 100,
  SMARTKEY_REASON_REAUTH_REQUIRED = 101,
  SMARTKEY_REASON_REFUSED_BY_SERVER = 102,
  SMARTKEY_REASON_MISCONFIGURED = 103,
  SMARTKEY_REASON_CONTEXT_CHANGED = 104,
  SMARTKEY_REASON_SUSPENDED = 105,
  SMARTKEY_REASON_ORPHANED = 106,
  SMARTKEY_REASON_DELETING = 107,
  SMARTKEY_REASON_ROTATION_NEEDS_BROWSER = 108,
  SMARTKEY_REASON_NO_NETWORK = 120,
  SMARTKEY_REASON_SERVER_UNREACHABLE = 121,
  SMARTKEY_REASON_SERVER_BUSY = 122,
  SMARTKEY_REASON_SERVER_ERROR = 123,
  SMARTKEY_REASON_SERVER_REFUSING_ALL = 124,
  SMARTKEY_REASON_TLS_NOT_TRUSTED = 125,
  SMARTKEY_REASON_INTERCEPTED = 126,
  SMARTKEY_REASON_REDIRECT_REFUSED = 127,
  SMARTKEY_REASON_BAD_SERVER_ANSWER = 128,
  SMARTKEY_REASON_UNEXPECTED_STATUS = 129,
  SMARTKEY_REASON_DISCOVERY_INVALID = 130,
  SMARTKEY_REASON_CLOCK_WRONG = 131,
  SMARTKEY_REASON_INVALID_SCOPE = 132,
  SMARTKEY_REASON_SCOPE_UNPROVEN = 133,
  SMARTKEY_REASON_REQUEST_REFUSED = 134,
  SMARTKEY_REASON_HARDWARE_ABSENT = 150,
  SMARTKEY_REASON_HARDWARE_BUSY = 151,
  SMARTKEY_REASON_HARDWARE_DEGRADED = 152,
  SMARTKEY_REASON_HARDWARE_TIMEOUT = 153,
  SMARTKEY_REASON_HARDWARE_ERROR = 154,
  SMARTKEY_REASON_HARDWARE_FULL = 155,
  SMARTKEY_REASON_TPM_LOCKOUT = 156,
  SMARTKEY_REASON_TPM_OWNER_AUTH_REQUIRED = 157,
  SMARTKEY_REASON_PIN_MISSING = 158,
  SMARTKEY_REASON_PIN_REJECTED = 159,
  SMARTKEY_REASON_PIN_FINAL_TRY = 160,
  SMARTKEY_REASON_PIN_LOCKED = 161,
  SMARTKEY_REASON_ALGORITHM_UNSUPPORTED = 162,
  SMARTKEY_REASON_KEY_UNAVAILABLE = 163,
  SMARTKEY_REASON_KEY_LOST_TPM_CLEARED = 164,
  SMARTKEY_REASON_KEY_LOST_OTHER_MACHINE = 165,
  SMARTKEY_REASON_KEY_GONE = 166,
  SMARTKEY_REASON_KEY_DAMAGED = 167,
  SMARTKEY_REASON_KEY_NOT_PROTECTED = 168,
  SMARTKEY_REASON_SIGNATURE_WRONG = 169,
  SMARTKEY_REASON_ATTESTATION_UNSUPPORTED = 170,
  SMARTKEY_REASON_TPM_HANDLE_TAKEN = 171,
  SMARTKEY_REASON_AUDIENCE_NOT_ALLOWED = 190,
  SMARTKEY_REASON_AUDIENCE_FORBIDDEN = 191,
  SMARTKEY_REASON_CLAIM_NOT_ALLOWED = 192,
  SMARTKEY_REASON_URL_OUTSIDE_FHIR_BASE = 193,
  SMARTKEY_REASON_TOKEN_NOT_OURS = 194,
  SMARTKEY_REASON_DPOP_UNSUPPORTED = 195,
  SMARTKEY_REASON_DPOP_DOWNGRADED = 196,
  SMARTKEY_REASON_STORE_UNAVAILABLE = 210,
  SMARTKEY_REASON_STORE_FULL = 211,
  SMARTKEY_REASON_STORE_TOO_NEW = 212,
  SMARTKEY_REASON_CONFIG_INVALID = 213,
  SMARTKEY_REASON_ALREADY_RUNNING = 214,
  SMARTKEY_REASON_AUDIT_UNAVAILABLE = 215,
  SMARTKEY_REASON_DAEMON_NOT_INSTALLED = 230,
  SMARTKEY_REASON_DAEMON_NOT_RUNNING = 231,
};

#ifdef __cplusplus
}  // extern "C"
#endif
