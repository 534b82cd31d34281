// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config.h"
#include "daemon/access/share_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cerrno>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "tests/base/access_list_octets.h"
#include "tests/daemon/app/config_directory.h"

namespace smartkey {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr char kApp[] = R"([[app]]
id = "org.example.viewer"
redirect_uris = ["http://127.0.0.1/callback"]
[[app.client]]
client_id = "viewer"
)";
constexpr char kServer[] = R"([[server]]
name = "mercy"
fhir_base = "https://ehr.example.com/fhir"
)";

TEST(Config, NearlyEmptyFile_GivesTheDefaults) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  const ConfigReport report = dir.Read();
  EXPECT_THAT(dir.Errors(), IsEmpty());
  EXPECT_EQ(report.config.daemon.socket, "/run/smartkeyd/smartkeyd.sock");
  EXPECT_EQ(report.config.daemon.admin_socket, "/run/smartkeyd-admin/admin.sock");
  EXPECT_EQ(report.config.daemon.state_dir, "/var/lib/smartkeyd");
  EXPECT_EQ(report.config.daemon.admin_group, "smartkey-admin");
  EXPECT_EQ(report.config.key_provider.type, "tpm");
  EXPECT_EQ(report.config.key_provider.tcti, "device:/dev/tpmrm0");
  EXPECT_TRUE(report.config.catalog.apps.empty());
}

TEST(Config, EveryKey_ComesOutWhereItBelongs) {
  const ConfigDirectory dir;
  dir.WriteMain(R"(socket = "/tmp/s"
admin_socket = "/tmp/a"
state_dir = "/tmp/state"
admin_group = "admins"
[key_provider]
type = "pkcs11"
uri = "pkcs11:token=clinic"
module = "/usr/lib/m.so"
pin_file = "/run/pin"
init_args = "x=y"
environment = ["A=b"]
max_sessions = 3
strict_attributes = false
isolation = "none"
[http]
proxy = "http://proxy.example:3128"
no_proxy = ["inside.example"]
ca_file = "/etc/ca.pem"
[[app]]
id = "org.example.viewer"
name = "Viewer"
redirect_uris = ["http://127.0.0.1/callback", "com.example.viewer:/back"]
scopes = ["openid", "patient/*.rs"]
[[app.client]]
servers = ["sandbox-*"]
client_id = "c1"
software_id = "s1"
[[app.client]]
client_id = "c2"
[[server]]
name = "mercy"
fhir_base = "http://127.0.0.1:8080/fhir/"
profile = "epic"
ca_file = "/etc/mercy.pem"
assertion_audience = "urn:mercy"
registration_body = "explicit"
require_register_scope = false
allow_loopback_http = true
authorization_endpoint = "https://e/a"
token_endpoint = "https://e/t?x=1"
registration_endpoint = "http://localhost/r"
)");
  const absl::StatusOr<Config> loaded = LoadConfig(dir.main_file());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Config& config = *loaded;
  EXPECT_EQ(config.daemon.socket, "/tmp/s");
  EXPECT_EQ(config.daemon.admin_socket, "/tmp/a");
  EXPECT_EQ(config.daemon.state_dir, "/tmp/state");
  EXPECT_EQ(config.daemon.admin_group, "admins");
  EXPECT_EQ(config.key_provider.type, "pkcs11");
  EXPECT_EQ(config.key_provider.uri, "pkcs11:token=clinic");
  EXPECT_EQ(config.key_provider.module, "/usr/lib/m.so");
  EXPECT_EQ(config.key_provider.pin_file, "/run/pin");
  EXPECT_EQ(config.key_provider.init_args, "x=y");
  EXPECT_EQ(config.key_provider.environment, std::vector<std::string>{"A=b"});
  EXPECT_EQ(config.key_provider.max_sessions, 3);
  EXPECT_FALSE(config.key_provider.strict_attributes);
  EXPECT_EQ(config.key_provider.isolation, "none");
  EXPECT_EQ(config.http.proxy, "http://proxy.example:3128");
  EXPECT_THAT(config.http.no_proxy, ElementsAre("inside.example"));
  EXPECT_EQ(config.http.ca_file, "/etc/ca.pem");

  ASSERT_EQ(config.catalog.apps.size(), 1u);
  const App& app = config.catalog.apps[0];
  EXPECT_EQ(app.name, "Viewer");
  EXPECT_THAT(app.redirect_uris,
              ElementsAre("http://127.0.0.1/callback", "com.example.viewer:/back"));
  EXPECT_THAT(app.scopes, ElementsAre("openid", "patient/*.rs"));
  ASSERT_EQ(app.clients.size(), 2u);
  EXPECT_THAT(app.clients[0].servers, ElementsAre("sandbox-*"));
  EXPECT_EQ(app.clients[0].client_id, "c1");
  EXPECT_EQ(app.clients[0].software_id, "s1");
  EXPECT_THAT(app.clients[1].servers, ElementsAre("*"));
  EXPECT_EQ(app.clients[1].software_id, "c2");  // as client_id

  ASSERT_EQ(config.catalog.servers.size(), 1u);
  const Server& server = config.catalog.servers[0];
  EXPECT_EQ(server.fhir_base, "http://127.0.0.1:8080/fhir");
  EXPECT_EQ(server.profile, ServerProfile::kEpic);
  EXPECT_EQ(server.ca_file, "/etc/mercy.pem");
  EXPECT_EQ(server.assertion_audience, "urn:mercy");
  EXPECT_EQ(server.registration_body, RegistrationBody::kExplicit);
  EXPECT_FALSE(server.require_register_scope);
  EXPECT_TRUE(server.allow_loopback_http);
  EXPECT_EQ(server.authorization_endpoint, "https://e/a");
  EXPECT_EQ(server.token_endpoint, "https://e/t?x=1");
  EXPECT_EQ(server.registration_endpoint, "http://localhost/r");
}

