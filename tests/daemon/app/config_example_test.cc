// SPDX-License-Identifier: Apache-2.0
// The example in docs is right, and shows every key with its default.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "tests/daemon/app/config_directory.h"

namespace smartkey {
namespace {

std::string Example() {
  const char* path = getenv("SMARTKEY_EXAMPLE_CONFIG");
  std::ifstream file(path != nullptr ? path : "docs/smartkeyd.toml.example");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The example, with the way to the real apps.d replaced by this test's directory.
std::string At(const ConfigDirectory& dir, const std::string& example) {
  return std::regex_replace(example, std::regex("#?apps_dir = .*"),
                            absl::StrCat("apps_dir = \"", dir.main_file(), ".d/none\""));
}

TEST(ExampleConfig, AsItIs_HasNoProblems) {
  ASSERT_FALSE(Example().empty());
  const ConfigDirectory dir;
  dir.WriteRaw(dir.main_file(), At(dir, Example()));
  EXPECT_EQ(dir.Errors(), std::vector<std::string>());
  const Config config = dir.Read().config;
  ASSERT_EQ(config.catalog.apps.size(), 1u);
  ASSERT_EQ(config.catalog.servers.size(), 1u);
  EXPECT_EQ(config.catalog.apps[0].id, "org.example.viewer");
  EXPECT_EQ(config.catalog.servers[0].name, "mercy");
}

TEST(ExampleConfig, EveryCommentedKeyTakenIn_IsAKnownKey) {
  const ConfigDirectory dir;
  std::string text = std::regex_replace(Example(), std::regex(R"(\n#(\[\[|[a-z_]+ = ))"), "\n$1");
  text = std::regex_replace(text, std::regex("\ntype = \"tpm\"\n"), "\ntype = \"pkcs11\"\n");
  text = std::regex_replace(text, std::regex("\ntcti = [^\n]*\n"), "\n");
  dir.WriteRaw(dir.main_file(), At(dir, text));
  EXPECT_EQ(dir.Errors(), std::vector<std::string>());
}

TEST(ExampleConfig, ShowsTheDefaults) {
  const std::string example = Example();
  const Config defaults;
  for (const std::string& line :
       {absl::StrCat("#socket = \"", defaults.daemon.socket, "\""),
        absl::StrCat("#admin_socket = \"", defaults.daemon.admin_socket, "\""),
        absl::StrCat("#state_dir = \"", defaults.daemon.state_dir, "\""),
        absl::StrCat("#admin_group = \"", defaults.daemon.admin_group, "\""),
        absl::StrCat("#apps_dir = \"", defaults.daemon.apps_dir, "\""),
        absl::StrCat("#type = \"", defaults.key_provider.type, "\""),
        absl::StrCat("#tcti = \"", defaults.key_provider.tcti, "\""),
        absl::StrCat("#max_sessions = ", defaults.key_provider.max_sessions),
        absl::StrCat("#isolation = \"", defaults.key_provider.isolation, "\"")}) {
    EXPECT_TRUE(absl::StrContains(example, absl::StrCat("\n", line, "\n"))) << line;
  }
}

}  // namespace
}  // namespace smartkey
