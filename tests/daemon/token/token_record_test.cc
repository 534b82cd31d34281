// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_record.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace smartkey {
namespace {

TokenKey Key() {
  return TokenKey{"registration-1", 3, "launch patient/*.rs"};
}

AccessToken Token() {
  AccessToken token;
  token.value = Secret("the-token");
  token.token_type = "Bearer";
  token.key_thumbprint = "thumbprint";
  token.expires = BootTime::FromSinceBoot(absl::Seconds(5000));
  token.expires_at = absl::FromUnixNanos(1'700'000'000'123'456'789);
  token.lifetime = absl::Minutes(55);
  token.refresh_after = BootTime::FromSinceBoot(absl::Seconds(3500) + absl::Nanoseconds(1));
  token.refresh_after_at = absl::FromUnixSeconds(1'699'999'000);
  token.granted = ParseScope("patient/*.rs launch");
  token.patient = Identifying("pat-1");
  token.fhir_user = Identifying("Practitioner/1");
  token.launch_context_json = Identifying("{\"encounter\":\"e-1\"}");
  return token;
}

std::string Bytes(const TokenKey& key, const AccessToken& token) {
  return std::string(EncodeTokenRecord(key, token).RevealSecret());
}

TEST(TokenRecord, TokenIsReadBack_EveryMemberIsAsItWas) {
  const absl::optional<TokenRecord> read = DecodeTokenRecord(Bytes(Key(), Token()));
  ASSERT_TRUE(read.has_value());
  EXPECT_FALSE(read->key < Key() || Key() < read->key);
  const AccessToken expected = Token();
  const AccessToken& token = read->token;
  EXPECT_EQ(token.value.RevealSecret(), "the-token");
  EXPECT_EQ(token.token_type, expected.token_type);
  EXPECT_EQ(token.key_thumbprint, expected.key_thumbprint);
  EXPECT_TRUE(token.expires == expected.expires);
  EXPECT_EQ(token.expires_at, expected.expires_at);
  EXPECT_EQ(token.lifetime, expected.lifetime);
  EXPECT_TRUE(token.refresh_after == expected.refresh_after);
  EXPECT_EQ(token.refresh_after_at, expected.refresh_after_at);
  EXPECT_TRUE(token.cacheable);
  EXPECT_EQ(token.granted, expected.granted);
  EXPECT_TRUE(token.patient == expected.patient);
  EXPECT_TRUE(token.fhir_user == expected.fhir_user);
  EXPECT_TRUE(token.launch_context_json == expected.launch_context_json);
}

TEST(TokenRecord, AnswerDidNotSayItsScope_IsNotTheSameAsAnEmptyOne) {
  AccessToken token = Token();
  token.granted = absl::nullopt;
  EXPECT_EQ(DecodeTokenRecord(Bytes(Key(), token))->token.granted, absl::nullopt);
  token.granted = ScopeSet();
  EXPECT_EQ(DecodeTokenRecord(Bytes(Key(), token))->token.granted, ScopeSet());
}

TEST(TokenRecord, RecordIsCutAnywhereOrGoesOn_IsNone) {
  const std::string bytes = Bytes(Key(), Token());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeTokenRecord(bytes.substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(DecodeTokenRecord(bytes + "x").has_value());
}

TEST(TokenRecord, AnyByteIsAnother_IsReadWithoutGoingAstray) {
  const std::string bytes = Bytes(Key(), Token());
  for (size_t place = 0; place < bytes.size(); ++place) {
    for (const char value : {'\0', '\1', '\x7f', '\x80', '\xff'}) {
      std::string changed = bytes;
      changed[place] = value;
      const absl::optional<TokenRecord> read = DecodeTokenRecord(changed);
      if (!read.has_value()) continue;
      EXPECT_LE(read->token.value.size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace smartkey
