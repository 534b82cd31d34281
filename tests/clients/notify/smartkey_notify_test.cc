// SPDX-License-Identifier: Apache-2.0
// The program itself, with a real bus on which the test is the desktop, and the services of
// smartkey.v1.
#include <signal.h>
#include <systemd/sd-bus.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/mutex.h"
#include "clients/notify/desktop.h"
#include "clients/notify/notices.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/clients/child_process.h"
#include "tests/clients/fake_daemon.h"
#include "tests/clients/temp_dir.h"

namespace smartkey {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

client::RegistrationEvent EventOf(UserAction action, client::WatchEvent kind, int days = 0) {
  client::RegistrationEvent event;
  event.event = kind;
  event.ending_days = days;
  event.registration.emplace();
  event.registration->id = "r-1";
  event.registration->name = "mercy";
  event.registration->relation = client::Relation::kOwn;
  event.registration->user_action = action;
  return event;
}

TEST(Notices, ANeedIsToldOnceUntilItWasMet) {
  using client::WatchEvent;
  notify::Notices notices;
  EXPECT_FALSE(notices.Of(EventOf(UserAction::kNone, WatchEvent::kCurrent)).has_value());
  const auto notice = notices.Of(EventOf(UserAction::kRenew, WatchEvent::kCurrent));
  ASSERT_TRUE(notice.has_value());
  EXPECT_EQ(notice->title, "mercy needs you");
  EXPECT_THAT(notice->body, HasSubstr("smartkeyctl renew mercy"));
  EXPECT_FALSE(notices.Of(EventOf(UserAction::kRenew, WatchEvent::kCurrent)).has_value());
  EXPECT_FALSE(notices.Of(EventOf(UserAction::kNone, WatchEvent::kCurrent)).has_value());
  EXPECT_TRUE(notices.Of(EventOf(UserAction::kRenew, WatchEvent::kCurrent)).has_value());
}

TEST(Notices, WhatOthersShare_IsTheirsToRenew) {
  notify::Notices notices;
  client::RegistrationEvent event = EventOf(UserAction::kRenew, client::WatchEvent::kCurrent);
  event.registration->relation = client::Relation::kShared;
  EXPECT_FALSE(notices.Of(event).has_value());
}

TEST(Notices, AnEndIsToldAtSevenDaysAndAtOne) {
  const auto ending = [](int days) {
    return EventOf(UserAction::kNone, client::WatchEvent::kEnding, days);
  };
  notify::Notices notices;
  EXPECT_FALSE(notices.Of(ending(14)).has_value());
  EXPECT_EQ(notices.Of(ending(7))->title, "mercy ends in 7 days");
  EXPECT_FALSE(notices.Of(ending(7)).has_value());
  EXPECT_EQ(notices.Of(ending(1))->title, "mercy ends in 1 day");
}

TEST(Notices, ARequestIsToldOnceAndInWordsThatAreMarkedAsHis) {
  notify::Notices notices;
  notices.Of(EventOf(UserAction::kNone, client::WatchEvent::kCurrent));
  client::AccessRequest request;
  request.id = "request-1";
  request.principal = "user:bob";
  request.registration_id = "r-1";
  request.operations = {"TOKEN"};
  request.reason = "<b>approve me</b>";
  const std::vector<notify::Notice> told = notices.Of({request});
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].title, "user:bob asks to use mercy");
  EXPECT_THAT(told[0].body, HasSubstr("Says: \"<b>approve me</b>\""));
  EXPECT_THAT(notify::EscapeMarkup(told[0].body), HasSubstr("&lt;b&gt;approve me"));
  EXPECT_THAT(notices.Of({request}), IsEmpty());
  EXPECT_THAT(notices.Of(std::vector<client::AccessRequest>()), IsEmpty());
}

// A bus with the test as its desktop.
class Desktop {
 public:
  Desktop() {
    const std::string configuration = dir_.File("bus.conf");
    std::ofstream(configuration)
        << "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" "
           "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig>"
           "<type>session</type><listen>unix:path="
        << dir_.File("bus")
        << "</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow "
           "send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy>"
           "</busconfig>";
    daemon_ =
        std::make_unique<ChildProcess>(std::vector<std::string>{"/usr/bin/dbus-daemon", "--nofork",
                                                                "--config-file=" + configuration},
                                       std::vector<std::string>{});
    const absl::Time limit = absl::Now() + absl::Seconds(60);
    while (!Connect() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(10));
    EXPECT_NE(bus_, nullptr);
    static const sd_bus_vtable kTable[] = {
        SD_BUS_VTABLE_START(0), SD_BUS_METHOD("Notify", "susssasa{sv}i", "u", &Desktop::Notify, 0),
        SD_BUS_VTABLE_END};
    EXPECT_GE(sd_bus_add_object_vtable(bus_, nullptr, "/org/freedesktop/Notifications",
                                       "org.freedesktop.Notifications", kTable, this),
              0);
    EXPECT_GE(sd_bus_request_name(bus_, "org.freedesktop.Notifications", 0), 0);
    thread_ = std::thread([this] { Serve(); });
  }

