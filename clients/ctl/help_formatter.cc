// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/help_formatter.h"

#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

// CLI11 indents what is in a group of options by that.
constexpr size_t kGroupIndent = 2;

// For the right column: CLI11 puts the lines below each other.
std::string Wrapped(const std::string& text, size_t left_column) {
  return WrapWords(text, 0, kTerminalColumns - left_column - kGroupIndent);
}

}  // namespace

std::string HelpFormatter::make_description(const CLI::App* app) const {
  const std::string text = CLI::Formatter::make_description(app);
  // A group has none of its own, only how many of its options there must be.
  return WrapWords(absl::StripLeadingAsciiWhitespace(text), 0, kTerminalColumns);
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  if (app->get_footer().empty()) return "";
  return absl::StrCat(WrapWords(app->get_footer(), 0, kTerminalColumns), "\n");
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  std::ostringstream text;
  CLI::detail::format_help(text, command->get_name(),
                           Wrapped(command->get_description(), get_column_width()),
                           get_column_width());
  return text.str();
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return Wrapped(option->get_description(), get_column_width());
}

}  // namespace smartkey::ctl
