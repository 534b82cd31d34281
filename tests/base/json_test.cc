// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"

namespace smartkey {
namespace {

std::string Nested(int depth) {
  return std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']');
}

TEST(ParseJson, EveryKindOfValue_IsRead) {
  EXPECT_EQ(ParseJson(R"( {"a":[1,-2,3.5,true,null,"\u00e4"]} )").value()["a"].size(), 6u);
  EXPECT_EQ(ParseJson("\"text\"").value(), "text");
  EXPECT_EQ(ParseJson("3600").value(), 3600);
}

TEST(ParseJson, AnythingButOneValue_IsRefused) {
  for (const char* text : {"", " ", "{", "{}x", "{} {}", "[1,]", "{\"a\":1,}", "{'a':1}",
                           "// x\n{}", "nul", "NaN", "01", "\"\t\"", "<html></html>"}) {
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
  EXPECT_FALSE(ParseJson(absl::string_view("{}\0{", 4)).ok());
  EXPECT_FALSE(ParseJson(absl::string_view("\0{}", 3)).ok());
}

TEST(ParseJson, ByteOrderMarkOrInvalidUtf8_IsRefused) {
  EXPECT_FALSE(ParseJson("\xEF\xBB\xBF{}").ok());
  EXPECT_FALSE(ParseJson("\"\xff\"").ok());
  EXPECT_FALSE(ParseJson("\"\xc0\xaf\"").ok());
  EXPECT_FALSE(ParseJson("\"\xed\xa0\x80\"").ok());  // half of a surrogate pair
}

TEST(ParseJson, MemberNamedTwice_IsRefusedAtEveryLevel) {
  EXPECT_FALSE(ParseJson(R"({"a":1,"a":2})").ok());
  EXPECT_FALSE(ParseJson(R"({"b":[{"a":1,"\u0061":2}]})").ok());
  EXPECT_TRUE(ParseJson(R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})").ok());
}

TEST(ParseJson, DeeperThanAllowed_IsRefused) {
  EXPECT_TRUE(ParseJson(Nested(32)).ok());
  EXPECT_FALSE(ParseJson(Nested(33)).ok());
  EXPECT_FALSE(ParseJson(Nested(1'000'000)).ok());
  EXPECT_TRUE(ParseJson(Nested(3), 3).ok());
  EXPECT_FALSE(ParseJson(Nested(4), 3).ok());
}

TEST(ParseJson, NumberTooLarge_DoesNotThrow) {
  EXPECT_FALSE(ParseJson("1e999").ok());
  EXPECT_TRUE(ParseJson("1e308").ok());
  EXPECT_TRUE(ParseJson("123456789012345678901234567890").ok());
}

TEST(ParseJson, Errors_NeverQuoteTheText) {
  for (const char* text :
       {R"({"access_token":"top-secret")", R"({"a":1,"a":"top-secret"})", "top-secret"}) {
    const absl::Status status = ParseJson(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(absl::StrContains(status.ToString(), "secret")) << status;
  }
}

TEST(FindString, OnlyAStringOfAnObjectIsFound) {
  const nlohmann::json object = {{"text", "x"}, {"number", 1}, {"null", nullptr}};
  EXPECT_EQ(FindString(object, "text"), "x");
  EXPECT_EQ(FindString(object, "number"), absl::nullopt);
  EXPECT_EQ(FindString(object, "null"), absl::nullopt);
  EXPECT_EQ(FindString(object, "absent"), absl::nullopt);
  EXPECT_EQ(FindString(nlohmann::json::array({"text"}), "text"), absl::nullopt);
  EXPECT_EQ(FindString("text", "text"), absl::nullopt);
}

TEST(ToJsonText, IsCompactAndReplacesWhatIsNotUtf8) {
  EXPECT_EQ(ToJsonText({{"b", 1}, {"a", "\xc3\xa4"}}), "{\"a\":\"\xc3\xa4\",\"b\":1}");
  EXPECT_EQ(ToJsonText("\xff"), "\"\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace smartkey
