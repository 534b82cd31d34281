// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/terminal_text.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cstdlib>

#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

// In a locale with UTF-8, which every Debian has; back in the one that tests run in afterwards.
class TerminalTextTest : public testing::Test {
 protected:
  TerminalTextTest() { EXPECT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr); }
  ~TerminalTextTest() override { std::setlocale(LC_CTYPE, "C"); }
};

TEST_F(TerminalTextTest, LettersOfAnyScript_AreShown) {
  EXPECT_EQ(TerminalText("Großmutter"), "Großmutter");
  EXPECT_EQ(TerminalText("山田さん"), "山田さん");
  EXPECT_EQ(TerminalText("u\xcc\x88"), "u\xcc\x88") << "an accent that is a character of its own";
}

TEST_F(TerminalTextTest, ControlsAndWhatChangesOthers_AreBytes) {
  EXPECT_EQ(TerminalText("a\tb\x1b[31m"), "a\\x09b\\x1b[31m");
  EXPECT_EQ(TerminalText("\xc2\x9b"), "\\xc2\\x9b") << "a control above ASCII";
  EXPECT_EQ(TerminalText("\xe2\x80\xae"
                         "eciла"),
            "\\xe2\\x80\\xaeeciла")
      << "right to left";
  EXPECT_EQ(TerminalText("al\xe2\x80\x8bice"), "al\\xe2\\x80\\x8bice") << "no width";
}

TEST_F(TerminalTextTest, NoUtf8_IsBytes) {
  EXPECT_EQ(TerminalText("M\xfcller"), "M\\xfcller");
  EXPECT_EQ(TerminalText("half \xc3"), "half \\xc3");
  EXPECT_EQ(TerminalText("\xc0\x9b"), "\\xc0\\x9b") << "longer than it need be";
  EXPECT_EQ(TerminalText("\xed\xa0\x80"), "\\xed\\xa0\\x80") << "half of a pair of UTF-16";
  EXPECT_EQ(TerminalText(std::string("a\0b", 3)), "a\\x00b");
}

TEST_F(TerminalTextTest, TooLong_IsCutBetweenCharacters) {
  EXPECT_EQ(TerminalText("ääääää", 12), "ääääää");
  EXPECT_EQ(TerminalText("äääääää", 12), "ääää...");
}

TEST_F(TerminalTextTest, LocaleIsNotUtf8_OnlyAsciiIsShown) {
  std::setlocale(LC_CTYPE, "C");
  EXPECT_EQ(TerminalText("Großmutter"), "Gro\\xc3\\x9fmutter");
}

TEST_F(TerminalTextTest, LocaleIsNotOnThisMachine_ItsNameSaysWhatIsShown) {
  const char* const before = std::getenv("LC_ALL");
  const std::string kept = before == nullptr ? "" : before;
  for (const auto& [locale, shown] : {std::pair("xx_XX.UTF-8", "ß"),
                                      {"xx_XX.utf8", "ß"},
                                      {"xx_XX", "\\xc3\\x9f"},
                                      {"C", "\\xc3\\x9f"}}) {
    std::setlocale(LC_CTYPE, "C");
    setenv("LC_ALL", locale, 1);
    UseLocale();
    EXPECT_EQ(TerminalText("ß"), shown) << locale;
  }
  before == nullptr ? unsetenv("LC_ALL") : setenv("LC_ALL", kept.c_str(), 1);
}

TEST_F(TerminalTextTest, CharactersAreWideOrHaveNoWidth_TablesAndSentencesStayInLine) {
  EXPECT_EQ(ColumnsOf("Großmutter"), 10u);
  EXPECT_EQ(ColumnsOf("山田さん"), 8u);
  EXPECT_EQ(ColumnsOf("u\xcc\x88"), 1u);
  EXPECT_EQ(TakeColumns("山田さん", 5), "山田");
  EXPECT_EQ(TakeColumns("u\xcc\x88x", 1), "u\xcc\x88");

  Table table({"NAME", "LABEL", "STATE"});
  table.AddRow({"mercy", "Großmutter", "ready"});
  table.AddRow({"other", "山田さん", "ready"});
  EXPECT_EQ(table.ToText(80),
            "NAME   LABEL       STATE\n"
            "mercy  Großmutter  ready\n"
            "other  山田さん    ready\n");
  EXPECT_EQ(table.ToText(21),
            "NAME   LABEL    STATE\n"
            "mercy  Großm..  ready\n"
            "other  山田..   ready\n");
  EXPECT_EQ(WrapWords("äääää äääää", 0, 11), "äääää äääää");
}

}  // namespace
}  // namespace smartkey::ctl
