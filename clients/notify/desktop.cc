// SPDX-License-Identifier: Apache-2.0
#include "clients/notify/desktop.h"

#include <systemd/sd-bus.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace smartkey::notify {

std::string EscapeMarkup(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

absl::Status Show(const Notice& notice) {
  sd_bus* bus = nullptr;
  int result = sd_bus_open_user(&bus);
  sd_bus_error error = SD_BUS_ERROR_NULL;
  if (result >= 0) {
    // app_name, replaces_id, app_icon, summary, body, actions, hints, expire_timeout.
    result = sd_bus_call_method(
        bus, "org.freedesktop.Notifications", "/org/freedesktop/Notifications",
        "org.freedesktop.Notifications", "Notify", &error, nullptr, "susssasa{sv}i", "smartkey", 0U,
        "dialog-password", notice.title.c_str(), EscapeMarkup(notice.body).c_str(), 0, 0, -1);
  }
  absl::Status status;
  if (result < 0) {
    status = absl::UnavailableError(
        absl::StrCat("the desktop shows no notification: ",
                     error.message != nullptr ? error.message : std::strerror(-result)));
  }
  sd_bus_error_free(&error);
  sd_bus_flush_close_unref(bus);
  return status;
}

}  // namespace smartkey::notify
