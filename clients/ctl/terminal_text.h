// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace smartkey::ctl {

// Takes up the locale of the environment for what is a character and how wide it is. Before there
// are threads. Without it, or where the locale's characters are not UTF-8, only ASCII is shown as
// it is.
void UseLocale();

// Text from anywhere, made fit for one line of a terminal: what is no visible character, or changes
// how others are shown (controls, the direction of writing), becomes \xNN, byte by byte. Cut to
// `limit` bytes, never within a character.
std::string TerminalText(absl::string_view text, size_t limit = 256);

// How many columns of a terminal a TerminalText takes.
size_t ColumnsOf(absl::string_view text);

// The longest beginning of a TerminalText that takes no more than `columns`.
absl::string_view TakeColumns(absl::string_view text, size_t columns);

}  // namespace smartkey::ctl
