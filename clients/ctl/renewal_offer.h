// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "clients/ctl/browser_enrollment.h"
#include "clients/ctl/interrupt.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

// Some servers end a person's earlier registration of an app when another one is made. So before a
// second one, when smartkeyd has warned of it (SAME_APP_SAME_SERVER): says which one there is and
// how to renew it, and, where a person sits at `options.input_fd` and `options.ask` is true, asks.
// Where nobody can be asked the enrollment goes on: whoever wrote a script has decided.
//
// Returns the name of the registration to renew instead; empty: go on. Errors: kCancelled
// (neither), and kEnrollmentCancelled for Ctrl-C. What to do with the enrollment that was begun is
// the caller's.
absl::StatusOr<std::string> ConsiderRenewal(client::Client& client,
                                            const client::BegunEnrollment& begun,
                                            const BrowserEnrollmentOptions& options,
                                            Interrupt& interrupt, std::ostream& err);

}  // namespace smartkey::ctl
