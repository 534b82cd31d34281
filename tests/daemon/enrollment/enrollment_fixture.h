// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/enrollment/enrollment_manager.h"
#include "daemon/enrollment/registration_remover.h"
#include "daemon/token/token_minter.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_http_client.h"
#include "tests/fakes/fake_key_service.h"
#include "tests/fakes/fake_registration_store.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {

inline constexpr char kAuthorize[] = "https://ehr.example/authorize";
inline constexpr char kTokenUrl[] = "https://ehr.example/token";
inline constexpr char kRegister[] = "https://ehr.example/register";
inline constexpr char kRevoke[] = "https://ehr.example/revoke";

// What may be in no message and no log line.
inline constexpr char kCode[] = "code-canary";
inline constexpr char kInitialToken[] = "initial-token-canary";
inline constexpr char kAccessToken[] = "access-token-canary";
inline constexpr char kPatient[] = "patient-canary-1";
inline constexpr char kOtherPatient[] = "patient-canary-2";
inline constexpr char kLabel[] = "label-canary";
inline constexpr char kName[] = "name-canary";

inline Caller Alice() {
  return User(1000, "alice");
}
inline Caller Bob() {
  return User(1001, "bob");
}

// For a removal that anybody may order.
inline absl::Status Anybody(const Registration&) {
  return absl::OkStatus();
}

// The parts of a daemon that live and die with its process.
struct DaemonParts {
  DaemonParts(FakeClock& clock, FakeKeyService& keys, const CurrentCatalog& catalog,
              std::vector<Registration> contents, FakeHttpClient::Handler server)
      : scheduler(clock),
        store(std::move(contents)),
        signer(keys),
        http(clock),
        endpoint(http, clock),
        minter(signer, endpoint, clock),
        tokens(catalog, store, minter, scheduler, clock),
        access(store, catalog, clock),
        manager(std::make_unique<EnrollmentManager>(EnrollmentManager::Parts{
            catalog, access, store, keys, http, tokens, scheduler, clock})),
        revocation(http),
        revoker(signer, revocation, clock),
        remover(store, keys, tokens, revoker, scheduler) {
    http.HandleAll(std::move(server));
  }

  FakeScheduler scheduler;
  FakeRegistrationStore store;
  JwtSigner signer;
  FakeHttpClient http;
  TokenEndpoint endpoint;
  AssertionTokenMinter minter;
  TokenManager tokens;
  AccessPolicy access;
  std::unique_ptr<EnrollmentManager> manager;
  RevocationEndpoint revocation;
  TokenRevoker revoker;
  RegistrationRemover remover;
};

// How an enrollment ended, or has not yet.
struct Enrolled {
  int answers = 0;
  absl::StatusOr<RegistrationStore::Snapshot> result = absl::UnknownError("no answer yet");

  bool ok() const { return answers == 1 && result.ok(); }
  Reason reason() const { return answers == 0 ? Reason::kUnspecified : ReasonOf(result.status()); }
};

// A daemon's enrollment with a server that the test can bend, on fakes for clock, disk, hardware
// and network. Every message and log line of every test is searched for secrets and patients at its
// end.
class EnrollmentTest : public testing::Test {
 protected:
  using Answer = FakeHttpClient::Result;

  EnrollmentTest() : catalog_(MakeCatalog()) { Start({}); }

  void SetUp() override { testing::internal::CaptureStderr(); }
  void TearDown() override;

  static Catalog MakeCatalog();

  void Start(std::vector<Registration> contents) {
    daemon_ = std::make_unique<DaemonParts>(
        clock_, keys_, catalog_, std::move(contents),
        [this](const RecordedRequest& request) { return Serve(request); });
  }
  // kill -9, and a new start that finds `contents`.
  void Restart(std::vector<Registration> contents) {
    CollectSecrets();
    daemon_->http.Drop();
    keys_.Drop();
    daemon_.reset();
    Start(std::move(contents));
    daemon_->manager->Recover();
  }
  void Restart() { Restart(store().Contents()); }

  // The server. The functions, when set, answer in place of a server that agrees.
  Answer Serve(const RecordedRequest& request);
  Answer Token(const std::string& value, const std::string& scope) const {
    return FakeAnswer{.body = nlohmann::json{{"access_token", value},
                                             {"token_type", "Bearer"},
                                             {"expires_in", 3600},
                                             {"scope", scope},
                                             {"patient", patient_}}
                                  .dump()};
  }
  Answer Created() {
    return FakeAnswer{
        .status = 201,
        .body = nlohmann::json{{"client_id", absl::StrCat("dynamic-", ++clients_)}}.dump()};
  }
  static Answer Refused(const char* error, int status = 400) {
    return FakeAnswer{.status = status, .body = nlohmann::json{{"error", error}}.dump()};
  }

