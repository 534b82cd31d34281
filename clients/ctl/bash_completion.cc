// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/ctl/completion_script.h"

namespace smartkey::ctl {
namespace {

constexpr char kBegin[] =
    R"(# bash completion for smartkeyctl, written by "smartkeyctl completion bash"

_smartkeyctl() {
  local word=${COMP_WORDS[COMP_CWORD]} command= option= place=0 words= list= typed i
  [[ $word == = ]] && word=
  for ((i = 1; i < COMP_CWORD; i++)); do
    typed=${COMP_WORDS[i]}
    [[ $typed == = ]] && continue
    if [[ $typed == : ]]; then  # bash splits user:bob in three
      i=$((i + 1))
      continue
    fi
    if [[ $option ]]; then  # this is its value
      option=
      continue
    fi
    case $command:$typed in
)";

constexpr char kAfterWords[] = R"(      *:-*) ;;
      *) place=$((place + 1)) ;;
    esac
  done
  if [[ ! $option && $word == -* ]]; then
    case $command in
)";

constexpr char kAfterOptions[] = R"(    esac
  else
    case $command:${option:-$place} in
)";

constexpr char kEnd[] = R"(    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _smartkeyctl smartkeyctl
)";

std::string Path(const CompletedCommand& command) {
  return absl::StrJoin(command.path, " ");
}

// A pattern for `$command:what`.
std::string Pattern(const CompletedCommand& command, const std::string& what) {
  if (command.path.empty() && what[0] == '-') return absl::StrCat("*:", what);
  return absl::StrCat("'", Path(command), ":", what, "'");
}

std::string Case(const std::string& pattern, const std::string& action) {
  return absl::StrCat("      ", pattern, ") ", action, " ;;\n");
}

std::string Complete(const CompletedValue& value) {
  switch (value.kind) {
    case CompletedValue::Kind::kWords:
      return absl::StrCat("words='", absl::StrJoin(value.words, " "), "'");
    case CompletedValue::Kind::kWordList:
      return absl::StrCat(
          "[[ $word == *,* ]] && list=${word%,*},; COMPREPLY=($(compgen -P \"$list\" -W '",
          absl::StrJoin(value.words, " "), "' -- \"${word##*,}\")); return");
    case CompletedValue::Kind::kNames:
      return absl::StrCat("words=$(smartkeyctl completion --names ", value.words.front(),
                          " 2>/dev/null)");
    case CompletedValue::Kind::kUsers:
      return "COMPREPLY=($(compgen -u -- \"$word\")); return";
    case CompletedValue::Kind::kFiles:
      return "compopt -o default; return";
    case CompletedValue::Kind::kAnything:
      break;
  }
  return ":";
}

// Which words are commands, and which options take a value.
void AppendWords(const CompletedCommand& command, std::string& script) {
  for (const CompletedOption& option : command.options) {
    if (option.value)
      absl::StrAppend(&script, Case(Pattern(command, option.name), "option=$typed"));
  }
  for (const CompletedCommand& below : command.commands) {
    absl::StrAppend(&script, Case(Pattern(command, below.path.back()),
                                  absl::StrCat("command='", Path(below), "'")));
    AppendWords(below, script);
  }
}

void AppendOptions(const CompletedCommand& command, const CompletedCommand& program,
                   std::string& script) {
  std::vector<std::string> names;
  for (const CompletedOption& option : command.options) names.push_back(option.name);
  if (&command != &program) {
    for (const CompletedOption& option : program.options) {
      if (option.name != "--help") names.push_back(option.name);
    }
  }
  absl::StrAppend(&script, Case(absl::StrCat("'", Path(command), "'"),
                                absl::StrCat("words='", absl::StrJoin(names, " "), "'")));
  for (const CompletedCommand& below : command.commands) AppendOptions(below, program, script);
}

void AppendValues(const CompletedCommand& command, std::string& script) {
  for (const CompletedOption& option : command.options) {
    if (!option.value) continue;
    absl::StrAppend(&script, Case(Pattern(command, option.name), Complete(*option.value)));
  }
  for (size_t i = 0; i < command.positionals.size(); ++i) {
    absl::StrAppend(&script,
                    Case(Pattern(command, absl::StrCat(i)), Complete(command.positionals[i])));
  }
  std::vector<std::string> commands;
  for (const CompletedCommand& below : command.commands) commands.push_back(below.path.back());
  if (!commands.empty()) {
    absl::StrAppend(&script, Case(Pattern(command, "0"),
                                  absl::StrCat("words='", absl::StrJoin(commands, " "), "'")));
  }
  for (const CompletedCommand& below : command.commands) AppendValues(below, script);
}

}  // namespace

std::string BashCompletion(const CompletedCommand& program) {
  std::string script = kBegin;
  AppendWords(program, script);
  absl::StrAppend(&script, kAfterWords);
  AppendOptions(program, program, script);
  absl::StrAppend(&script, kAfterOptions);
  AppendValues(program, script);
  return absl::StrCat(script, kEnd);
}

}  // namespace smartkey::ctl
