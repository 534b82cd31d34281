// SPDX-License-Identifier: Apache-2.0
// Calls of the C library, and what came of them as lines on standard output. `probe CALL
// ARGUMENT...`

#include <pthread.h>
#include <signal.h>
#include <smartkey.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static smartkey_client* client;

static void PrintError(const smartkey_error* error) {
  printf("error %d %s, action %d, exit code %d, retry after %lld\n%s\n%s\n",
         smartkey_error_reason(error), smartkey_error_reason_name(error),
         smartkey_error_user_action(error), smartkey_error_exit_code(error),
         (long long)smartkey_error_retry_after_ms(error), smartkey_error_message(error),
         smartkey_error_remedy(error));
}

static int Failed(smartkey_error* error) {
  PrintError(error);
  const int code = smartkey_error_exit_code(error);
  smartkey_error_free(error);
  return code;
}

static void PrintToken(const smartkey_token* token) {
  printf("token %s %s, expires %lld, refresh %lld\n", smartkey_token_type(token),
         smartkey_token_value(token), (long long)smartkey_token_expires_at(token),
         (long long)smartkey_token_refresh_after(token));
  printf("base %s, scope %s, narrowed %d, min valid unmet %d\n", smartkey_token_fhir_base(token),
         smartkey_token_scope(token), smartkey_token_scope_narrowed(token),
         smartkey_token_min_valid_unmet(token));
  printf("patient %s, user %s, context %s, registration %s %u\n", smartkey_token_patient(token),
         smartkey_token_fhir_user(token), smartkey_token_launch_context(token),
         smartkey_token_registration_id(token), smartkey_token_generation(token));
  if (smartkey_token_refresh_error(token) != NULL) PrintError(smartkey_token_refresh_error(token));
}

static smartkey_token* GetToken(const char* registration, int64_t timeout_ms,
                                smartkey_error** error) {
  smartkey_token_request* request = smartkey_token_request_new(registration);
  smartkey_token_request_add_scope(request, "patient/*.rs");
  smartkey_token_request_set_min_valid(request, 90);
  smartkey_token* token = smartkey_client_get_token(client, request, timeout_ms, error);
  smartkey_token_request_free(request);
  return token;
}

static int Token(char** arguments) {
  smartkey_error* error = NULL;
  smartkey_token* token = GetToken(arguments[0], 0, &error);
  if (token == NULL) return Failed(error);
  smartkey_token* copy = smartkey_token_copy(token);
  smartkey_token_free(token);
  PrintToken(copy);
  smartkey_token_free(copy);
  return error == NULL ? 0 : 1;
}

static int TokenByContext(char** arguments) {
  smartkey_token_request* request = smartkey_token_request_new(NULL);
  smartkey_token_request_set_context(request, arguments[0], arguments[1], arguments[2]);
  smartkey_token* token = smartkey_client_get_token(client, request, 0, NULL);
  smartkey_token_request_free(request);
  if (token == NULL) return 1;
  smartkey_token_free(token);
  return 0;
}

static int TokenWithin(char** arguments) {
  smartkey_error* error = NULL;
  smartkey_token* token = GetToken("mercy", atoi(arguments[0]), &error);
  if (token != NULL) return 1;
  return Failed(error);
}

static int Allows(char** arguments) {
  smartkey_token* token = GetToken("mercy", 0, NULL);
  for (; *arguments != NULL; ++arguments) {
    printf("%d %s\n", smartkey_token_allows_url(token, *arguments), *arguments);
  }
  printf("%d null\n", smartkey_token_allows_url(token, NULL));
  smartkey_token_free(token);
  return 0;
}

static int Reject(char** arguments) {
  (void)arguments;
  smartkey_error* error = NULL;
  smartkey_token* token = GetToken("mercy", 0, NULL);
  const bool reported = smartkey_client_report_rejected(client, token, 0, &error);
  smartkey_token_free(token);
  return reported && error == NULL ? 0 : Failed(error);
}

static void PrintRegistration(const smartkey_registration* registration) {
  printf("registration %s %s, label %s, owner %u %s, own %d\n",
         smartkey_registration_id(registration), smartkey_registration_name(registration),
         smartkey_registration_label(registration), smartkey_registration_owner_uid(registration),
         smartkey_registration_owner_name(registration),
         smartkey_registration_is_own(registration));
  printf("app %s, server %s, base %s, scopes %s, patient %s, user %s\n",
         smartkey_registration_app(registration), smartkey_registration_server(registration),
         smartkey_registration_fhir_base(registration), smartkey_registration_scopes(registration),
         smartkey_registration_patient(registration),
         smartkey_registration_fhir_user(registration));
  printf("state %d %s %s, action %d, suspended %d, created %lld, ends %lld\n",
         smartkey_registration_state(registration), smartkey_registration_state_name(registration),
         smartkey_registration_state_words(registration),
         smartkey_registration_user_action(registration),
         smartkey_registration_suspended(registration),
         (long long)smartkey_registration_created_at(registration),
         (long long)smartkey_registration_expected_end(registration));
  if (smartkey_registration_cause(registration) != NULL) {
    PrintError(smartkey_registration_cause(registration));
  }
}

