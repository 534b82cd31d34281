// SPDX-License-Identifier: Apache-2.0
#include "daemon/enrollment/enrollment_plan.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

using Algorithm = SignatureAlgorithm;

Catalog TwoAppsTwoServers() {
  Catalog catalog;
  App viewer{"org.example.viewer", "Viewer", {"http://127.0.0.1/callback"}, {"launch/patient"}, {}};
  viewer.clients = {AppClient{{"sandbox*"}, "sandbox-client", "sandbox-software"},
                    AppClient{{"mercy"}, "client", "software"}};
  App other = viewer;
  other.id = "org.example.other";
  other.clients = {AppClient{{"*"}, "other", "other"}};
  Server mercy;
  mercy.name = "mercy";
  mercy.fhir_base = "https://ehr.example/fhir";
  Server clinic = mercy;
  clinic.name = "clinic";
  clinic.fhir_base = "https://clinic.example/fhir";
  catalog.apps = {viewer, other};
  catalog.servers = {mercy, clinic};
  return catalog;
}

EnrollmentRequest Request() {
  EnrollmentRequest request;
  request.app_id = "org.example.viewer";
  request.server_name = "mercy";
  request.redirect_uri = "http://127.0.0.1:4711/callback";
  return request;
}

Reason Refusal(const EnrollmentRequest& request, bool with_browser = true) {
  return ReasonOf(PlanEnrollment(TwoAppsTwoServers(), request, with_browser).status());
}

TEST(PlanEnrollment, AppAndServerAreKnown_TakesWhatTheyAreConfiguredWith) {
  const absl::StatusOr<EnrollmentPlan> plan = PlanEnrollment(TwoAppsTwoServers(), Request(), true);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->initial_client_id, "client");
  EXPECT_EQ(plan->software_id, "software");
  EXPECT_EQ(plan->scopes, ScopeSet{"launch/patient"});
  EXPECT_EQ(plan->name, Identifying("mercy"));
  EXPECT_FALSE(plan->name_was_given);
}

TEST(PlanEnrollment, ServerIsNamedByItsFhirBase_IsFound) {
  EnrollmentRequest request = Request();
  request.server_name.clear();
  request.fhir_base = "https://ehr.example/fhir/";
  EXPECT_EQ(Refusal(request), Reason::kUnspecified);
}

TEST(PlanEnrollment, RequestDoesNotFitTheConfiguration_SaysWhatIsWrong) {
  EnrollmentRequest request = Request();
  request.app_id = "org.example.unknown";
  EXPECT_EQ(Refusal(request), Reason::kUnknownApp);
  request.app_id.clear();  // which of two?
  EXPECT_EQ(Refusal(request), Reason::kUnknownApp);
  request = Request();
  request.server_name = "unknown";
  EXPECT_EQ(Refusal(request), Reason::kUnknownServer);
  request.server_name = "clinic";  // this app has no client_id there
  EXPECT_EQ(Refusal(request), Reason::kUnknownApp);
  request = Request();
  request.fhir_base = "https://ehr.example/fhir";  // both
  EXPECT_EQ(Refusal(request), Reason::kInvalidArgument);
  request.fhir_base.clear();
  request.server_name.clear();  // none
  EXPECT_EQ(Refusal(request), Reason::kInvalidArgument);
}

TEST(PlanEnrollment, OnlyOneAppIsConfigured_NeedNotBeNamed) {
  Catalog catalog = TwoAppsTwoServers();
  catalog.apps.pop_back();
  EnrollmentRequest request = Request();
  request.app_id.clear();
  EXPECT_TRUE(PlanEnrollment(catalog, request, true).ok());
}

TEST(PlanEnrollment, RedirectUriIsNotRegistered_IsRefusedUnlessNoBrowserIsInvolved) {
  for (const char* uri : {"", "http://127.0.0.1:4711/other", "http://localhost:4711/callback",
                          "https://evil.example/callback"}) {
    EnrollmentRequest request = Request();
    request.redirect_uri = uri;
    EXPECT_EQ(Refusal(request), Reason::kRedirectUriUnknown) << uri;
    EXPECT_EQ(Refusal(request, false), Reason::kUnspecified) << uri;
  }
}

