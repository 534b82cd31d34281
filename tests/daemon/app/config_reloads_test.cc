// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_reloads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/daemon/app/config_directory.h"
#include "tests/fakes/fake_clock.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kMercy[] = R"(
[[server]]
name = "mercy"
fhir_base = "https://ehr.example/fhir"
)";
constexpr char kViewer[] = R"(
[[app]]
id = "org.example.viewer"
name = "Viewer"
redirect_uris = ["http://127.0.0.1/callback"]
scopes = ["launch/patient"]
[[app.client]]
servers = ["*"]
client_id = "viewer"
)";

// The files of a running daemon, and what it takes from them.
class ConfigReloadsTest : public testing::Test {
 protected:
  ConfigReloadsTest() {
    files_.WriteMain(kMercy);
    const Config started = *LoadConfig(files_.main_file());
    catalog_ = std::make_unique<CurrentCatalog>(started.catalog);
    reloads_ = std::make_unique<ConfigReloads>(
        files_.main_file(), started, *catalog_, clock_, [this] { ++wakes_; },
        [this](const Catalog& before, const Catalog& after) {
          swaps_.push_back(absl::StrCat(before.servers.size(), " to ", after.servers.size()));
        });
  }

  // As an administrator asks for it.
  absl::StatusOr<ConfigReload> Reload() {
    absl::StatusOr<ConfigReload> answer = MakeError(Reason::kInternal, "nothing was answered");
    reloads_->Reload([&](absl::StatusOr<ConfigReload> reload) { answer = std::move(reload); });
    reloads_->Run();
    return answer;
  }
  std::vector<std::string> ServerNames() const {
    std::vector<std::string> names;
    for (const Server& server : catalog_->Get()->servers) names.push_back(server.name);
    return names;
  }

  const ConfigDirectory files_;
  FakeClock clock_;
  std::unique_ptr<CurrentCatalog> catalog_;
  int wakes_ = 0;
  std::vector<std::string> swaps_;
  std::unique_ptr<ConfigReloads> reloads_;
};

TEST_F(ConfigReloadsTest, NothingHasChanged_NothingIsSwapped) {
  const auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, IsEmpty());
  EXPECT_THAT(reload->needs_restart, IsEmpty());
  EXPECT_THAT(reload->problems, IsEmpty());
  EXPECT_THAT(swaps_, IsEmpty());
}

TEST_F(ConfigReloadsTest, ServersAndAppsComeAndGo_AreInForceAndSaid) {
  files_.WriteRaw(files_.drop_in("apps.toml"), kViewer);
  files_.WriteMain(R"(
[[server]]
name = "grace"
fhir_base = "https://grace.example/fhir"
)");
  auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes,
              ElementsAre("app org.example.viewer is new",
                          "server mercy is gone: its registrations wait for its return",
                          "server grace is new"));
  EXPECT_THAT(ServerNames(), ElementsAre("grace"));
  EXPECT_THAT(swaps_, ElementsAre("1 to 1"));

  std::filesystem::remove(files_.drop_in("apps.toml"));
  reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, ElementsAre("app org.example.viewer is gone"));
}

TEST_F(ConfigReloadsTest, BlocksHaveOtherKeys_AreNamedKeyByKey) {
  files_.WriteRaw(files_.drop_in("apps.toml"), kViewer);
  ASSERT_TRUE(Reload().ok());
  files_.WriteRaw(files_.drop_in("apps.toml"), absl::StrCat(R"(
[[app]]
id = "org.example.viewer"
name = "Viewer"
redirect_uris = ["http://127.0.0.1/other"]
scopes = ["launch/patient"]
[[app.client]]
servers = ["*"]
client_id = "viewer-2"
)"));
  files_.WriteMain(absl::StrCat(kMercy, "profile = \"epic\"\nrequire_register_scope = false\n"));
  const auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(
      reload->changes,
      ElementsAre(
          "app org.example.viewer has another redirect_uris, client: for enrollments from now on",
          "server mercy has another profile, require_register_scope: for enrollments from now on"));
}

TEST_F(ConfigReloadsTest, ServerIsRenamed_IsTheSameServer) {
  files_.WriteMain(R"(
[[server]]
name = "mercy-hospital"
fhir_base = "https://ehr.example/fhir"
)");
  const auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, ElementsAre("server mercy is called mercy-hospital now"));
}

