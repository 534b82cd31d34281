// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/token/token_manager.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"
#include "tests/fakes/fake_scheduler.h"
#include "tests/fakes/fake_token_minter.h"

namespace smartkey {

inline constexpr char kEndpoint[] = "https://ehr.example/token";

inline Generation MakeGeneration(int number, GenerationState state, bool has_had_a_token) {
  Generation generation;
  generation.number = number;
  generation.state = state;
  generation.enrollment_id = absl::StrCat("enrollment-", number);
  generation.client_id = absl::StrCat("client-", number);
  generation.token_endpoint = kEndpoint;
  generation.assertion_audience = kEndpoint;
  generation.created_at = absl::FromUnixSeconds(1'700'000'000);
  if (has_had_a_token) generation.first_token_at = generation.created_at;
  return generation;
}

// ACTIVE, with the patient pinned.
inline Registration MakeRegistration(const std::string& id, std::string endpoint = kEndpoint) {
  Registration registration;
  registration.id = id;
  registration.owner_uid = 1000;
  registration.owner_name = "alice";
  registration.app_id = "org.example.viewer";
  registration.server_name = "mercy";
  registration.fhir_base = "https://ehr.example/fhir";
  registration.name = Identifying(absl::StrCat("name-", id));
  registration.patient = Identifying("patient-1");
  registration.created_at = absl::FromUnixSeconds(1'700'000'000);
  registration.generations = {MakeGeneration(1, GenerationState::kActive, true)};
  registration.generations[0].client_id = absl::StrCat("client-of-", id);
  registration.generations[0].enrollment_id = absl::StrCat("enrollment-of-", id);
  registration.generations[0].token_endpoint = std::move(endpoint);
  return registration;
}

// One call of GetAccessToken and what came of it.
struct Asked {
  TokenManager::RequestId id = 0;
  int answers = 0;
  absl::StatusOr<TokenResult> result = absl::UnknownError("no answer yet");

  bool ok() const { return answers == 1 && result.ok(); }
  Reason reason() const { return answers == 0 ? Reason::kUnspecified : ReasonOf(result.status()); }
  std::string value() const {
    return ok() ? std::string(result->token->value.RevealSecret()) : std::string("no token");
  }
  TokenSource source() const { return ok() ? result->source : static_cast<TokenSource>(-1); }
};

inline Catalog MakeCatalog() {
  Server server;
  server.name = "mercy";
  server.fhir_base = "https://ehr.example/fhir";
  return Catalog{{}, {server}};
}

class TokenManagerTest : public testing::Test {
 protected:
  TokenManagerTest() { Add(MakeRegistration("r1")); }

  void Add(Registration registration) {
    absl::Status inserted;
    store_.Insert(std::move(registration), [&](absl::Status status) { inserted = status; });
    EXPECT_TRUE(inserted.ok()) << inserted;
  }

  void Change(const std::string& id, std::function<void(Registration&)> change) {
    store_.Update(
        id,
        [&](Registration& registration) {
          change(registration);
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> done) { EXPECT_TRUE(done.ok()); });
  }

  std::shared_ptr<Asked> Ask(TokenRequest request, BootTime deadline = BootTime::InfiniteFuture()) {
    auto asked = std::make_shared<Asked>();
    asked->id = manager_->GetAccessToken(std::move(request), deadline,
                                         [asked](absl::StatusOr<TokenResult> result) {
                                           ++asked->answers;
                                           asked->result = std::move(result);
                                         });
    return asked;
  }
  std::shared_ptr<Asked> Ask(const std::string& id = "r1", ScopeSet scopes = {}) {
    return Ask(TokenRequest{.registration_id = id, .scopes = std::move(scopes)});
  }

  // A token in the cache, the way one gets there.
  void Cache(std::string value, absl::Duration lifetime, const std::string& id = "r1") {
    minter_.Script(minter_.Token(std::move(value), lifetime, "patient-1"));
    ASSERT_TRUE(Ask(id)->ok());
  }

  AccessToken Token(std::string value, absl::Duration lifetime = absl::Hours(1)) {
    return minter_.Token(std::move(value), lifetime, "patient-1");
  }
  static absl::Status Refusal() {
    return MakeError(Reason::kRefusedByServer, "the server answered invalid_grant");
  }
  Generation Stored(const std::string& id = "r1") const {
    return store_.Find(id)->generations.back();
  }

  FakeClock clock_;
  FakeScheduler scheduler_{clock_};
  CurrentCatalog catalog_{MakeCatalog()};
  FakeRegistrationStore store_;
  FakeTokenMinter minter_{clock_};
  std::unique_ptr<TokenManager> manager_ =
      std::make_unique<TokenManager>(catalog_, store_, minter_, scheduler_, clock_);
};

}  // namespace smartkey
