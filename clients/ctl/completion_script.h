// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/types/optional.h"

namespace smartkey::ctl {

// What may be typed, as a shell's completion wants to know it.

// How a value is completed.
struct CompletedValue {
  enum class Kind {
    kAnything,  // nobody can know
    kWords,     // one of `words`
    kWordList,  // some of `words`, with commas between them
    kNames,     // one of what the daemon knows: `words` is registrations, servers or apps
    kUsers,
    kFiles,
  };
  std::string name;  // as the help has it: REG
  Kind kind = Kind::kAnything;
  std::vector<std::string> words;
};

struct CompletedOption {
  std::string name;  // with its dashes
  std::string description;
  absl::optional<CompletedValue> value;  // absent: a flag
  bool repeatable = false;
};

struct CompletedCommand {
  std::vector<std::string> path;  // empty for the program, {"tpm", "provision"}
  std::string description;
  std::vector<CompletedOption> options;
  std::vector<CompletedValue> positionals;
  std::vector<CompletedCommand> commands;
};

// Scripts that complete `smartkeyctl` in that shell: to be sourced, or installed where the shell
// looks for them. The options of `program` count in every command.
std::string BashCompletion(const CompletedCommand& program);
std::string ZshCompletion(const CompletedCommand& program);

}  // namespace smartkey::ctl