  ~Desktop() {
    {
      MutexLock lock(mu_);
      stop_ = true;
    }
    thread_.join();
    sd_bus_flush_close_unref(bus_);
  }

  std::string address() const { return "unix:path=" + dir_.File("bus"); }

  std::vector<std::string> shown() const {
    MutexLock lock(mu_);
    return shown_;
  }

 private:
  bool Connect() {
    sd_bus* bus = nullptr;
    if (sd_bus_new(&bus) < 0) return false;
    sd_bus_set_address(bus, address().c_str());
    sd_bus_set_bus_client(bus, 1);
    if (sd_bus_start(bus) < 0 || sd_bus_get_unique_name(bus, &name_) < 0) {
      sd_bus_close_unref(bus);
      return false;
    }
    bus_ = bus;
    return true;
  }

  void Serve() {
    while (true) {
      {
        MutexLock lock(mu_);
        if (stop_) return;
      }
      if (sd_bus_process(bus_, nullptr) == 0) sd_bus_wait(bus_, 20'000);
    }
  }

  static int Notify(sd_bus_message* message, void* self, sd_bus_error*) {
    const char *app, *icon, *title, *body;
    uint32_t replaces;
    if (sd_bus_message_read(message, "susss", &app, &replaces, &icon, &title, &body) < 0) return -1;
    auto* desktop = static_cast<Desktop*>(self);
    {
      MutexLock lock(desktop->mu_);
      desktop->shown_.push_back(absl::StrCat(title, ": ", body));
    }
    return sd_bus_reply_method_return(message, "u", 1U);
  }

  TempDir dir_;
  std::unique_ptr<ChildProcess> daemon_;
  sd_bus* bus_ = nullptr;
  const char* name_ = nullptr;
  mutable Mutex mu_;
  std::vector<std::string> shown_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

TEST(SmartkeyNotify, ANeedAnEndAndARequest_AreShownOnTheDesktop) {
  TempDir dir;
  FakeDaemon daemon(dir.File("smartkeyd.sock"));
  daemon.EditRegistration([](v1::Registration& registration) {
    registration.set_relation(v1::OWN);
    registration.set_user_action(v1::ErrorDetail::RENEW);
  });
  Desktop desktop;
  ChildProcess program({SMARTKEY_NOTIFY_BINARY}, {"DBUS_SESSION_BUS_ADDRESS=" + desktop.address(),
                                                  "SMARTKEY_SOCKET=" + dir.File("smartkeyd.sock")});
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (desktop.shown().size() < 3 && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(10));
  const std::vector<std::string> shown = desktop.shown();
  EXPECT_THAT(shown, Contains(HasSubstr("mercy needs you")));
  EXPECT_THAT(shown, Contains(HasSubstr("mercy ends in 7 days")));
  EXPECT_THAT(shown, Contains(HasSubstr("user:bob asks to use")));
  kill(program.pid(), SIGTERM);
  EXPECT_EQ(program.Wait(), 128 + SIGTERM);
}

TEST(SmartkeyNotify, WithoutADaemon_ItSaysSoAndGoesOn) {
  TempDir dir;
  const std::string log = dir.File("log");
  ChildProcess program({"/bin/sh", "-c", absl::StrCat("exec " SMARTKEY_NOTIFY_BINARY " 2>", log)},
                       {"SMARTKEY_SOCKET=" + dir.File("none.sock")});
  const auto said = [&] {
    std::ifstream file(log);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const absl::Time limit = absl::Now() + absl::Seconds(60);
  while (said().empty() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_THAT(said(), HasSubstr("smartkey-notify: "));
  EXPECT_EQ(kill(program.pid(), SIGTERM), 0);
  EXPECT_EQ(program.Wait(), 128 + SIGTERM);
}

}  // namespace
}  // namespace smartkey