static int List(char** arguments) {
  smartkey_error* error = NULL;
  smartkey_registration_list* list = smartkey_client_list_registrations(
      client, arguments[0], arguments[1], arguments[2], 0, &error);
  if (list == NULL) return Failed(error);
  const size_t size = smartkey_registration_list_size(list);
  for (size_t i = 0; i < size; ++i) PrintRegistration(smartkey_registration_list_at(list, i));
  const bool past = smartkey_registration_list_at(list, size) == NULL;
  smartkey_registration_list_free(list);
  return past ? 0 : 1;
}

static int Show(char** arguments) {
  smartkey_error* error = NULL;
  smartkey_registration* registration =
      smartkey_client_get_registration(client, arguments[0], 0, &error);
  if (registration == NULL) return Failed(error);
  PrintRegistration(registration);
  smartkey_registration_free(registration);
  return 0;
}

// ---- Watching.

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int calls;
static bool last;

static bool Watched(const smartkey_token* token, const smartkey_error* error, bool ended,
                    void* user_data) {
  const int* at_most = user_data;
  printf("call: token %s, error %s, ended %d\n",
         token == NULL ? "none" : smartkey_token_value(token), smartkey_error_reason_name(error),
         ended);
  pthread_mutex_lock(&mutex);
  const bool more = ++calls < *at_most;
  last = last || ended || !more;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&mutex);
  return more;
}

// As many calls as the first argument says; then, or at its end, it is freed.
static int Watch(char** arguments) {
  int at_most = atoi(arguments[0]);
  smartkey_error* error = NULL;
  smartkey_token_request* request = smartkey_token_request_new("mercy");
  smartkey_token_watch* watch =
      smartkey_client_watch_token(client, request, Watched, &at_most, &error);
  smartkey_token_request_free(request);
  if (watch == NULL) return Failed(error);
  smartkey_client_free(client);  // A watch does without.
  client = NULL;
  pthread_mutex_lock(&mutex);
  while (!last) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  smartkey_token_watch_free(watch);
  return 0;
}

// Freed after three calls, while the daemon has nothing to say.
static int WatchAndStop(char** arguments) {
  (void)arguments;
  int at_most = 1000;
  smartkey_token_request* request = smartkey_token_request_new("mercy");
  smartkey_token_watch* watch =
      smartkey_client_watch_token(client, request, Watched, &at_most, NULL);
  smartkey_token_request_free(request);
  pthread_mutex_lock(&mutex);
  while (calls < 3) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  smartkey_token_watch_free(watch);
  return last ? 1 : 0;
}

static int WatchWithoutFunction(char** arguments) {
  (void)arguments;
  smartkey_error* error = NULL;
  smartkey_token_request* request = smartkey_token_request_new("mercy");
  smartkey_token_watch* watch = smartkey_client_watch_token(client, request, NULL, NULL, &error);
  smartkey_token_request_free(request);
  return watch == NULL ? Failed(error) : 100;
}

static bool BlocksSigterm(void) {
  sigset_t blocked;
  pthread_sigmask(SIG_BLOCK, NULL, &blocked);
  return sigismember(&blocked, SIGTERM) == 1;
}

static bool LookAtSignals(const smartkey_token* token, const smartkey_error* error, bool ended,
                          void* user_data) {
  (void)token, (void)error, (void)ended;
  pthread_mutex_lock(&mutex);
  *(bool*)user_data = BlocksSigterm();
  last = true;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&mutex);
  return false;
}

static int WatchSignals(char** arguments) {
  (void)arguments;
  bool there = false;
  smartkey_token_request* request = smartkey_token_request_new("mercy");
  smartkey_token_watch* watch =
      smartkey_client_watch_token(client, request, LookAtSignals, &there, NULL);
  smartkey_token_request_free(request);
  pthread_mutex_lock(&mutex);
  while (!last) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  smartkey_token_watch_free(watch);
  printf("SIGTERM blocked: there %d, here %d\n", there, BlocksSigterm());
  return 0;
}

// ---- Enrollment.

