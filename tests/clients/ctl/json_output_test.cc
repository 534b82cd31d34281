// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/json_output.h"

#include "base/error.h"
#include "gtest/gtest.h"

// What scripts read. A change of an expectation here is a change of "version", unless it only adds.
namespace smartkey::ctl {
namespace {

TEST(JsonOutput, OfARegistrationIsTheOneDescribed) {
  client::Registration registration;
  registration.id = "r-1";
  registration.name = "mercy";
  registration.label = "Mum";
  registration.owner = {1000, "alice"};
  registration.relation = client::Relation::kOwn;
  registration.app = "org.example.viewer";
  registration.server = "mercy";
  registration.fhir_base = "https://ehr.example.com/fhir";
  registration.state = client::RegistrationState::kSuspect;
  registration.state_words = "waiting for the server";
  registration.user_action = UserAction::kRetryLater;
  registration.cause = client::Cause{Reason::kRefusedByServer, "wait", absl::Milliseconds(1500)};
  registration.scopes = {"patient/*.rs"};
  registration.created_at = absl::FromUnixSeconds(1767225600);
  registration.patient = "p-7";
  registration.operations = {"TOKEN", "MANAGE"};
  client::Generation generation;
  generation.number = 1;
  generation.state = client::RegistrationState::kSuspect;
  generation.client_id = "dyn-1";
  client::Key key;
  key.algorithm = "ES384";
  key.thumbprint = "thumb";
  key.provider = client::KeyProviderType::kTpm;
  key.attributes = {{"fixedtpm", true}, {"decrypt", false}};
  key.public_jwk = R"({"kty":"EC"})";
  key.tpm_public = std::string("\x00\xff\x01", 3);
  generation.key = key;
  registration.generation = generation;
  EXPECT_EQ(ToJsonDocument({{"registration", ToJson(registration)}}), R"({
  "registration": {
    "app": "org.example.viewer",
    "cause": {
      "reason": "REFUSED_BY_SERVER",
      "remedy": "wait",
      "retry_after_seconds": 2
    },
    "context_varies": false,
    "created_at": "2026-01-01T00:00:00Z",
    "fhir_base": "https://ehr.example.com/fhir",
    "generation": {
      "client_id": "dyn-1",
      "key": {
        "algorithm": "ES384",
        "attributes": {
          "decrypt": false,
          "fixedtpm": true
        },
        "provider": "TPM",
        "public_jwk": {
          "kty": "EC"
        },
        "thumbprint": "thumb",
        "tpm_public": "AP8B"
      },
      "number": 1,
      "state": "SUSPECT"
    },
    "id": "r-1",
    "label": "Mum",
    "name": "mercy",
    "operations": [
      "TOKEN",
      "MANAGE"
    ],
    "owner": {
      "name": "alice",
      "uid": 1000
    },
    "patient": "p-7",
    "relation": "OWN",
    "scopes": [
      "patient/*.rs"
    ],
    "server": "mercy",
    "shares": [],
    "shares_only": false,
    "state": "SUSPECT",
    "state_words": "waiting for the server",
    "user_action": "RETRY_LATER",
    "warnings": []
  },
  "version": 1
}
)");
}

TEST(JsonOutput, OfATokenIsTheOneDescribed) {
  client::AccessToken token;
  token.token = Secret::CopyOf("fake.token");
  token.type = "Bearer";
  token.expires_at = absl::FromUnixSeconds(1767225600);
  token.source = client::TokenSource::kStaleValid;
  token.scope = "patient/*.rs";
  token.fhir_base = "https://ehr.example.com/fhir";
  token.launch_context = R"({"encounter":"e-1"})";
  token.registration = "r-1";
  token.generation = 2;
  token.refresh_error = client::Cause{Reason::kNoNetwork, "connect", absl::nullopt};
  EXPECT_EQ(ToJsonDocument(RevealToJson(token)), R"({
  "access_token": "fake.token",
  "expires_at": "2026-01-01T00:00:00Z",
  "fhir_base": "https://ehr.example.com/fhir",
  "generation": 2,
  "launch_context": {
    "encounter": "e-1"
  },
  "min_valid_unmet": false,
  "refresh_error": {
    "reason": "NO_NETWORK",
    "remedy": "connect"
  },
  "registration": "r-1",
  "scope": "patient/*.rs",
  "scope_assumed": false,
  "scope_narrowed": false,
  "source": "STALE_VALID",
  "token_type": "Bearer",
  "version": 1
}
)");
}

TEST(JsonOutput, OfAnErrorHasReasonActionAndExitCode) {
  const absl::Status error =
      WithRetryAfter(MakeError(Reason::kServerBusy, "the server is busy"), absl::Seconds(30));
  const nlohmann::json json = ToJson(error);
  EXPECT_EQ(json["reason"], "SERVER_BUSY");
  EXPECT_EQ(json["user_action"], "RETRY_LATER");
  EXPECT_EQ(json["message"], "the server is busy");
  EXPECT_EQ(json["remedy"], std::string(RowFor(Reason::kServerBusy).remedy));
  EXPECT_EQ(json["exit_code"], 5);
  EXPECT_EQ(json["retry_after_seconds"], 30);
}

TEST(JsonOutput, OfAStatusHasItsListsAlsoWhenTheyAreEmpty) {
  const nlohmann::json json = ToJson(client::DaemonStatus());
  EXPECT_TRUE(json["servers"].is_array());
  EXPECT_TRUE(json["config_problems"].is_array());
  EXPECT_TRUE(json["registrations"].is_object());
  EXPECT_EQ(json["store"]["available"], false);
  EXPECT_EQ(json["uptime_seconds"], 0);
}

TEST(JsonOutput, ControlCharactersAndBrokenTextAreEscaped) {
  client::Registration registration;
  registration.label = "a\x1b[2J\x7f\xc2\x9b\xff";
  const std::string text = ToJsonDocument({{"registration", ToJson(registration)}});
  for (const char c : text) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  }
  EXPECT_TRUE(nlohmann::json::accept(text));
}

}  // namespace
}  // namespace smartkey::ctl
