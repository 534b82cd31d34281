// SPDX-License-Identifier: Apache-2.0
#include "clients/notify/notices.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace smartkey::notify {
namespace {

constexpr int kWarnDays = 7;

std::string Lower(const std::vector<std::string>& names) {
  return absl::AsciiStrToLower(absl::StrJoin(names, ", "));
}

}  // namespace

absl::optional<Notice> Notices::Of(const client::RegistrationEvent& event) {
  if (!event.registration.has_value()) return absl::nullopt;
  const client::Registration& registration = *event.registration;
  if (event.event == client::WatchEvent::kRemoved) {
    names_.erase(registration.id);
    needing_.erase(registration.id);
    ending_.erase(registration.id);
    return absl::nullopt;
  }
  names_[registration.id] = registration.name;
  // Only its owner can log in for it.
  if (registration.relation != client::Relation::kOwn) return absl::nullopt;
  const std::string name = Printable(registration.name, 64);
  const std::string renew = absl::StrCat("smartkeyctl renew ", name);

  if (event.event == client::WatchEvent::kEnding) {
    if (event.ending_days > kWarnDays) return absl::nullopt;
    int& told = ending_[registration.id];
    if (told != 0 && told <= static_cast<int>(event.ending_days)) return absl::nullopt;
    told = event.ending_days;
    return Notice{absl::StrCat(name, " ends in ", event.ending_days,
                               event.ending_days == 1 ? " day" : " days"),
                  absl::StrCat("Log in again before that to keep the access: ", renew)};
  }
  if (event.event != client::WatchEvent::kCurrent) return absl::nullopt;
  if (registration.user_action != UserAction::kRenew) {
    needing_.erase(registration.id);
    return absl::nullopt;
  }
  if (!needing_.insert(registration.id).second) return absl::nullopt;
  return Notice{absl::StrCat(name, " needs you"),
                absl::StrCat("Log in again: ", renew, ". Why: smartkeyctl show ", name)};
}

std::vector<Notice> Notices::Of(const std::vector<client::AccessRequest>& requests) {
  std::vector<Notice> notices;
  std::set<std::string> open;
  for (const client::AccessRequest& one : requests) {
    open.insert(one.id);
    if (asked_.contains(one.id)) continue;
    const auto name = names_.find(one.registration_id);
    const std::string what =
        name != names_.end() ? Printable(name->second, 64) : "one of your registrations";
    std::string body = absl::StrCat("Wants: ", Lower(one.operations), ". ");
    // In somebody else's words, and marked as such.
    if (!one.reason.empty()) {
      absl::StrAppend(&body, "Says: \"", Printable(one.reason, 400), "\". ");
    }
    absl::StrAppend(&body, "Decide with: smartkeyctl requests");
    notices.push_back(
        {absl::StrCat(Printable(one.principal, 128), " asks to use ", what), std::move(body)});
  }
  asked_ = std::move(open);
  return notices;
}

}  // namespace smartkey::notify
