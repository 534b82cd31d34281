// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <termios.h>

#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/secret.h"
#include "clients/ctl/redirect_listener.h"

namespace smartkey::ctl {

// Lines that are pasted into the terminal or piped in. A terminal is taken out of line mode while
// this lives, since that would cut a redirect URL after 4,095 characters, and does not show what is
// pasted: it has the authorization code. Not thread-safe.
class PastedLines {
 public:
  static constexpr size_t kLongestLine = 32 * 1024;

  // `fd` stays the caller's.
  explicit PastedLines(int fd);
  ~PastedLines();
  PastedLines(const PastedLines&) = delete;
  PastedLines& operator=(const PastedLines&) = delete;

  // -1 once nothing more can come.
  int fd() const { return fd_; }
  // Reads what is there; blocks if nothing is.
  void Fill();
  // The next whole line, or the unfinished last one. False: there is none.
  bool NextLine(Secret& line);

 private:
  int fd_;
  const int terminal_;  // -1: none whose settings were changed.
  termios before_ = {};
  std::string buffer_;
};

// Where the redirect can come from, and what ends the waiting.
struct RedirectSources {
  RedirectListener* listener = nullptr;  // May be null.
  PastedLines* pasted = nullptr;         // May be null.
  int interrupt_fd = -1;                 // Readable: the person gave up.
  int failed_fd = -1;                    // Readable: the daemon ended the enrollment.
  absl::string_view state;               // What a pasted redirect must have; empty: not known.
};

// The redirect's query from whichever source has it first. `notice` is told about pasted text that
// is no redirect, or another login's. Errors: kBrowserTimeout, also when no source is left;
// kEnrollmentCancelled when interrupted; kEnrollmentExpired when failed_fd became readable (its
// reader knows better).
absl::StatusOr<Secret> WaitForRedirect(const RedirectSources& sources, absl::Duration timeout,
                                       std::ostream& notice);

}  // namespace smartkey::ctl