TEST(Config, UnknownKey_IsNamedWithFileLineAndNearestKey) {
  const ConfigDirectory dir;
  dir.WriteMain("sokcet = \"/tmp/s\"\n[key_provider]\ntypo = 1\n[htpp]\n[[servers]]\n");
  EXPECT_THAT(
      dir.Errors(),
      testing::UnorderedElementsAre(
          R"(smartkeyd.toml:3: unknown key "sokcet" in [daemon]; did you mean "socket"?)",
          R"(smartkeyd.toml:5: unknown key "typo" in [key_provider]; did you mean "type"?)",
          R"(smartkeyd.toml:6: unknown key "htpp" in the file; did you mean "http"?)",
          R"(smartkeyd.toml:7: unknown key "servers" in the file; did you mean "server"?)"));
}

TEST(Config, UnknownKeyInsideABlock_NamesTheBlock) {
  const ConfigDirectory dir;
  dir.WriteMain(absl::StrCat(kApp, "sofware_id = \"x\"\n", kServer, "ca_fiel = \"/x\"\n"));
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(
          R"(smartkeyd.toml:8: unknown key "sofware_id" in [[app.client]]; did you mean "software_id"?)",
          R"(smartkeyd.toml:12: unknown key "ca_fiel" in [[server]]; did you mean "ca_file"?)"));
}

TEST(Config, SeveralMistakes_AllAreFound) {
  const ConfigDirectory dir;
  dir.WriteMain(R"(socket = 5
state_dir = "relative"
[key_provider]
type = "software"
max_sessions = 0
[http]
no_proxy = ["fine", 7]
[[app]]
id = "viewer"
redirect_uris = []
[[server]]
name = "a/b"
fhir_base = "http://ehr.example.com"
profile = "other"
require_register_scope = "yes"
)");
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(
          R"(smartkeyd.toml:3: "socket" in [daemon] must be a string)",
          R"(smartkeyd.toml:4: "state_dir" in [daemon] must be an absolute path)",
          R"(smartkeyd.toml:6: "type" in [key_provider] must be "tpm" or "pkcs11")",
          R"(smartkeyd.toml:7: "max_sessions" in [key_provider] must be a whole number from 1 to 1024)",
          R"(smartkeyd.toml:7: "max_sessions" in [key_provider] needs type = "pkcs11")",
          R"(smartkeyd.toml:9: "no_proxy" in [http] must be a list of strings)",
          R"(smartkeyd.toml:10: "client" in [[app]] is missing: write an [[app.client]] block)",
          R"(smartkeyd.toml:11: "id" in [[app]] must be in reverse DNS form, like "org.example.viewer")",
          R"(smartkeyd.toml:12: "redirect_uris" in [[app]] must not be empty)",
          R"(smartkeyd.toml:14: "name" in [[server]] must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit)",
          R"(smartkeyd.toml:15: "fhir_base" in [[server]] must be an https URL)",
          R"(smartkeyd.toml:16: "profile" in [[server]] must be "smart" or "epic")",
          R"(smartkeyd.toml:17: "require_register_scope" in [[server]] must be true or false)"));
}