  static EnrollmentRequest Request() {
    EnrollmentRequest request;
    request.server_name = "mercy";
    request.redirect_uri = "http://127.0.0.1:45678/callback";
    request.label = Identifying(kLabel);
    return request;
  }
  static EnrollmentRequest WithName(std::string name) {
    EnrollmentRequest request = Request();
    request.name = Identifying(std::move(name));
    return request;
  }

  absl::StatusOr<BegunEnrollment> Begin(EnrollmentRequest request = Request(),
                                        const Caller& caller = Alice());
  static std::string StateOf(const BegunEnrollment& begun);
  static std::string RedirectOf(const BegunEnrollment& begun) {
    return absl::StrCat("code=", kCode, "&state=", StateOf(begun));
  }
  std::shared_ptr<Enrolled> Complete(const std::string& id, const std::string& redirect,
                                     const Caller& caller = Alice());
  std::shared_ptr<Enrolled> Complete(const BegunEnrollment& begun) {
    return Complete(begun.enrollment_id, RedirectOf(begun));
  }
  std::shared_ptr<Enrolled> EnrollWithToken(EnrollmentRequest request,
                                            absl::optional<absl::Duration> expires_in);
  absl::Status Cancel(const std::string& id, const Caller& caller = Alice());
  // The steps from here on, as they come.
  std::shared_ptr<std::vector<EnrollmentProgress>> Watch(const std::string& id);
  // From Begin to success.
  RegistrationStore::Snapshot Enroll(EnrollmentRequest request = Request());
  // What an app gets now: the token, or the reason why none.
  std::string TokenFor(const std::string& registration_id);

  FakeRegistrationStore& store() { return daemon_->store; }
  EnrollmentManager& manager() { return *daemon_->manager; }
  size_t Requests(const std::string& url) const;  // probes do not count
  size_t CodeExchanges() const;
  GenerationState StateOf(const std::string& registration_id) {
    return store().Find(registration_id)->newest().state;
  }
  void Advance(absl::Duration by) { daemon_->scheduler.Advance(by); }

  FakeClock clock_;
  FakeKeyService keys_;
  CurrentCatalog catalog_;
  std::unique_ptr<DaemonParts> daemon_;

  std::string granted_ = "launch/patient patient/*.rs system/DynamicClient.register";
  std::string patient_ = kPatient;
  int clients_ = 0;
  bool has_revocation_endpoint_ = false;
  std::function<Answer(const RecordedRequest&)> on_code_, on_register_, on_grant_, on_revoke_;

 private:
  void CollectSecrets();
  void Note(const absl::Status& status);

  std::string messages_;
  std::vector<std::string> secrets_{kCode,         kInitialToken, kAccessToken, kPatient,
                                    kOtherPatient, kLabel,        kName};
};

inline Catalog EnrollmentTest::MakeCatalog() {
  App app;
  app.id = "org.example.viewer";
  app.name = "Example Viewer";
  app.redirect_uris = {"http://127.0.0.1/callback"};
  app.scopes = {"launch/patient", "patient/*.rs"};
  app.clients = {AppClient{{"*"}, "initial-client", "software-1"}};
  Server server;
  server.name = "mercy";
  server.fhir_base = "https://ehr.example/fhir";
  return Catalog{{app}, {server}};
}

inline EnrollmentTest::Answer EnrollmentTest::Serve(const RecordedRequest& request) {
  if (request.probe) return FakeAnswer{};
  if (request.url == "https://ehr.example/fhir/.well-known/smart-configuration") {
    nlohmann::json document = {{"authorization_endpoint", kAuthorize},
                               {"token_endpoint", kTokenUrl},
                               {"registration_endpoint", kRegister},
                               {"management_endpoint", "https://ehr.example/manage"},
                               {"grant_types_supported", {"authorization_code"}},
                               {"capabilities", {"launch-standalone"}},
                               {"code_challenge_methods_supported", {"S256"}}};
    if (has_revocation_endpoint_) document["revocation_endpoint"] = kRevoke;
    return FakeAnswer{.body = document.dump()};
  }
  if (request.url == kRegister) return on_register_ ? on_register_(request) : Created();
  if (request.url == kRevoke) return on_revoke_ ? on_revoke_(request) : FakeAnswer{.body = ""};
  if (request.url != kTokenUrl) return FakeAnswer{.status = 404, .content_type = "text/plain"};
  if (request.Form("grant_type") == "authorization_code") {
    return on_code_ ? on_code_(request) : Token(kInitialToken, granted_);
  }
  return on_grant_ ? on_grant_(request)
                   : Token(absl::StrCat(kAccessToken, "-", request.Form("client_id")),
                           "launch/patient patient/*.rs");
}

