// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/redirect_wait.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/time/clock.h"
#include "base/error.h"

namespace smartkey::ctl {
namespace {

// A background job that touches the terminal's settings is stopped by the kernel.
bool IsOurTerminal(int fd) {
  return isatty(fd) == 1 && tcgetpgrp(fd) == getpgrp();
}

}  // namespace

PastedLines::PastedLines(int fd) : fd_(fd), terminal_(IsOurTerminal(fd) ? fd : -1) {
  if (terminal_ < 0 || tcgetattr(terminal_, &before_) != 0) return;
  termios settings = before_;
  settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  settings.c_cc[VMIN] = 1;
  settings.c_cc[VTIME] = 0;
  tcsetattr(terminal_, TCSANOW, &settings);
}

PastedLines::~PastedLines() {
  WipeString(buffer_);
  if (terminal_ >= 0) tcsetattr(terminal_, TCSANOW, &before_);
}

void PastedLines::Fill() {
  char bytes[4096];
  const ssize_t n = read(fd_, bytes, sizeof(bytes));
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    fd_ = -1;
    return;
  }
  // Grown at once to its largest: growing would leave copies behind.
  buffer_.reserve(kLongestLine + sizeof(bytes));
  buffer_.append(bytes, static_cast<size_t>(n));
  explicit_bzero(bytes, sizeof(bytes));
}

bool PastedLines::NextLine(Secret& line) {
  const size_t end = buffer_.find_first_of("\r\n");
  const bool last = end == std::string::npos && (fd_ < 0 || buffer_.size() > kLongestLine);
  if (end == std::string::npos && (!last || buffer_.empty())) return false;
  line = Secret::CopyOf(absl::string_view(buffer_).substr(0, end));
  std::string rest = last ? "" : buffer_.substr(end + 1);
  WipeString(buffer_);
  buffer_ = std::move(rest);
  return true;
}

absl::StatusOr<Secret> WaitForRedirect(const RedirectSources& sources, absl::Duration timeout,
                                       std::ostream& notice) {
  const absl::Time limit = absl::Now() + timeout;
  while (true) {
    // poll() passes over entries of -1.
    pollfd fds[] = {
        {sources.listener != nullptr ? sources.listener->ready_fd() : -1, POLLIN, 0},
        {sources.pasted != nullptr ? sources.pasted->fd() : -1, POLLIN, 0},
        {sources.interrupt_fd, POLLIN, 0},
        {sources.failed_fd, POLLIN, 0},
    };
    const absl::Duration left = std::max(limit - absl::Now(), absl::ZeroDuration());
    if (fds[0].fd < 0 && fds[1].fd < 0) {
      return MakeError(Reason::kBrowserTimeout, "the input ended before a redirect was pasted");
    }
    const int n = poll(fds, std::size(fds),
                       static_cast<int>(absl::ToInt64Milliseconds(
                           absl::Ceil(std::min(left, absl::Hours(24)), absl::Milliseconds(1)))));
    if (n == 0 && absl::Now() >= limit) {
      return MakeError(Reason::kBrowserTimeout, "the browser did not come back in time");
    }
    if (n <= 0) continue;
    if (fds[0].revents != 0) return sources.listener->TakeQuery();
    if (fds[2].revents != 0) {
      return MakeError(Reason::kEnrollmentCancelled, "interrupted; the enrollment was given up");
    }
    if (fds[3].revents != 0) return MakeError(Reason::kEnrollmentExpired, "the enrollment ended");
    if (fds[1].revents == 0) continue;
    sources.pasted->Fill();
    for (Secret line; sources.pasted->NextLine(line);) {
      if (line.empty()) continue;
      auto query = RedirectQueryOf(line.RevealSecret());
      if (!query.has_value()) {
        notice << "That is not the address of the page the browser ended on: it has no code= in "
                  "it. Paste the whole address.\n";
      } else if (!HasState(*query, sources.state)) {
        WipeString(*query);
        notice << "That address belongs to another login, or a part of it is missing. Paste the "
                  "whole address of the page that this login ended on.\n";
      } else {
        return Secret(*std::move(query));
      }
    }
  }
}

}  // namespace smartkey::ctl
