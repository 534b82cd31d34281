// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/challenge.h"

#include <string>

#include "gtest/gtest.h"

namespace smartkey {
namespace {

TEST(ChallengeErrorOf, BearerChallenge_GivesItsError) {
  for (const char* header : {
           "Bearer error=\"invalid_token\"",
           "bearer error=invalid_token",
           "Bearer realm=\"fhir\", error=\"invalid_token\", error_description=\"expired\"",
           "Bearer realm=\"a, Basic b=\\\"c\\\"\",error = \"invalid_token\"",
           "Basic realm=\"x\", Bearer error=\"invalid_token\"",
           "Negotiate YWJj/+==, Bearer error=\"invalid_token\"",
           "Negotiate /YWJj/+==, Bearer error=\"invalid_token\"",
           "DPoP algs=\"ES256\", error=\"invalid_token\"",
           ", ,Bearer ERROR=\"in\\valid_token\"",
       }) {
    EXPECT_EQ(ChallengeErrorOf(header), "invalid_token") << header;
  }
}

TEST(ChallengeErrorOf, NoErrorOfABearerChallenge_IsEmpty) {
  for (const char* header : {
           "",
           "Bearer",
           "Bearer realm=\"fhir\"",
           "Basic error=\"invalid_token\"",
           "error=\"invalid_token\"",
           "Bearer realm=\"error=invalid_token\"",
           "Bearer error=\"\"",
           "Bearer error=\"Invalid Token\"",
           "Bearer error=\"x\x1b[31m\"",
           "Bearer realm=\"unclosed, error=invalid_token",
           "Bearer error=\"invalid_token\\",
           "(comment) Bearer error=\"invalid_token\"",
       }) {
    EXPECT_EQ(ChallengeErrorOf(header), "") << header;
  }
  EXPECT_EQ(ChallengeErrorOf("Bearer error=" + std::string(65, 'a')), "");
}

TEST(ChallengeErrorOf, SeveralBearerChallenges_TheFirstErrorCounts) {
  EXPECT_EQ(
      ChallengeErrorOf("Bearer realm=a, DPoP error=use_dpop_nonce, Bearer error=invalid_token"),
      "use_dpop_nonce");
}

}  // namespace
}  // namespace smartkey