TEST(Config, RequiredKeysMissing_AreNamedWithTheBlocksLine) {
  const ConfigDirectory dir;
  dir.WriteMain("[[app]]\n[[app.client]]\n[[server]]\n");
  EXPECT_THAT(dir.Errors(),
              ElementsAre(R"(smartkeyd.toml:3: "id" is missing in [[app]])",
                          R"(smartkeyd.toml:3: "redirect_uris" is missing in [[app]])",
                          R"(smartkeyd.toml:4: "client_id" is missing in [[app.client]])",
                          R"(smartkeyd.toml:5: "name" is missing in [[server]])",
                          R"(smartkeyd.toml:5: "fhir_base" is missing in [[server]])"));
}

TEST(Config, TableWhereAListIsMeantAndViceVersa_SaysHowToWriteIt) {
  const ConfigDirectory dir;
  dir.WriteMain("[[http]]\n[app]\nid = \"org.example.viewer\"\n");
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(
          R"(smartkeyd.toml:3: "http" in the file must be a table, written [http])",
          R"(smartkeyd.toml:4: "app" in the file must be a list of tables, each written [[app]])"));
}

TEST(Config, EverybodyMayWriteAFile_IsRefusedWithWhatToDo) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.app_file("a.toml"), "");
  std::filesystem::permissions(dir.app_file("a.toml"), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  ConfigReport report = ReadConfig(dir.main_file());
  EXPECT_TRUE(report.errors.empty());
  ASSERT_EQ(report.config.problems.size(), 1u);
  EXPECT_NE(report.config.problems[0].message.find("chmod o-w"), std::string::npos);
  std::filesystem::permissions(dir.main_file(), std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(ReadConfig(dir.main_file()).errors.size(), 1u);
  // Not "names file and line": that command would say the same once more.
  EXPECT_NE(RemedyOf(LoadConfig(dir.main_file()).status()).find("do what is said"),
            std::string::npos);
}

TEST(Config, EverybodyMayWriteADirectory_IsRefusedWithWhatToDo) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("a.toml"), kServer);
  const std::string folder = dir.main_file() + ".d";
  ASSERT_EQ(chmod(folder.c_str(), 0777), 0);
  ConfigReport report = ReadConfig(dir.main_file());
  EXPECT_TRUE(report.errors.empty());
  EXPECT_TRUE(report.config.catalog.servers.empty());
  EXPECT_THAT(dir.Problems(),
              ElementsAre(absl::StrCat("smartkeyd.toml.d: can be written by everybody: 'chmod o-w "
                                       "smartkeyd.toml.d'")));
  const std::string parent = folder.substr(0, folder.rfind('/'));
  ASSERT_EQ(chmod(parent.c_str(), 0777), 0);
  ASSERT_EQ(ReadConfig(dir.main_file()).errors.size(), 1u);
  EXPECT_EQ(ReadConfig(dir.main_file()).errors[0].message,
            absl::StrCat("its directory ", parent,
                         " can be written by everybody: put it into one "
                         "that root alone may write, as /etc/smartkeyd"));
  ASSERT_EQ(chmod(parent.c_str(), 01777), 0);  // as /tmp: nobody renames what is another's
  EXPECT_TRUE(ReadConfig(dir.main_file()).errors.empty());
}

// Where the file system of the tests has no access lists, nobody can get around it by one either.
TEST(Config, AccessListLetsAnotherWriteAFileOrDirectory_IsRefusedWithWhatToDo) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.app_file("a.toml"), kApp);
  const std::string list =
      AccessListOctets({{kUserObj, 7}, {kUser, 6, 60004}, {kGroupObj, 5}, {kMask, 7}, {kOther, 5}});
  for (const std::string& path : {dir.app_file("a.toml"), dir.main_file() + ".d"}) {
    if (setxattr(path.c_str(), "system.posix_acl_access", list.data(), list.size(), 0) != 0) {
      ASSERT_EQ(errno, ENOTSUP);
      return;
    }
  }
  EXPECT_THAT(dir.Problems(),
              ElementsAre("smartkeyd.toml.d: can be written by others, as its access list has it: "
                          "'setfacl -b smartkeyd.toml.d'",
                          "apps.d/a.toml: can be written by others, as its access list has it: "
                          "'setfacl -b apps.d/a.toml'"));
}

