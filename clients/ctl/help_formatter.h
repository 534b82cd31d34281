// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"

namespace smartkey::ctl {

// The help as CLI11 writes it, in lines that fit a terminal. A command's description is what the
// list of commands has; what is more to be said of it is its footer, which its own help ends with.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
  std::string make_subcommand(const CLI::App* command) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

}  // namespace smartkey::ctl
