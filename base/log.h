// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// One fact beside a log message. Built from what StrCat takes; Secret and Identifying are not among
// it.
struct LogField {
  LogField(absl::string_view name, const absl::AlphaNum& value)
      : name(name), value(value.Piece()) {}
  absl::string_view name;
  std::string value;
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// The process's log: constant messages, facts as fields, one line each on stderr, with the kernel's
// priority prefix (`<6>`) when systemd reads it (sd-daemon(3)), or to a sink. Control characters in
// values are escaped, so that no server and no caller can write a second line. Thread-safe; does
// not block on the reader.
//
//   Log(LogLevel::kWarning, "token request refused", {{"registration", id}, {"error", code}});
void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields = {});

void SetLogLevel(LogLevel lowest);
LogLevel GetLogLevel();

// Takes what is logged instead of stderr: the whole line, and its fields once more, with their
// values as they stand in the line. Thread-safe.
using LogSink = void (*)(LogLevel level, absl::string_view line,
                         const std::vector<LogField>& fields);
// To be called before there are threads. Null: stderr again.
void SetLogSink(LogSink sink);

// Text from outside made fit for one line: control characters and non-ASCII become \xNN, cut to
// `limit` bytes.
std::string Printable(absl::string_view text, size_t limit = 256);
// Likewise where more can be shown: `shown` says how many of the first bytes of what is left stay
// as they are; with 0 the first one becomes \xNN.
std::string Printable(absl::string_view text, size_t limit,
                      absl::FunctionRef<size_t(absl::string_view rest)> shown);

}  // namespace smartkey
