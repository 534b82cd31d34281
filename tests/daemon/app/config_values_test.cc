// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/config_values.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/app/config_table.h"

namespace smartkey {
namespace {

using Check = absl::Status (*)(const std::string&);

void ExpectGood(Check check, const std::vector<std::string>& values) {
  for (const std::string& value : values) EXPECT_TRUE(check(value).ok()) << value << check(value);
}

void ExpectBad(Check check, const std::vector<std::string>& values) {
  for (const std::string& value : values) EXPECT_FALSE(check(value).ok()) << value;
}

TEST(ConfigValues, Paths) {
  ExpectGood(CheckAbsolutePath, {"/etc/x", "/"});
  ExpectBad(CheckAbsolutePath, {"", "etc/x", "~/x", std::string("/a\0b", 4)});
  ExpectGood(CheckSocketPath, {"/" + std::string(106, 'x')});
  ExpectBad(CheckSocketPath, {"/" + std::string(107, 'x'), "@abstract"});
  ExpectGood(CheckStateDir, {"/" + std::string(94, 'x')});  // and "/pkcs11.sock"
  ExpectBad(CheckStateDir, {"/" + std::string(95, 'x'), "relative"});
}

TEST(ConfigValues, AppIds) {
  ExpectGood(CheckAppId, {"org.example.viewer", "com.a_b.c-d", "a.b"});
  ExpectBad(CheckAppId, {"", "viewer", "org..viewer", ".org", "org.", "org.exa mple", "org.ä"});
}

TEST(ConfigValues, ServerNames) {
  ExpectGood(CheckServerName, {"mercy", "st.anna_2-x", "7"});
  ExpectBad(CheckServerName, {"", "-x", ".x", "a/b", "a b", "a*", "mercy\n", std::string(65, 'x')});
  ExpectGood(CheckServerGlob, {"*", "sandbox-?", "mercy"});
  ExpectBad(CheckServerGlob, {"", "a/b", "[ab]"});
}

TEST(ConfigValues, ClientIdsAndScopes) {
  ExpectGood(CheckClientId, {"c", "with space", "G66488CE9-7F14"});
  ExpectBad(CheckClientId, {"", "tab\t", "ä", std::string(513, 'x')});
  ExpectGood(CheckScope, {"openid", "patient/*.rs", "patient/Observation.rs?category=x|y"});
  ExpectBad(CheckScope, {"", "openid fhirUser", "a\"b", "a\\b"});
}

TEST(ConfigValues, RedirectUris) {
  ExpectGood(CheckRedirectUri,
             {"http://127.0.0.1/callback", "http://127.0.0.1:8965/callback", "http://localhost/cb",
              "http://[::1]/cb", "https://app.example/cb?x=1", "com.example.app:/cb"});
  ExpectBad(CheckRedirectUri, {"", "/callback", "http://app.example/cb", "http://127.0.0.1/cb#x",
                               "http://user@127.0.0.1/cb", "http://127.0.0.1 /cb", "app:/cb",
                               "javascript:alert(1)", "https:///cb", "urn:ietf:wg:oauth:2.0:oob"});
}

TEST(ConfigValues, ProxiesAndAudiencesAndTokens) {
  ExpectGood(CheckProxy, {"http://proxy.example:3128", "http://10.0.0.1:80/"});
  ExpectBad(CheckProxy, {"", "proxy.example:3128", "http://proxy.example", "socks5://p:1",
                         "http://p:1/path", "http://p:1/?q"});
  ExpectGood(CheckAudience, {"https://ehr.example.com/token", "urn:x:y"});
  ExpectBad(CheckAudience, {"", "token", "https://a b", ":x", "7:x"});
  ExpectGood(CheckPkcs11Uri, {"pkcs11:token=clinic", "pkcs11:"});
  ExpectBad(CheckPkcs11Uri,
            {"", "token=clinic", "pkcs11:token=a b", "pkcs11:token=clinic?pin-value=1234"});
  ExpectGood(CheckEnvironmentEntry, {"TPM2_PKCS11_STORE=/var/lib/x", "A=", "_B=c=d", "SHIPPING=1"});
  ExpectBad(CheckEnvironmentEntry, {"", "A", "=b", "1A=b", "A B=c", "TOKEN_PIN=1234", "pin=1"});
}

TEST(ConfigValues, Endpoints_AreHttpsOrAllowedLoopback) {
  EXPECT_TRUE(CheckEndpoint("https://ehr.example.com/token?x=1", false).ok());
  EXPECT_FALSE(CheckEndpoint("http://127.0.0.1/token", false).ok());
  EXPECT_TRUE(CheckEndpoint("http://127.0.0.1/token", true).ok());
  for (const char* bad : {"http://ehr.example.com/token", "https://user@ehr.example.com/token",
                          "https://ehr.example.com/token#x", "ftp://ehr.example.com", "ehr", ""}) {
    EXPECT_FALSE(CheckEndpoint(bad, true).ok()) << bad;
  }
}

TEST(ConfigValues, FhirBase_LosesItsTrailingSlashes) {
  EXPECT_EQ(NormaliseFhirBase("https://e.example/fhir//", false).value(), "https://e.example/fhir");
  EXPECT_EQ(NormaliseFhirBase("https://e.example/", false).value(), "https://e.example");
  EXPECT_EQ(NormaliseFhirBase("https://e.example/fhir", false).value(), "https://e.example/fhir");
  EXPECT_FALSE(NormaliseFhirBase("https://e.example/fhir?x", false).ok());
}

TEST(NearestWord, TakesTheFewestChanges) {
  const std::set<std::string> known = {"socket", "admin_socket", "state_dir"};
  EXPECT_EQ(NearestWord("sokcet", known), "socket");
  EXPECT_EQ(NearestWord("adminsocket", known), "admin_socket");
  EXPECT_EQ(NearestWord("statedir", known), "state_dir");
  EXPECT_EQ(NearestWord("x", {}), "");
}

}  // namespace
}  // namespace smartkey
