// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/aliases.h"

#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

using nlohmann::json;

TEST(Aliases, KnownNames_EachHasItsWordWhereItStandsByItself) {
  Aliases aliases;
  aliases.Add("user", "alice");
  aliases.Add("server", "mercy");
  aliases.Add("server", "mercy-north");
  EXPECT_EQ(aliases.Apply("alice at mercy and mercy-north, /home/alice/mercy.toml, malice"),
            "<user-1> at <server-1> and <server-2>, /home/<user-1>/<server-1>.toml, malice");
}

TEST(Aliases, NameIsAWordOfTheReport_MembersKeepTheirNames) {
  Aliases aliases;
  aliases.Add("server", "state");
  aliases.Add("user", "ok");
  json report = {{"state", "state of a token"}, {"list", {{{"ok", "ok"}}}}, {"number", 7}};
  aliases.Apply(report);
  EXPECT_EQ(
      report,
      (json{{"state", "<server-1> of a token"}, {"list", {{{"ok", "<user-1>"}}}}, {"number", 7}}));
}

TEST(Aliases, NamesThatJsonOrALogWouldEscape_AreFoundAllTheSame) {
  Aliases aliases;
  aliases.Add("user", "DOMAIN\\alice");
  aliases.Add("label", "Großmutter");
  json report = {{"a", "of DOMAIN\\alice"}, {"b", "Großmutter"}, {"c", "Gro\\xc3\\x9fmutter"}};
  aliases.Apply(report);
  EXPECT_EQ(report, (json{{"a", "of <user-1>"}, {"b", "<label-1>"}, {"c", "<label-1>"}}));
}

TEST(Aliases, HostsAndAddressesOfNoList_AreToldByTheirLooks) {
  Aliases aliases;
  EXPECT_EQ(aliases.Apply("https://auth.mercy.example:8443/token: no route to 10.1.2.3:443"),
            "https://<host-1>:8443/token: no route to <address-1>:443");
  EXPECT_EQ(aliases.Apply("auth.mercy.example. [2001:db8::1] 10.1.2.3, http://ehr/fhir"),
            "<host-1>. [<address-2>] <address-1>, http://<host-2>/fhir");
}

TEST(Aliases, FilesVersionsTimesAndMethods_StayAsTheyAre) {
  const char kText[] =
      "/etc/smartkeyd/smartkeyd.toml smartkeyd.service 0.1.0 6.1.0-18-amd64 "
      "2026-11-30T18:24:36.123Z std::string method=\"grpc.health.v1.Health/Check\" 12 ms";
  Aliases aliases;
  EXPECT_EQ(aliases.Apply(kText), kText);
}

TEST(Aliases, PrincipalsOfPoliciesAndIssuersOfCertificates_AreToldByTheirLooks) {
  Aliases aliases;
  EXPECT_EQ(aliases.Apply("10-clinic.toml:3: user:bob+unit:viewer.service: nobody"),
            "10-clinic.toml:3: user:<principal-1>+unit:<principal-2>: nobody");
  EXPECT_EQ(aliases.Apply("not trusted; issued by CN=Mercy Hospital (Root), CA,O=Mercy\nnext"),
            "not trusted; issued by <issuer-1>\nnext");
  EXPECT_EQ(aliases.Apply("O=Mercy,C=US"), "<issuer-2>");
}

}  // namespace
}  // namespace smartkey::ctl
