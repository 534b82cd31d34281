// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "clients/ctl/redirect_uri.h"

namespace smartkey::ctl {

// For a person who came to this machine by ssh: the command that brings a redirect from the browser
// on their own machine to `port` here, to be run there. `ssh_connection` is the environment's
// SSH_CONNECTION ("client port server port", ssh(1)), null if it has none; `user` is the login
// here. Absent: nobody came by ssh, or the variable makes no sense.
absl::optional<std::string> SshForwarding(const LoopbackUri& uri, uint16_t port,
                                          const char* ssh_connection, absl::string_view user);

}  // namespace smartkey::ctl
