// SPDX-License-Identifier: Apache-2.0
// smartkey-notify: tells a person on the desktop when a registration needs a login, comes to its
// end, or is asked for by another user. A user service (smartkey-notify.service), not enabled by
// itself. It shows and decides nothing.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "clients/notify/desktop.h"
#include "clients/notify/notices.h"
#include "smartkey/client.h"

namespace smartkey::notify {
namespace {

constexpr absl::Duration kLookForRequestsEvery = absl::Minutes(1);
constexpr absl::Duration kComeBackAfter = absl::Seconds(10);

class Notifier {
 public:
  explicit Notifier(absl::Duration pause) : pause_(pause) {}

  [[noreturn]] void WatchForEver() {
    std::string said;
    while (true) {
      SayNews(Watch(), said);
      absl::SleepFor(std::min(pause_, kComeBackAfter));
    }
  }

  [[noreturn]] void LookForRequestsForEver() {
    std::string said;
    while (true) {
      SayNews(LookForRequests(), said);
      absl::SleepFor(pause_);
    }
  }

 private:
  // Until the daemon stops.
  absl::Status Watch() {
    const auto client = client::Client::Connect();
    if (!client.ok()) return client.status();
    const auto watch = (*client)->WatchRegistrations();
    if (!watch.ok()) return watch.status();
    while (true) {
      const auto event = (*watch)->Next();
      if (!event.ok()) return event.status();
      if (!event->has_value()) return absl::OkStatus();
      absl::optional<Notice> notice;
      {
        const std::lock_guard<std::mutex> lock(mu_);
        notice = notices_.Of(**event);
      }
      if (notice.has_value()) Say(Show(*notice));
    }
  }

  absl::Status LookForRequests() {
    const auto client = client::Client::Connect();
    if (!client.ok()) return client.status();
    const auto requests = (*client)->ListAccessRequests();
    if (!requests.ok()) return requests.status();
    std::vector<Notice> notices;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      notices = notices_.Of(*requests);
    }
    for (const Notice& one : notices) Say(Show(one));
    return absl::OkStatus();
  }

  // To the journal.
  static void Say(const absl::Status& status) {
    if (status.ok()) return;
    std::cerr << absl::StrCat("smartkey-notify: ", Printable(std::string(status.message()), 400),
                              "\n");
  }

  // The same, but not what was said last.
  static void SayNews(const absl::Status& status, std::string& said) {
    const std::string text(status.message());
    if (text != said) Say(status);
    said = text;
  }

  const absl::Duration pause_;
  std::mutex mu_;
  Notices notices_;  // under mu_
};

}  // namespace
}  // namespace smartkey::notify

int main(int argc, char** argv) {
  if (argc > 1) {
    const bool help = absl::string_view(argv[1]) == "--help";
    (help ? std::cout : std::cerr)
        << "Usage: smartkey-notify\n"
           "Shows what smartkeyd wants of you as desktop notifications, until it is ended.\n"
           "As a service: systemctl --user enable --now smartkey-notify\n";
    return help ? EXIT_SUCCESS : 2;
  }
  smartkey::notify::Notifier notifier(smartkey::notify::kLookForRequestsEvery);
  std::thread([&notifier] { notifier.WatchForEver(); }).detach();
  notifier.LookForRequestsForEver();
}
