// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({"NAME", "STATE"});
  table.AddRow({"mercy", "working"});
  table.AddRow({"st-elsewhere", "needs you: renew"});
  EXPECT_EQ(table.ToText(),
            "NAME          STATE\n"
            "mercy         working\n"
            "st-elsewhere  needs you: renew\n");
}

TEST(Table, WhatDoesNotFitTheTerminalIsCutInTheWidestColumn) {
  Table table({"NAME", "FHIR BASE", "PROFILE"});
  table.AddRow({"mercy", "https://ehr.example.com/" + std::string(200, 'x'), "smart"});
  const std::string text = table.ToText(80);
  for (absl::string_view line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 80u) << line;
  EXPECT_NE(text.find("mercy  https://ehr.example.com/xxx"), std::string::npos) << text;
  EXPECT_NE(text.find("xx..  smart\n"), std::string::npos) << text;
}

TEST(Table, TheFirstColumnIsNeverCut) {
  const std::string name(70, 'n');
  Table table({"NAME", "STATE", "SERVER"});
  table.AddRow({name, "needs you: renew", "mercy"});
  EXPECT_EQ(table.ToText(80), absl::StrCat("NAME", std::string(68, ' '), "STATE   SERVER\n", name,
                                           "  need..  mercy\n"));
  Table alone({"NAME"});
  alone.AddRow({name});
  EXPECT_EQ(alone.ToText(40), absl::StrCat("NAME\n", name, "\n"));
}

TEST(Table, WithoutALimitNothingIsCut) {
  Table table({"NAME", "FHIR BASE"});
  table.AddRow({"mercy", std::string(200, 'x')});
  EXPECT_NE(table.ToText(absl::string_view::npos).find(std::string(200, 'x')), std::string::npos);
}

TEST(Table, ControlCharactersOfOthersDoNotReachTheTerminal) {
  Table table({"NAME"});
  table.AddRow(
      {"a\x1b]0;title\x07\r\nb\x9b"
       "31m"});
  const std::string text = table.ToText();
  for (const char c : text) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  }
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

TEST(WrapWords, LinesEndBetweenWordsAndGoOnUnderTheFirst) {
  EXPECT_EQ(WrapWords("one two three", 2, 9), "one two\n  three");
  EXPECT_EQ(WrapWords("one two three", 2, 8), "one\n  two\n  three");
  EXPECT_EQ(WrapWords(std::string(20, 'x') + " y", 0, 10), std::string(20, 'x') + "\ny");
  EXPECT_EQ(WrapWords("one two three", 0, absl::string_view::npos), "one two three");
  EXPECT_EQ(WrapWords("", 2, 10), "");
}

TEST(Record, ValuesAreNotCutAndEmptyOnesLeftOut) {
  Record record;
  record.Add("Name", "mercy");
  record.Add("Label", "");
  record.Add("FHIR base", std::string(100, 'x'));
  record.Add("Last token", absl::optional<absl::Time>());
  record.Add("Enrolled", absl::optional<absl::Time>(absl::FromUnixSeconds(1767225600)));
  EXPECT_EQ(record.ToText(), "Name:       mercy\nFHIR base:  " + std::string(100, 'x') +
                                 "\nEnrolled:   2026-01-01 00:00:00 UTC\n");
}

TEST(Record, AValueOfManyWordsGoesOnBelowItself) {
  Record record;
  record.Add("Scopes", std::vector<std::string>{"launch/patient", "openid", "patient/*.rs"});
  record.Add("Id", "x");
  EXPECT_EQ(record.ToText(32),
            "Scopes:  launch/patient openid\n         patient/*.rs\nId:      x\n");
}

TEST(Record, ControlCharactersOfOthersDoNotReachTheTerminal) {
  Record record;
  record.Add("Name", "a\x1b[2Jb\n");
  EXPECT_EQ(record.ToText().find('\x1b'), std::string::npos);
  EXPECT_EQ(record.ToText().find('\n'), record.ToText().size() - 1);
}

}  // namespace
}  // namespace smartkey::ctl
