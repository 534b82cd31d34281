// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <cstdlib>

#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace smartkey {

namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

const char* JournalPrefix(LogLevel level) {
  static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  if (!journal) return "";
  switch (level) {
    case LogLevel::kDebug:
      return "<7>";
    case LogLevel::kInfo:
      return "<6>";
    case LogLevel::kWarning:
      return "<4>";
    case LogLevel::kError:
      return "<3>";
  }
  return "";
}

spdlog::logger& Logger() {
  // Never destroyed: threads that outlive main's statics may still log.
  static spdlog::logger* const logger = [] {
    auto* made = new spdlog::logger("smartkeyd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    // The journal has its own clock; a terminal or a file has not.
    made->set_pattern(journal ? "%v" : "%Y-%m-%dT%H:%M:%S.%e%z %l %v");
    made->set_level(spdlog::level::info);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *logger;
}

LogSink log_sink = nullptr;  // set before there are threads

}  // namespace

void Log(LogLevel level, absl::string_view message, std::initializer_list<LogField> fields) {
  if (!Logger().should_log(ToSpdlog(level))) return;
  std::string line = absl::StrCat(log_sink != nullptr ? "" : JournalPrefix(level), message);
  std::vector<LogField> printable;
  for (const LogField& field : fields) {
    const std::string value = Printable(field.value, 1024);
    if (log_sink != nullptr) printable.emplace_back(field.name, value);
    const bool quote = value.empty() || value.find_first_of(" \"=") != std::string::npos;
    absl::StrAppend(&line, " ", field.name, "=", quote ? "\"" : "", value, quote ? "\"" : "");
  }
  if (log_sink != nullptr) return log_sink(level, line, printable);
  Logger().log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void SetLogLevel(LogLevel lowest) {
  Logger().set_level(ToSpdlog(lowest));
}

LogLevel GetLogLevel() {
  switch (Logger().level()) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LogLevel::kDebug;
    case spdlog::level::info:
      return LogLevel::kInfo;
    case spdlog::level::warn:
      return LogLevel::kWarning;
    default:
      return LogLevel::kError;
  }
}

void SetLogSink(LogSink sink) {
  log_sink = sink;
}

}  // namespace smartkey
