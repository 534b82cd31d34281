// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/url.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

TEST(ParseUrl, AUrlInItsPartsIsTheSameUrlAgain) {
  for (const char* text : {"https://ehr.example.com", "https://ehr.example.com:8443/fhir/R4?a=b&c",
                           "http://127.0.0.1:80/", "https://[2001:db8::1]:8443/x",
                           "https://ehr.example.com?q", "https://ehr.example.com/p?"}) {
    const auto url = ParseUrl(text);
    ASSERT_TRUE(url.ok()) << text;
    EXPECT_EQ(url->ToString(), text);
  }
}

TEST(ParseUrl, WhatAnotherParserCouldReadDifferentlyIsRefused) {
  for (const char* text : {"",
                           "ehr.example.com",
                           "/fhir",
                           "ftp://ehr.example.com",
                           "javascript://x",
                           "https://",
                           "https:///fhir",
                           "https://user@ehr.example.com",
                           "https://user:pw@ehr.example.com/",
                           "https://ehr.example.com#frag",
                           "https://ehr.example.com\\@evil.example/",
                           "https://a b/",
                           "https://ehr.example.com/a b",
                           "https://ehr.example.com/\x01",
                           "https://ehr.example.com/\xC3\xA4",
                           "https://ehr.ex\xC3\xA4mple.com",
                           "https://h:0/",
                           "https://h:65536/",
                           "https://h:/",
                           "https://h:+1/",
                           "https://h:8x/",
                           "https://h:00000080/",
                           "https://[::1",
                           "https://[::g]/",
                           "https://[::1]x/",
                           "https://h\r\nx/",
                           "https://h%41/",
                           "https://a:b:c/"}) {
    EXPECT_FALSE(ParseUrl(text).ok()) << text;
  }
}

TEST(OriginOf, ShowsNoPathQueryOrDefaultPort) {
  EXPECT_EQ(OriginOf("https://EHR.example.com:443/fhir?code=secret"), "https://ehr.example.com");
  EXPECT_EQ(OriginOf("https://ehr.example.com:8443"), "https://ehr.example.com:8443");
  EXPECT_EQ(OriginOf("https://ehr.example.com/x#access_token=secret"), "https://ehr.example.com");
  EXPECT_EQ(OriginOf("secret"), "an unreadable url");
}

TEST(IsIpLiteral, KnowsEverySpellingOfAnAddress) {
  for (const char* host : {"127.0.0.1", "10.1.2.3", "127.1", "2130706433", "0x7f000001", "0x7f.1",
                           "127.0.0.1.", "[::1]", "017700000001"}) {
    EXPECT_TRUE(IsIpLiteral(host)) << host;
  }
  for (const char* host :
       {"ehr.example.com", "1.example", "localhost", "a.b1", "127.0.0.1.example"}) {
    EXPECT_FALSE(IsIpLiteral(host)) << host;
  }
}

TEST(SchemeAllowed, PlainHttpOnlyToLoopbackAndOnlyWhenAllowed) {
  EXPECT_TRUE(SchemeAllowed(*ParseUrl("https://ehr.example.com"), false));
  for (const char* loopback : {"http://127.0.0.1:8080", "http://[::1]/", "http://localhost"}) {
    EXPECT_TRUE(SchemeAllowed(*ParseUrl(loopback), true)) << loopback;
    EXPECT_FALSE(SchemeAllowed(*ParseUrl(loopback), false)) << loopback;
  }
  for (const char* other : {"http://ehr.example.com", "http://10.0.0.1", "http://127.1",
                            "http://0x7f000001", "http://localhost.example.com", "http://[::2]"}) {
    EXPECT_FALSE(SchemeAllowed(*ParseUrl(other), true)) << other;
  }
}

}  // namespace
}  // namespace smartkey
