// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/problem_text.h"

#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

client::ConfigProblem LongProblem() {
  client::ConfigProblem problem;
  problem.file = "/etc/smartkeyd/smartkeyd.toml.d/10-hospital.toml";
  problem.line = 12;
  problem.message = "unknown key \"fhir_bsae\"; did you mean \"fhir_base\"?";
  problem.file_disabled = true;
  return problem;
}

TEST(ProblemsText, AProblemIsLong_ItsLinesFitATerminal) {
  EXPECT_EQ(ProblemsText("Problems:", {LongProblem(), LongProblem()}, 80),
            "Problems:\n"
            "  /etc/smartkeyd/smartkeyd.toml.d/10-hospital.toml:12: unknown key\n"
            "    \"fhir_bsae\"; did you mean \"fhir_base\"? (the file's blocks are not in use)\n"
            "  /etc/smartkeyd/smartkeyd.toml.d/10-hospital.toml:12: unknown key\n"
            "    \"fhir_bsae\"; did you mean \"fhir_base\"? (the file's blocks are not in use)\n");
}

TEST(ProblemsText, NoTerminal_EachIsALine) {
  EXPECT_EQ(ProblemsText("Problems:", {LongProblem()}, absl::string_view::npos),
            "Problems:\n"
            "  /etc/smartkeyd/smartkeyd.toml.d/10-hospital.toml:12: unknown key "
            "\"fhir_bsae\"; did you mean \"fhir_base\"? (the file's blocks are not in use)\n");
  EXPECT_EQ(ProblemsText("Problems:", {}, 80), "");
}

}  // namespace
}  // namespace smartkey::ctl