TEST(Config, NotToml_IsNamedWithItsLine) {
  const ConfigDirectory dir;
  dir.WriteMain("socket = \"/tmp/s\nstate_dir = 1\n");
  ASSERT_EQ(dir.Errors().size(), 1u);
  EXPECT_TRUE(absl::StartsWith(dir.Errors()[0], "smartkeyd.toml:3: not TOML: ")) << dir.Errors()[0];
}

TEST(Config, FileMissingOrADirectory_IsAnError) {
  const ConfigDirectory dir;
  EXPECT_THAT(dir.Errors(),
              ElementsAre("smartkeyd.toml: cannot be read: No such file or directory: write it, or "
                          "name another one with --config"));
  EXPECT_EQ(ReasonOf(LoadConfig(dir.main_file()).status()), Reason::kConfigInvalid);
  ASSERT_EQ(mkdir(dir.main_file().c_str(), 0700), 0);
  EXPECT_THAT(dir.Errors(), ElementsAre("smartkeyd.toml: cannot be read: it is a directory"));
}

TEST(Config, KeyWithoutEffect_IsAnError) {
  const ConfigDirectory dir;
  dir.WriteMain("[key_provider]\ntcti = \"device:/dev/tpmrm0\"\nuri = \"pkcs11:token=t\"\n");
  EXPECT_THAT(dir.Errors(),
              ElementsAre(R"(smartkeyd.toml:5: "uri" in [key_provider] needs type = "pkcs11")"));
  dir.WriteMain("[key_provider]\ntype = \"pkcs11\"\ntcti = \"device:/dev/tpmrm0\"\n");
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(R"(smartkeyd.toml:4: "type" in [key_provider] is "pkcs11", which needs a uri)",
                  R"(smartkeyd.toml:5: "tcti" in [key_provider] needs type = "tpm")"));
}

TEST(Config, OneSocketForBoth_IsAnError) {
  const ConfigDirectory dir;
  dir.WriteMain("socket = \"/tmp/s\"\nadmin_socket = \"/tmp/s\"\n");
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(R"(smartkeyd.toml:4: "admin_socket" in [daemon] must not be the public socket)"));
}

TEST(Config, HttpToLoopback_NeedsThePermissionOfItsServer) {
  const ConfigDirectory dir;
  const std::string block = "[[server]]\nname = \"a\"\nfhir_base = \"http://127.0.0.1:80/fhir\"\n";
  dir.WriteMain(block);
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(
          R"(smartkeyd.toml:5: "fhir_base" in [[server]] must be an https URL; http to this machine needs allow_loopback_http = true)"));
  dir.WriteMain(block + "allow_loopback_http = true\n");
  EXPECT_THAT(dir.Errors(), IsEmpty());
}

TEST(Config, SameIdOrNameTwiceInTheMainFile_IsAnError) {
  const ConfigDirectory dir;
  dir.WriteMain(absl::StrCat(kApp, kServer, kServer, kApp));
  EXPECT_THAT(
      dir.Errors(),
      ElementsAre(R"(smartkeyd.toml:11: server "mercy" is already defined in line 8)",
                  R"(smartkeyd.toml:14: app "org.example.viewer" is already defined in line 3)"));
}

TEST(ConfigDropIns, OfBothDirectories_AreRead) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.app_file("viewer.toml"), kApp);
  dir.WriteRaw(dir.drop_in("mercy.toml"), kServer);
  dir.WriteRaw(dir.drop_in("README"), "not a drop-in");
  dir.WriteRaw(dir.drop_in(".mercy.toml"), "not a drop-in either");
  const ConfigReport report = dir.Read();
  EXPECT_THAT(dir.Problems(), IsEmpty());
  ASSERT_EQ(report.config.catalog.apps.size(), 1u);
  ASSERT_EQ(report.config.catalog.servers.size(), 1u);
}

