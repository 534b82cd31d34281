// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "clients/notify/notices.h"

namespace smartkey::notify {

// Text made fit for the body of a notification, in which servers may understand mark-up (Desktop
// Notifications Specification, "Markup"): '&', '<' and '>' become entities.
std::string EscapeMarkup(absl::string_view text);

// Shows it through org.freedesktop.Notifications on the session bus, over a connection of its own,
// so that a desktop that comes and goes is no concern. Errors: kUnavailable, with what the bus
// says.
absl::Status Show(const Notice& notice);

}  // namespace smartkey::notify
