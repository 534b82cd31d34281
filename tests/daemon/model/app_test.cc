// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/app.h"

#include <gtest/gtest.h>

namespace smartkey {
namespace {

App MakeApp() {
  App app;
  app.clients = {{{"mercy", "st-*"}, "first", "first"}, {{"sandbox-?"}, "second", "second"}};
  return app;
}

TEST(App, ServerNameIsMatchedAgainstTheGlobs) {
  const App app = MakeApp();
  ASSERT_NE(app.FindClient("mercy"), nullptr);
  EXPECT_EQ(app.FindClient("mercy")->client_id, "first");
  EXPECT_EQ(app.FindClient("st-anna")->client_id, "first");
  EXPECT_EQ(app.FindClient("sandbox-2")->client_id, "second");
}

TEST(App, NoGlobMatches_Null) {
  EXPECT_EQ(MakeApp().FindClient("sandbox-10"), nullptr);
  EXPECT_EQ(MakeApp().FindClient("Mercy"), nullptr);
}

TEST(App, SeveralBlocksMatch_TheFirstCounts) {
  App app = MakeApp();
  app.clients.push_back({{"*"}, "last", "last"});
  EXPECT_EQ(app.FindClient("mercy")->client_id, "first");
  EXPECT_EQ(app.FindClient("elsewhere")->client_id, "last");
}

}  // namespace
}  // namespace smartkey