TEST(PlanEnrollment, NameLabelOrScopeIsUnsound_IsRefusedWithoutRepeatingIt) {
  for (const std::string& name :
       {std::string("a b"), std::string("a/b"), std::string("-a"), std::string("a\nb"),
        std::string("a\x7f"), std::string(65, 'a')}) {
    EnrollmentRequest request = Request();
    request.name = Identifying(name);
    EXPECT_EQ(Refusal(request), Reason::kInvalidArgument) << name;
  }
  EnrollmentRequest request = Request();
  request.label = Identifying(std::string(1000, 'x'));
  EXPECT_EQ(Refusal(request), Reason::kInvalidArgument);
  for (const char* scope : {"a b", "a\"b", "a\\b", "a\nb", ""}) {
    request = Request();
    request.scopes = {scope};
    EXPECT_EQ(Refusal(request), Reason::kInvalidArgument) << scope;
  }
}

TEST(ChooseAlgorithm, HardwareAndServer_TheFirstThatBothHave) {
  const std::vector<Algorithm> all = {Algorithm::kRs256, Algorithm::kEs256, Algorithm::kRs384,
                                      Algorithm::kEs384};
  const std::vector<Algorithm> small = {Algorithm::kEs256, Algorithm::kRs256};
  const struct {
    std::vector<Algorithm> hardware;
    std::vector<std::string> server;
    ServerProfile profile;
    Algorithm chosen;
  } rows[] = {
      {all, {}, ServerProfile::kSmart, Algorithm::kEs384},
      {all, {"RS384", "ES256"}, ServerProfile::kSmart, Algorithm::kRs384},
      {small, {}, ServerProfile::kSmart, Algorithm::kEs256},
      {small, {"RS256"}, ServerProfile::kSmart, Algorithm::kRs256},
      {all, {}, ServerProfile::kEpic, Algorithm::kRs384},
      {small, {}, ServerProfile::kEpic, Algorithm::kRs256},
  };
  for (const auto& row : rows) {
    const auto chosen = ChooseAlgorithm(absl::nullopt, row.hardware, row.server, row.profile);
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    EXPECT_EQ(*chosen, row.chosen);
  }
}

TEST(ChooseAlgorithm, NothingInCommon_SaysWhatThereIs) {
  const absl::Status status =
      ChooseAlgorithm(absl::nullopt, {Algorithm::kEs256}, {"PS512"}, ServerProfile::kSmart)
          .status();
  EXPECT_EQ(ReasonOf(status), Reason::kAlgorithmUnsupported);
  EXPECT_NE(status.message().find("ES256"), absl::string_view::npos);
  EXPECT_NE(status.message().find("PS512"), absl::string_view::npos);
}

TEST(PlanEnrollment, AccessIsSaidToLast_IsTakenIfItCanBe) {
  EnrollmentRequest request = Request();
  request.access_for = absl::Hours(24 * 365);
  const absl::StatusOr<EnrollmentPlan> plan = PlanEnrollment(TwoAppsTwoServers(), request, true);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->access_for, absl::Hours(24 * 365));
  request.access_for = absl::Hours(24 * 366 * 11);
  EXPECT_EQ(Refusal(request), Reason::kInvalidArgument);
  request.access_for = -absl::Hours(1);
  EXPECT_EQ(Refusal(request), Reason::kInvalidArgument);
}

TEST(ChooseAlgorithm, AskedForByName_NeedsTheHardwareAlone) {
  const auto chosen =
      ChooseAlgorithm(Algorithm::kEs256, {Algorithm::kEs256}, {"RS384"}, ServerProfile::kEpic);
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen, Algorithm::kEs256);
  EXPECT_EQ(
      ReasonOf(ChooseAlgorithm(Algorithm::kEs384, {Algorithm::kEs256}, {}, ServerProfile::kSmart)
                   .status()),
      Reason::kAlgorithmUnsupported);
}

}  // namespace
}  // namespace smartkey
