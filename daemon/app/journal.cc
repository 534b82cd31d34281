// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/journal.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/log.h"
#include "base/unique_fd.h"

namespace smartkey {
namespace {

int PriorityOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return LOG_DEBUG;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kError:
      return LOG_ERR;
  }
  return LOG_ERR;
}

int SendFields(LogLevel level, absl::string_view line, const std::vector<LogField>& fields) {
  std::vector<std::string> entries = {absl::StrCat("MESSAGE=", line),
                                      absl::StrCat("PRIORITY=", PriorityOf(level)),
                                      "SYSLOG_IDENTIFIER=smartkeyd"};
  for (const LogField& field : fields) {
    entries.push_back(
        absl::StrCat("SMARTKEY_", absl::AsciiStrToUpper(field.name), "=", field.value));
  }
  std::vector<iovec> parts;
  for (std::string& entry : entries) parts.push_back({entry.data(), entry.size()});
  return sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
}

void Send(LogLevel level, absl::string_view line, const std::vector<LogField>& fields) {
  SendFields(level, line, fields);
}

bool StderrIsTheJournal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  struct stat info {};
  return stream != nullptr && fstat(STDERR_FILENO, &info) == 0 &&
         absl::StrCat(info.st_dev, ":", info.st_ino) == stream;
}

// 0, or a negative errno where nobody takes what is sent there.
int TryJournal(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return -ENAMETOOLONG;
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return -errno;
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0
             ? 0
             : -errno;
}

}  // namespace

void LogToJournal() {
  if (StderrIsTheJournal()) SetLogSink(Send);
}

absl::Status PublishAuditHead(const AuditHead& head, const std::string& thumbprint,
                              const std::string& journal_socket) {
  const std::string line =
      absl::StrCat("checkpoint of the audit log audit_head=", head.ToString(), " key=", thumbprint);
  int result;
  if (StderrIsTheJournal()) {
    // sd_journal_sendv gives 0 also where there is no journal that could have it.
    result = TryJournal(journal_socket);
    if (result >= 0) {
      result =
          SendFields(LogLevel::kInfo, line, {{"audit_head", head.ToString()}, {"key", thumbprint}});
    }
  } else {
    // As every line of the log there looks (base/log.cc).
    const std::string time =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E3S%Ez", absl::Now(), absl::LocalTimeZone());
    result = dprintf(STDERR_FILENO, "%s info %s\n", time.c_str(), line.c_str()) < 0 ? -errno : 0;
  }
  if (result >= 0) return absl::OkStatus();
  return MakeError(
      Reason::kStoreUnavailable,
      absl::StrCat("sending the audit log's head to the journal: ", strerror(-result)));
}

}  // namespace smartkey