static int Enroll(char** arguments) {
  smartkey_error* error = NULL;
  smartkey_enrollment_request* request = smartkey_enrollment_request_new("mercy");
  smartkey_enrollment_request_set_app(request, "org.example.viewer");
  smartkey_enrollment_request_add_scope(request, "patient/*.rs");
  smartkey_enrollment_request_add_scope(request, "launch/patient");
  smartkey_enrollment_request_set_name(request, "mum");
  smartkey_enrollment_request_set_label(request, "Mum");
  smartkey_enrollment_request_set_algorithm(request, "ES384");
  smartkey_enrollment_request_set_context_varies(request, true);
  smartkey_enrollment_request_set_renews(request, "old", true);
  smartkey_enrollment_request_set_request_id(request, "once");
  smartkey_enrollment_request_set_access_for(request, 86400);
  smartkey_enrollment* enrollment =
      smartkey_client_begin_enrollment(client, request, "http://127.0.0.1:1/callback", 0, &error);
  smartkey_enrollment_request_free(request);
  if (enrollment == NULL) return Failed(error);
  printf("enrollment %s of %s at %s, back at %s, expires %lld\n",
         smartkey_enrollment_id(enrollment), smartkey_enrollment_registration_id(enrollment),
         smartkey_enrollment_authorization_url(enrollment),
         smartkey_enrollment_redirect_uri(enrollment),
         (long long)smartkey_enrollment_expires_at(enrollment));
  printf("hosts %s %s, base %s, scopes %s, warnings %s\n",
         smartkey_enrollment_authorization_host(enrollment),
         smartkey_enrollment_token_host(enrollment), smartkey_enrollment_fhir_base(enrollment),
         smartkey_enrollment_scopes(enrollment), smartkey_enrollment_warnings(enrollment));
  int code = 0;
  if (strcmp(arguments[0], "cancel") == 0) {
    if (!smartkey_client_cancel_enrollment(client, smartkey_enrollment_id(enrollment), 0, &error)) {
      code = Failed(error);
    }
  } else {
    smartkey_registration* registration = smartkey_client_complete_enrollment(
        client, smartkey_enrollment_id(enrollment), arguments[0], 0, &error);
    if (registration == NULL) {
      code = Failed(error);
    } else {
      PrintRegistration(registration);
    }
    smartkey_registration_free(registration);
  }
  smartkey_enrollment_free(enrollment);
  return code;
}

// ---- Threads, processes, nothing.

static void* GetManyTokens(void* failures) {
  for (int i = 0; i < 20; ++i) {
    smartkey_token* token = GetToken("mercy", 0, NULL);
    if (token == NULL) ++*(int*)failures;
    smartkey_token_free(token);
  }
  return NULL;
}

static int Threads(char** arguments) {
  (void)arguments;
  pthread_t threads[8];
  int failures[8] = {0};
  int sum = 0;
  for (int i = 0; i < 8; ++i) pthread_create(&threads[i], NULL, GetManyTokens, &failures[i]);
  for (int i = 0; i < 8; ++i) {
    pthread_join(threads[i], NULL);
    sum += failures[i];
  }
  return sum;
}

static int Fork(char** arguments) {
  smartkey_token* token = GetToken("mercy", 0, NULL);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    smartkey_error* error = NULL;
    if (GetToken("mercy", 0, &error) != NULL ||
        smartkey_client_connect(arguments[0], NULL) != NULL) {
      _exit(100);
    }
    const int code = Failed(error);
    smartkey_token_free(token);
    smartkey_client_free(client);
    exit(code);
  }
  smartkey_token_free(token);
  int status = 0;
  waitpid(child, &status, 0);
  token = GetToken("mercy", 0, NULL);  // The parent goes on.
  if (token == NULL) return 101;
  smartkey_token_free(token);
  return WEXITSTATUS(status);
}

static int Nothing(char** arguments) {
  (void)arguments;
  PrintError(NULL);
  smartkey_error_free(NULL);
  smartkey_client_free(NULL);
  smartkey_token_request_free(NULL);
  smartkey_token_free(NULL);
  smartkey_token_watch_free(NULL);
  smartkey_registration_free(NULL);
  smartkey_registration_list_free(NULL);
  smartkey_enrollment_request_free(NULL);
  smartkey_enrollment_free(NULL);
  smartkey_error* error = NULL;
  if (smartkey_client_connect("relative.sock", &error) != NULL) return 100;
  return Failed(error);
}

static int Version(char** arguments) {
  (void)arguments;
  printf("%s\n", smartkey_version());
  return 0;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    int (*call)(char** arguments);
  } kCalls[] = {
      {"token", Token},
      {"token-by-context", TokenByContext},
      {"token-within", TokenWithin},
      {"allows", Allows},
      {"reject", Reject},
      {"list", List},
      {"show", Show},
      {"watch", Watch},
      {"watch-and-stop", WatchAndStop},
      {"watch-without-function", WatchWithoutFunction},
      {"watch-signals", WatchSignals},
      {"enroll", Enroll},
      {"threads", Threads},
      {"fork", Fork},
      {"nothing", Nothing},
      {"version", Version},
  };
  if (argc < 2) return 102;
  smartkey_error* error = NULL;
  client = smartkey_client_connect(NULL, &error);
  if (client == NULL) return Failed(error);
  int code = 103;
  for (size_t i = 0; i < sizeof(kCalls) / sizeof(*kCalls); ++i) {
    if (strcmp(argv[1], kCalls[i].name) == 0) code = kCalls[i].call(argv + 2);
  }
  smartkey_client_free(client);
  return code;
}