inline absl::StatusOr<BegunEnrollment> EnrollmentTest::Begin(EnrollmentRequest request,
                                                             const Caller& caller) {
  absl::StatusOr<BegunEnrollment> begun = absl::UnknownError("no answer yet");
  manager().Begin(caller, std::move(request),
                  [&](absl::StatusOr<BegunEnrollment> result) { begun = std::move(result); });
  Note(begun.status());
  return begun;
}

inline std::string EnrollmentTest::StateOf(const BegunEnrollment& begun) {
  const size_t at = begun.authorization_url.find("&state=") + 7;
  return begun.authorization_url.substr(at, begun.authorization_url.find('&', at) - at);
}

inline std::shared_ptr<Enrolled> EnrollmentTest::Complete(const std::string& id,
                                                          const std::string& redirect,
                                                          const Caller& caller) {
  auto enrolled = std::make_shared<Enrolled>();
  manager().Complete(caller, id, Secret::CopyOf(redirect),
                     [this, enrolled](absl::StatusOr<RegistrationStore::Snapshot> result) {
                       ++enrolled->answers;
                       Note(result.status());
                       enrolled->result = std::move(result);
                     });
  return enrolled;
}

inline std::shared_ptr<Enrolled> EnrollmentTest::EnrollWithToken(
    EnrollmentRequest request, absl::optional<absl::Duration> expires_in) {
  request.redirect_uri.clear();
  auto enrolled = std::make_shared<Enrolled>();
  manager().EnrollWithInitialToken(
      Alice(), std::move(request), Secret::CopyOf(kInitialToken), expires_in,
      [this, enrolled](absl::StatusOr<RegistrationStore::Snapshot> result) {
        ++enrolled->answers;
        Note(result.status());
        enrolled->result = std::move(result);
      });
  return enrolled;
}

inline absl::Status EnrollmentTest::Cancel(const std::string& id, const Caller& caller) {
  absl::Status cancelled = absl::UnknownError("no answer yet");
  manager().Cancel(caller, id, [&](absl::Status status) { cancelled = std::move(status); });
  Note(cancelled);
  return cancelled;
}

inline std::shared_ptr<std::vector<EnrollmentProgress>> EnrollmentTest::Watch(
    const std::string& id) {
  auto steps = std::make_shared<std::vector<EnrollmentProgress>>();
  EXPECT_TRUE(
      manager()
          .Watch(Alice(), id, [steps](const EnrollmentProgress& step) { steps->push_back(step); })
          .ok());
  return steps;
}

inline RegistrationStore::Snapshot EnrollmentTest::Enroll(EnrollmentRequest request) {
  const absl::StatusOr<BegunEnrollment> begun = Begin(std::move(request));
  EXPECT_TRUE(begun.ok()) << begun.status();
  if (!begun.ok()) return nullptr;
  const auto enrolled = Complete(*begun);
  EXPECT_TRUE(enrolled->ok()) << enrolled->result.status();
  return enrolled->ok() ? *enrolled->result : nullptr;
}

inline std::string EnrollmentTest::TokenFor(const std::string& registration_id) {
  std::string told = "no answer";
  daemon_->tokens.GetAccessToken(
      TokenRequest{.registration_id = registration_id}, BootTime::InfiniteFuture(),
      [&](absl::StatusOr<TokenResult> result) {
        told = result.ok() ? std::string(result->token->value.RevealSecret())
                           : std::string(ReasonName(ReasonOf(result.status())));
      });
  return told;
}

inline size_t EnrollmentTest::Requests(const std::string& url) const {
  size_t count = 0;
  for (const RecordedRequest& request : daemon_->http.requests(url)) count += !request.probe;
  return count;
}

inline size_t EnrollmentTest::CodeExchanges() const {
  size_t count = 0;
  for (const RecordedRequest& request : daemon_->http.requests(kTokenUrl)) {
    count += request.Form("grant_type") == "authorization_code";
  }
  return count;
}

inline void EnrollmentTest::Note(const absl::Status& status) {
  absl::StrAppend(&messages_, status.ToString(absl::StatusToStringMode::kWithEverything), "\n",
                  RemedyOf(status), "\n");
}

inline void EnrollmentTest::CollectSecrets() {
  for (const RecordedRequest& request : daemon_->http.requests()) {
    for (const char* field : {"code_verifier", "assertion"}) {
      const std::string value = request.Form(field);
      if (!value.empty()) secrets_.push_back(value);
    }
  }
}

inline void EnrollmentTest::TearDown() {
  CollectSecrets();
  daemon_.reset();
  const std::string log = testing::internal::GetCapturedStderr();
  for (const std::string& secret : secrets_) {
    EXPECT_EQ(messages_.find(secret), std::string::npos) << "a secret is in a message";
    EXPECT_EQ(log.find(secret), std::string::npos) << "a secret is in the log";
  }
}

}  // namespace smartkey