TEST_F(ConfigReloadsTest, OtherTablesChanged_CountAtTheNextStartAndAreNamedUntilThen) {
  files_.WriteMain(absl::StrCat("admin_group = \"adm\"\n[http]\nproxy = \"http://p:3128\"\n",
                                "[key_provider]\ntcti = \"swtpm:path=/x\"\n", kMercy));
  for (int time = 0; time < 2; ++time) {
    const auto reload = Reload();
    ASSERT_TRUE(reload.ok()) << reload.status();
    EXPECT_THAT(reload->needs_restart,
                ElementsAre("[daemon] admin_group", "[key_provider] tcti", "[http] proxy"));
    EXPECT_THAT(reload->changes, IsEmpty());
  }
  files_.WriteMain(kMercy);
  EXPECT_THAT(Reload()->needs_restart, IsEmpty());
}

TEST_F(ConfigReloadsTest, MainFileHasMistakes_AllIsAsBeforeAndTheyAreKept) {
  const absl::Time loaded = reloads_->state().loaded_at;
  clock_.Advance(absl::Minutes(1));
  files_.WriteMain("sokcet = \"/x\"\n[[server]]\nname = \"grace\"\n");
  const auto reload = Reload();
  EXPECT_EQ(ReasonOf(reload.status()), Reason::kConfigInvalid);
  EXPECT_THAT(std::string(reload.status().message()),
              HasSubstr("smartkeyd.toml:3: unknown key \"sokcet\""));
  EXPECT_THAT(std::string(reload.status().message()), HasSubstr("(and 1 more"));
  EXPECT_THAT(ServerNames(), ElementsAre("mercy"));
  EXPECT_THAT(swaps_, IsEmpty());
  EXPECT_EQ(reloads_->state().loaded_at, loaded);
  EXPECT_THAT(files_.Lines(reloads_->state().reload_errors),
              ElementsAre(HasSubstr("smartkeyd.toml:3"), HasSubstr("fhir_base")));

  files_.WriteMain(kMercy);
  ASSERT_TRUE(Reload().ok());
  EXPECT_THAT(reloads_->state().reload_errors, IsEmpty());
  EXPECT_EQ(reloads_->state().loaded_at, clock_.Now());
}

TEST_F(ConfigReloadsTest, DropInHasAMistake_TheRestIsInForceAndItIsSaid) {
  files_.WriteRaw(files_.drop_in("bad.toml"), "[[sever]]\n");
  files_.WriteRaw(files_.drop_in("good.toml"), kViewer);
  const auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, ElementsAre("app org.example.viewer is new"));
  EXPECT_THAT(files_.Lines(reload->problems), ElementsAre(HasSubstr("bad.toml:1")));
  EXPECT_THAT(files_.Lines(reloads_->state().problems), ElementsAre(HasSubstr("bad.toml:1")));
}

TEST_F(ConfigReloadsTest, SeveralAskAtOnce_AllAreToldOfOneReload) {
  int answers = 0;
  for (int i = 0; i < 3; ++i) {
    reloads_->Reload([&](const absl::StatusOr<ConfigReload>& reload) {
      EXPECT_TRUE(reload.ok());
      EXPECT_THAT(reload->changes, ElementsAre("app org.example.viewer is new"));
      ++answers;
    });
  }
  files_.WriteRaw(files_.drop_in("apps.toml"), kViewer);
  EXPECT_EQ(wakes_, 3);
  EXPECT_EQ(answers, 0);
  reloads_->Run();
  EXPECT_EQ(answers, 3);
  reloads_->Run();  // the second of three signals
  EXPECT_EQ(answers, 3);
}

TEST_F(ConfigReloadsTest, ValuesOfKeys_AreNotSaid) {
  files_.WriteMain(absl::StrCat("[key_provider]\ntype = \"pkcs11\"\nuri = \"pkcs11:token=t\"\n",
                                "init_args = \"secret-argument\"\n", kMercy));
  const auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->needs_restart, Not(testing::Contains(HasSubstr("secret-argument"))));
  EXPECT_THAT(reload->needs_restart, testing::Contains("[key_provider] init_args"));
}

TEST_F(ConfigReloadsTest, OtherPolicies_AreInForceAtOnceAndSaid) {
  files_.WriteMain(absl::StrCat(kMercy, "[[policy]]\nallow_enroll = [\"user:viewer\"]\n"));
  auto reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, ElementsAre(HasSubstr("the policies are others: 1 now, 0 before")));
  EXPECT_EQ(swaps_.size(), 1u);
  ASSERT_EQ(catalog_->Get()->policies.size(), 1u);
  EXPECT_TRUE(catalog_->Get()->policies[0].allow_enroll.has_value());
  // Moved by a comment, they are the same ones.
  files_.WriteMain(
      absl::StrCat("# A comment.\n", kMercy, "[[policy]]\nallow_enroll = [\"user:viewer\"]\n"));
  reload = Reload();
  ASSERT_TRUE(reload.ok()) << reload.status();
  EXPECT_THAT(reload->changes, IsEmpty());
}

}  // namespace
}  // namespace smartkey
