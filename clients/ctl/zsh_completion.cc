// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "clients/ctl/completion_script.h"

namespace smartkey::ctl {
namespace {

constexpr char kBegin[] = R"zsh(#compdef smartkeyctl
# zsh completion for smartkeyctl, written by "smartkeyctl completion zsh"

_smartkeyctl_names() {
  local what=$@[-1]  # before it stand the options that _arguments has for compadd
  local -a names=(${(f)"$(_call_program $what smartkeyctl completion --names $what 2>/dev/null)"})
  compadd "$@[1,-2]" -a names
}
)zsh";

// Sourced, or found by compinit.
constexpr char kEnd[] = R"(
if [[ $funcstack[1] == _smartkeyctl ]]; then
  _smartkeyctl "$@"
else
  compdef _smartkeyctl smartkeyctl
fi
)";

std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// For what _arguments reads.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string Function(const CompletedCommand& command) {
  std::string name = "_smartkeyctl";
  for (const std::string& word : command.path) {
    absl::StrAppend(&name, "_", absl::StrReplaceAll(word, {{"-", "_"}}));
  }
  return command.path.empty() ? name : absl::StrCat(name, "_command");
}

std::string Complete(const CompletedValue& value) {
  switch (value.kind) {
    case CompletedValue::Kind::kWords:
      return absl::StrCat("(", absl::StrJoin(value.words, " "), ")");
    case CompletedValue::Kind::kWordList:
      return absl::StrCat("_values -s , ", absl::AsciiStrToLower(value.name), " ",
                          absl::StrJoin(value.words, " "));
    case CompletedValue::Kind::kNames:
      return absl::StrCat("_smartkeyctl_names ", value.words.front());
    case CompletedValue::Kind::kUsers:
      return "_users";
    case CompletedValue::Kind::kFiles:
      return "_files";
    case CompletedValue::Kind::kAnything:
      break;
  }
  return " ";
}

std::string Argument(const CompletedOption& option) {
  std::string text = absl::StrCat(option.repeatable ? "*" : "", option.name, "[",
                                  Escaped(option.description), "]");
  if (option.value) {
    absl::StrAppend(&text, ":", Escaped(option.value->name), ":", Complete(*option.value));
  }
  return Quoted(text);
}

void AppendFunction(const CompletedCommand& command, const CompletedCommand& program,
                    std::string& script) {
  std::vector<std::string> arguments;
  for (const CompletedOption& option : command.options) arguments.push_back(Argument(option));
  if (&command != &program) {
    for (const CompletedOption& option : program.options) {
      if (option.name != "--help") arguments.push_back(Argument(option));
    }
  }
  for (const CompletedValue& value : command.positionals) {
    arguments.push_back(Quoted(absl::StrCat(":", Escaped(value.name), ":", Complete(value))));
  }
  if (!command.commands.empty()) {
    arguments.insert(arguments.end(), {"'1:command:->commands'", "'*::argument:->command'"});
  }
  absl::StrAppend(&script, "\n", Function(command), "() {\n",
                  "  local curcontext=$curcontext state line\n  local -A opt_args\n",
                  "  _arguments -C \\\n    ", absl::StrJoin(arguments, " \\\n    "), "\n");
  if (!command.commands.empty()) {
    absl::StrAppend(&script, "  case $state in\n  commands)\n    local -a commands=(\n");
    for (const CompletedCommand& below : command.commands) {
      absl::StrAppend(&script, "      ",
                      Quoted(absl::StrCat(below.path.back(), ":", below.description)), "\n");
    }
    absl::StrAppend(&script, "    )\n    _describe command commands\n    ;;\n",
                    "  command)\n    case $line[1] in\n");
    for (const CompletedCommand& below : command.commands) {
      absl::StrAppend(&script, "    ", below.path.back(), ") ", Function(below), " ;;\n");
    }
    absl::StrAppend(&script, "    esac\n    ;;\n  esac\n");
  }
  absl::StrAppend(&script, "}\n");
  for (const CompletedCommand& below : command.commands) AppendFunction(below, program, script);
}

}  // namespace

std::string ZshCompletion(const CompletedCommand& program) {
  std::string script = kBegin;
  AppendFunction(program, program, script);
  return absl::StrCat(script, kEnd);
}

}  // namespace smartkey::ctl
