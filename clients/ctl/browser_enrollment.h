// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/ctl/interrupt.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

struct BrowserEnrollmentOptions {
  bool open_browser = true;
  absl::Duration patience = absl::Minutes(5);  // For the person in the browser.
  int input_fd = 0;                            // Where a redirect may be pasted.
  bool ask = true;  // Before a second registration of an app at a server, where a person is.
};

// Steps 1 and 2 with a person: listens at the app's redirect URI, begins the enrollment, shows what
// is asked of whom, opens the browser, waits for the redirect (from the listener, or pasted), and
// hands its query to smartkeyd. Blocks until the registration is made or has failed; progress goes
// to `err`.
//
// Ctrl-C, and every failure on this side, cancels the enrollment at the daemon. Must be called
// while the process has one thread, since it takes over Ctrl-C.
//
// Errors beside the daemon's: kUnknownServer, kUnknownApp, kInvalidArgument (several apps fit),
// kRedirectPortBusy, kBrowserTimeout, kEnrollmentCancelled.
absl::StatusOr<client::Registration> EnrollInBrowser(client::Client& client,
                                                     client::EnrollmentWish wish,
                                                     const BrowserEnrollmentOptions& options,
                                                     Interrupt& interrupt, std::ostream& err);

}  // namespace smartkey::ctl