TEST(ConfigDropIns, OneWithAMistake_DisablesItselfOnly) {
  const ConfigDirectory dir;
  dir.WriteMain(kServer);
  dir.WriteRaw(dir.app_file("10-bad.toml"),
               "[[app]]\nid = \"org.example.bad\"\nredirect_uri = [\"https://x/\"]\n"
               "[[server]]\nname = \"good-block-of-a-bad-file\"\nfhir_base = \"https://x\"\n");
  dir.WriteRaw(dir.app_file("20-broken.toml"), "[[app");
  dir.WriteRaw(dir.app_file("30-good.toml"), kApp);
  const absl::StatusOr<Config> config = LoadConfig(dir.main_file());
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->catalog.apps.size(), 1u);
  EXPECT_EQ(config->catalog.apps[0].id, "org.example.viewer");
  ASSERT_EQ(config->catalog.servers.size(), 1u);
  EXPECT_EQ(config->catalog.servers[0].name, "mercy");
  const std::vector<std::string> problems = dir.Lines(config->problems);
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0], R"(apps.d/10-bad.toml:1: "redirect_uris" is missing in [[app]])");
  EXPECT_EQ(
      problems[1],
      R"(apps.d/10-bad.toml:1: "client" in [[app]] is missing: write an [[app.client]] block)");
  EXPECT_EQ(
      problems[2],
      R"(apps.d/10-bad.toml:3: unknown key "redirect_uri" in [[app]]; did you mean "redirect_uris"?)");
  EXPECT_TRUE(absl::StartsWith(problems[3], "apps.d/20-broken.toml:1: not TOML: "));
}

TEST(ConfigDropIns, WhatIsDefinedAlready_DisablesTheLaterFile) {
  const ConfigDirectory dir;
  dir.WriteMain(kServer);
  dir.WriteRaw(dir.drop_in("a.toml"), kApp);
  dir.WriteRaw(dir.drop_in("b.toml"), absl::StrCat("\n", kServer));
  dir.WriteRaw(dir.app_file("a.toml"),
               absl::StrCat(kApp, "[[server]]\nname = \"other\"\nfhir_base = \"https://x\"\n"));
  EXPECT_THAT(
      dir.Problems(),
      ElementsAre(
          R"(smartkeyd.toml.d/b.toml:2: server "mercy" is already defined in smartkeyd.toml:3)",
          R"(apps.d/a.toml:1: app "org.example.viewer" is already defined in smartkeyd.toml.d/a.toml:1)"));
  EXPECT_EQ(dir.Read().config.catalog.apps.size(), 1u);
  EXPECT_EQ(dir.Read().config.catalog.servers.size(), 1u);
}

TEST(ConfigDropIns, TablesOfTheMainFile_AreRefused) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("x.toml"), "[daemon]\nsocket = \"/tmp/other\"\n");
  EXPECT_THAT(dir.Problems(),
              ElementsAre("smartkeyd.toml.d/x.toml:1: \"daemon\" in the file belongs in the main "
                          "configuration file"));
  EXPECT_EQ(dir.Read().config.daemon.socket, "/run/smartkeyd/smartkeyd.sock");
}

TEST(ConfigDropIns, NoSuchDirectories_IsNoProblem) {
  const ConfigDirectory dir;
  dir.WriteRaw(dir.main_file(), "[daemon]\napps_dir = \"/nonexistent/apps.d\"\n");
  std::filesystem::remove(dir.main_file() + ".d");
  EXPECT_THAT(dir.Errors(), IsEmpty());
  EXPECT_THAT(dir.Problems(), IsEmpty());
}

TEST(CheckConfig, NoProblems_ExitsWithZero) {
  const ConfigDirectory dir;
  dir.WriteMain(absl::StrCat(kApp, kServer));
  std::ostringstream out;
  EXPECT_EQ(CheckConfig(dir.main_file(), out), 0);
  EXPECT_EQ(out.str(), dir.main_file() + ": no problems; 1 apps, 1 servers\n");
}

TEST(CheckConfig, ProblemsEverywhere_AllArePrintedAndItExitsWithOne) {
  const ConfigDirectory dir;
  dir.WriteMain("sokcet = 1\n");
  dir.WriteRaw(dir.drop_in("x.toml"), "[[sever]]\n");
  std::ostringstream out;
  EXPECT_EQ(CheckConfig(dir.main_file(), out), 1);
  EXPECT_EQ(out.str(),
            absl::StrCat(dir.main_file(),
                         ":3: unknown key \"sokcet\" in [daemon]; did you mean \"socket\"?\n",
                         dir.drop_in("x.toml"),
                         ":1: unknown key \"sever\" in the file; did you mean \"server\"?\n",
                         dir.drop_in("x.toml"), ": would be ignored\n", dir.main_file(),
                         ": smartkeyd would not start\n"));
}

