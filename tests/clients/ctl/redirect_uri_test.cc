// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_uri.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

using testing::ElementsAre;

TEST(LoopbackUri, WithoutAPortTakesAnyAndKeepsItsSpelling) {
  const auto uri = ParseLoopbackUri("http://127.0.0.1/callback");
  ASSERT_TRUE(uri.has_value());
  EXPECT_FALSE(uri->port.has_value());
  EXPECT_EQ(uri->WithPort(4711), "http://127.0.0.1:4711/callback");
  EXPECT_EQ(uri->Authority(4711), "127.0.0.1:4711");
  EXPECT_THAT(uri->BindAddresses(), ElementsAre("127.0.0.1"));
}

TEST(LoopbackUri, EverySpellingOfLoopbackIsTaken) {
  EXPECT_EQ(ParseLoopbackUri("http://localhost:8080/cb")->port, 8080);
  EXPECT_THAT(ParseLoopbackUri("http://localhost:8080/cb")->BindAddresses(),
              ElementsAre("127.0.0.1", "::1"));
  EXPECT_THAT(ParseLoopbackUri("http://[::1]:9/")->BindAddresses(), ElementsAre("::1"));
  EXPECT_EQ(ParseLoopbackUri("http://[::1]/cb")->WithPort(9), "http://[::1]:9/cb");
  EXPECT_EQ(ParseLoopbackUri("http://127.0.0.1")->path, "/");
  EXPECT_EQ(ParseLoopbackUri("http://127.0.0.1:5?x=1")->WithPort(5), "http://127.0.0.1:5/?x=1");
  EXPECT_EQ(ParseLoopbackUri("http://127.0.0.1/cb?x=1")->path, "/cb");
}

TEST(LoopbackUri, OthersAreNotListenedAt) {
  for (const char* uri :
       {"", "https://127.0.0.1/cb", "https://app.example/cb", "org.example.viewer:/cb",
        "http://127.0.0.1.example.com/cb", "http://127.0.0.1:0/", "http://127.0.0.1:65536/",
        "http://127.0.0.1:x/", "http://127.0.0.1:/cb", "http://localhost.example/",
        "http://user@127.0.0.1/", "http://127.0.0.1/cb#f", "http://10.0.0.1/cb"}) {
    EXPECT_FALSE(ParseLoopbackUri(uri).has_value()) << uri;
  }
}

TEST(RedirectQuery, IsCutOutOfWhatIsPasted) {
  EXPECT_EQ(RedirectQueryOf("http://127.0.0.1:1/cb?code=a&state=b"), "code=a&state=b");
  EXPECT_EQ(RedirectQueryOf("  code=a&state=b \n"), "code=a&state=b");
  EXPECT_EQ(RedirectQueryOf("https://x/?state=b&error=access_denied#top"),
            "state=b&error=access_denied");
}

TEST(RedirectQuery, OfOtherTextIsAbsent) {
  for (const char* text : {"", "http://127.0.0.1/cb", "hello", "http://x/?xcode=1", "?", "code"}) {
    EXPECT_FALSE(RedirectQueryOf(text).has_value()) << text;
  }
}

TEST(State, OfAnAuthorizationUrlIsDecoded) {
  EXPECT_EQ(StateOfUrl("https://x/a?client_id=c&state=a%2Bb%2f+%#state=f").RevealSecret(),
            "a+b/ %");
  for (const char* url : {"https://x/a", "https://x/a?xstate=1", "https://x/a?state=1&state=1",
                          "https://x/a?state", "https://x/state=1"}) {
    EXPECT_TRUE(StateOfUrl(url).empty()) << url;
  }
}

TEST(State, OfARedirectMustBeTheSameUnlessItIsNotKnown) {
  EXPECT_TRUE(HasState("code=a&state=s%2D1", "s-1"));
  EXPECT_TRUE(HasState("state=s&code=a?b", "s"));
  for (const char* query : {"", "code=a", "code=a&state=", "state=S", "state=s&state=s"}) {
    EXPECT_FALSE(HasState(query, "s")) << query;
    EXPECT_TRUE(HasState(query, "")) << query;
  }
}

}  // namespace
}  // namespace smartkey::ctl