TEST(CheckConfig, BadDropInOnly_ExitsWithOne) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("x.toml"), "[[sever]]\n");
  std::ostringstream out;
  EXPECT_EQ(CheckConfig(dir.main_file(), out), 1);
  EXPECT_TRUE(LoadConfig(dir.main_file()).ok());
}

TEST(ConfigPolicy, EveryKey_ComesOutWhereItBelongs) {
  const ConfigDirectory dir;
  dir.WriteMain(R"(
[[policy]]
servers = ["mercy*"]
apps = ["org.example.*"]
allow_enroll = ["people", "user:viewer", "uid:4001", "group:root"]
deny_enroll = ["user:kiosk+unit:kiosk.service"]
max_registrations_per_owner = 3
max_idle = "180d"
[[policy.share]]
principal = "unit:backup.service"
allow = ["token", "dpop"]
scopes = ["openid"]
[[policy]]
)");
  EXPECT_THAT(dir.Errors(), IsEmpty());
  const std::vector<Policy> policies = dir.Read().config.catalog.policies;
  ASSERT_EQ(policies.size(), 2u);
  const Policy& first = policies[0];
  EXPECT_TRUE(first.IsOf("mercy-2", "org.example.viewer"));
  EXPECT_FALSE(first.IsOf("clinic", "org.example.viewer"));
  ASSERT_TRUE(first.allow_enroll.has_value());
  EXPECT_TRUE(first.allow_enroll->people);
  ASSERT_EQ(first.allow_enroll->principals.size(), 3u);
  EXPECT_EQ(first.allow_enroll->principals[0].user_name, "viewer");
  EXPECT_EQ(first.allow_enroll->principals[0].uid, -1);
  EXPECT_EQ(first.allow_enroll->principals[1].uid, 4001);
  EXPECT_EQ(first.allow_enroll->principals[2].gid, 0);
  ASSERT_EQ(first.deny_enroll.size(), 1u);
  EXPECT_EQ(first.deny_enroll[0].unit, "kiosk.service");
  EXPECT_EQ(first.deny_enroll[0].uid, kUnknownUid);  // this machine has no such user
  EXPECT_EQ(first.max_registrations_per_owner, 3);
  EXPECT_EQ(first.max_idle, absl::Hours(24 * 180));
  ASSERT_EQ(first.shares.size(), 1u);
  EXPECT_EQ(first.shares[0].unit, "backup.service");
  EXPECT_THAT(first.shares[0].operations, ElementsAre("token", "dpop"));
  EXPECT_TRUE(absl::EndsWith(first.shares[0].policy, ":11")) << first.shares[0].policy;
  EXPECT_FALSE(policies[1].DecidesEnrollment());
  EXPECT_TRUE(policies[1].IsOf("anything", "at.all"));
}

TEST(ConfigPolicy, Mistakes_AreSaidWithTheirLines) {
  const ConfigDirectory dir;
  dir.WriteMain(R"(
[[policy]]
servers = []
allow_enroll = ["everyone"]
deny_enroll = ["people"]
max_registrations_per_owner = 0
max_idle = "1h"
[[policy.share]]
allow = ["token"]
[[policy.share]]
principal = "exe:/usr/bin/viewer"
[[policy.share]]
principal = "user:bob"
allow = ["everything"]
[[policy.share]]
principal = "user:bob"
allow = ["assertion"]
scopes = ["openid"]
)");
  EXPECT_EQ(dir.Errors().size(), 9u) << absl::StrJoin(dir.Errors(), "\n");
}

TEST(ConfigPolicy, InADropIn_IsRefused) {
  const ConfigDirectory dir;
  dir.WriteMain("");
  dir.WriteRaw(dir.drop_in("10.toml"), "[[policy]]\n");
  EXPECT_EQ(dir.Read().config.problems.size(), 1u);
}

TEST(ConfigPolicy, GroupThatThereIsNot_IsNobodysAndNoReasonNotToStart) {
  const ConfigDirectory dir;
  dir.WriteMain("[[policy]]\nallow_enroll = [\"group:no-such-group-here\"]\n");
  EXPECT_THAT(dir.Errors(), IsEmpty());
  const std::vector<Policy> policies = dir.Read().config.catalog.policies;
  ASSERT_EQ(policies.size(), 1u);
  EXPECT_EQ(policies[0].allow_enroll->principals[0].gid, -2);
}

}  // namespace
}  // namespace smartkey
