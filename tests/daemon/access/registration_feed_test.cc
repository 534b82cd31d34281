// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/registration_feed.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "tests/fakes/callers.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_registration_store.h"
#include "tests/fakes/fake_scheduler.h"

namespace smartkey {
namespace {

using Words = std::vector<std::string>;

constexpr absl::Duration kDay = absl::Hours(24);

class RegistrationFeedTest : public testing::Test {
 protected:
  // A watch whose reader is the test.
  struct Reader {
    RegistrationFeed::WatchId id = 0;
    int wakes = 0;
  };

  std::shared_ptr<Reader> Watch(const Caller& caller, RegistrationFeed::Filter filter = nullptr) {
    auto reader = std::make_shared<Reader>();
    const auto id = feed_->Watch(caller, std::move(filter), [reader] { ++reader->wakes; });
    EXPECT_TRUE(id.ok()) << id.status();
    if (id.ok()) reader->id = *id;
    return reader;
  }

  // Everything there is now: "CURRENT r1", "REMOVED r1", "SYNCED", "ENDING r1 14".
  Words Read(const Reader& reader) {
    Words words;
    for (;;) {
      const auto next = feed_->Next(reader.id);
      if (!next.ok()) {
        words.push_back(std::string(ReasonName(ReasonOf(next.status()))));
        return words;
      }
      if (!next->has_value()) return words;
      words.push_back(InWords(**next));
    }
  }
  static std::string InWords(const RegistrationEvent& event) {
    switch (event.kind) {
      case RegistrationEvent::Kind::kCurrent:
        EXPECT_EQ(event.registration->id, event.id);
        return "CURRENT " + event.id;
      case RegistrationEvent::Kind::kRemoved:
        EXPECT_EQ(event.registration, nullptr);
        return "REMOVED " + event.id;
      case RegistrationEvent::Kind::kSynced:
        return "SYNCED";
      case RegistrationEvent::Kind::kEnding:
        EXPECT_EQ(event.registration->id, event.id);
        return absl::StrCat("ENDING ", event.id, " ", event.ending_days);
    }
    return "?";
  }

  void Add(const std::string& id, const Caller& owner, absl::Duration access_for = {}) {
    Registration registration;
    registration.id = id;
    registration.owner_uid = owner.uid;
    registration.owner_name = owner.user_name;
    registration.server_name = "mercy";
    registration.name = Identifying("name-" + id);
    registration.created_at = clock_.Now();
    Generation generation;
    generation.state = GenerationState::kActive;
    generation.enrollment_id = "enrollment-" + id;
    generation.registered_at = generation.first_token_at = clock_.Now();
    generation.access_for = access_for;
    registration.generations = {generation};
    store_.Insert(registration, [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
  }
  void Change(const std::string& id, std::function<void(Registration&)> change) {
    store_.Update(
        id,
        [&](Registration& registration) {
          change(registration);
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> done) { EXPECT_TRUE(done.ok()); });
  }
  void SetLabel(const std::string& id, const std::string& label) {
    Change(id, [&](Registration& registration) { registration.label = Identifying(label); });
  }
  void Remove(const std::string& id) {
    store_.Remove(id, [](absl::Status status) { EXPECT_TRUE(status.ok()) << status; });
  }

  const Caller alice_ = User(1000, "alice"), bob_ = User(1001, "bob");
  FakeClock clock_;
  FakeScheduler scheduler_{clock_};
  FakeRegistrationStore store_;
  CurrentCatalog catalog_{Catalog()};
  AccessPolicy access_{store_, catalog_, clock_};
  std::unique_ptr<RegistrationFeed> feed_ =
      std::make_unique<RegistrationFeed>(store_, access_, scheduler_, clock_);
};

TEST_F(RegistrationFeedTest, WatchBegins_TellsWhatThereIsAndThenSoMuch) {
  Add("r1", alice_);
  clock_.Advance(absl::Seconds(1));
  Add("r2", alice_);
  Add("r3", bob_);
  const auto reader = Watch(alice_);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "CURRENT r2", "SYNCED"}));
  EXPECT_EQ(Read(*Watch(User(1002, "carol"))), Words{"SYNCED"});
  Caller admin = User(0, "root");
  admin.admin = true;
  EXPECT_EQ(Read(*Watch(admin)).size(), 4u);
}

TEST_F(RegistrationFeedTest, StoreCannotBeRead_NobodyIsToldThatThereAreNone) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "the database is damaged"));
  EXPECT_EQ(ReasonOf(feed_->Watch(alice_, nullptr, [] {}).status()), Reason::kStoreUnavailable);
  EXPECT_EQ(feed_->watchers(), 0);
}

TEST_F(RegistrationFeedTest, SomethingChanges_TheWatcherIsWokenOnceAndTold) {
  Add("r1", alice_);
  const auto reader = Watch(alice_);
  Read(*reader);
  SetLabel("r1", "Mum");
  EXPECT_EQ(reader->wakes, 0) << "woken inside the write";
  scheduler_.RunDue();
  EXPECT_EQ(reader->wakes, 1);
  EXPECT_EQ(Read(*reader), Words{"CURRENT r1"});
  Add("r2", alice_);
  Remove("r1");
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), (Words{"REMOVED r1", "CURRENT r2"}));
  EXPECT_EQ(Read(*reader), Words{});
}

TEST_F(RegistrationFeedTest, WriteFails_NobodyIsTold) {
  Add("r1", alice_);
  const auto reader = Watch(alice_);
  Read(*reader);
  store_.FailWrites(MakeError(Reason::kStoreFull, "full"));
  store_.Update(
      "r1", [](Registration&) { return absl::OkStatus(); },
      [](absl::StatusOr<RegistrationStore::Snapshot> done) { EXPECT_FALSE(done.ok()); });
  scheduler_.RunDue();
  EXPECT_EQ(reader->wakes, 0);
}

TEST_F(RegistrationFeedTest, ReaderIsSlow_ChangesComeAsOneWithWhatIsTrueNow) {
  Add("r1", alice_);
  Add("r2", alice_);
  const auto reader = Watch(alice_);
  Read(*reader);
  for (int i = 0; i < 1000; ++i) {
    SetLabel("r1", absl::StrCat("label ", i));
    SetLabel("r2", absl::StrCat("label ", i));
    scheduler_.RunDue();
  }
  EXPECT_EQ(reader->wakes, 1);
  const auto next = feed_->Next(reader->id);
  ASSERT_TRUE(next.ok() && next->has_value());
  EXPECT_EQ((*next)->registration->label.RevealIdentifying(), "label 999");
  EXPECT_EQ(Read(*reader), Words{"CURRENT r2"});
}

TEST_F(RegistrationFeedTest, ComesAndGoesBeforeTheReaderLooks_IsNotMentioned) {
  const auto reader = Watch(alice_);
  Read(*reader);
  Add("r1", alice_);
  Remove("r1");
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), Words{});
}

TEST_F(RegistrationFeedTest, GoneBeforeItWasTold_SyncedComesAllTheSame) {
  Add("r1", alice_);
  Add("r2", alice_);
  const auto reader = Watch(alice_);
  Remove("r1");
  Remove("r2");
  EXPECT_EQ(Read(*reader), Words{"SYNCED"});
}

TEST_F(RegistrationFeedTest, ChangesWhileTheStartIsTold_ComeAfterIt) {
  Add("r1", alice_);
  const auto reader = Watch(alice_);
  Add("r2", alice_);
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "SYNCED", "CURRENT r2"}));
}

TEST_F(RegistrationFeedTest, SomebodyElsesChanges_AreNotTold) {
  Add("r1", alice_);
  const auto reader = Watch(bob_);
  Read(*reader);
  SetLabel("r1", "Mum");
  Remove("r1");
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), Words{});
}

// The store lets no owner change; this is what it looks like to a watcher when the policy does.
TEST_F(RegistrationFeedTest, AccessIsLost_ItIsRemovedForThatWatcher) {
  Add("r1", alice_);
  const auto reader = Watch(alice_);
  Caller admin = User(0, "root");
  admin.admin = true;
  const auto administrator = Watch(admin);
  Read(*reader);
  Read(*administrator);
  Registration handed_over = *store_.Find("r1");
  store_.Remove("r1", [](absl::Status) {});
  handed_over.owner_uid = bob_.uid;
  handed_over.owner_name = bob_.user_name;
  store_.Insert(handed_over, [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), Words{"REMOVED r1"});
  EXPECT_EQ(Read(*administrator), Words{"CURRENT r1"});
}

TEST_F(RegistrationFeedTest, NoLongerFitsTheFilter_IsRemovedAndComesBack) {
  Add("r1", alice_);
  Add("r2", alice_);
  const auto reader = Watch(alice_, [](const Registration& registration) {
    return registration.state() == GenerationState::kActive;
  });
  Read(*reader);
  const auto set_state = [&](GenerationState state) {
    Change("r1", [&](Registration& one) { one.generations[0].state = state; });
    scheduler_.RunDue();
  };
  set_state(GenerationState::kSuspect);
  EXPECT_EQ(Read(*reader), Words{"REMOVED r1"});
  set_state(GenerationState::kReauthRequired);
  EXPECT_EQ(Read(*reader), Words{});
  set_state(GenerationState::kActive);
  EXPECT_EQ(Read(*reader), Words{"CURRENT r1"});
}

TEST_F(RegistrationFeedTest, EndComesNear_IsAnnouncedOnceAtFourteenSevenAndOneDay) {
  Add("r1", alice_, 90 * kDay);
  const auto reader = Watch(alice_);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "SYNCED"}));
  Words announced;
  for (int day = 1; day <= 95; ++day) {
    scheduler_.Advance(kDay);
    for (const std::string& one : Read(*reader)) announced.push_back(absl::StrCat(day, ": ", one));
    // Other changes do not repeat it.
    SetLabel("r1", absl::StrCat("day ", day));
    scheduler_.RunDue();
    EXPECT_EQ(Read(*reader), Words{"CURRENT r1"});
  }
  EXPECT_EQ(announced, (Words{"76: ENDING r1 14", "83: ENDING r1 7", "89: ENDING r1 1"}));
}

TEST_F(RegistrationFeedTest, WatchBeginsLate_IsToldAfterTheStartHowCloseTheEndIs) {
  Add("r1", alice_, 90 * kDay);
  clock_.Advance(85 * kDay);
  const auto reader = Watch(alice_);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "SYNCED", "ENDING r1 7"}));
  scheduler_.Advance(kDay);
  EXPECT_EQ(Read(*reader), Words{});
}

TEST_F(RegistrationFeedTest, WallClockJumps_IsAnnouncedWithinTenMinutes) {
  Add("r1", alice_, 90 * kDay);
  const auto reader = Watch(alice_);
  Read(*reader);
  clock_.StepWall(80 * kDay);
  scheduler_.Advance(absl::Minutes(10));
  EXPECT_EQ(Read(*reader), Words{"ENDING r1 14"});
}

TEST_F(RegistrationFeedTest, EndMoves_IsAnnouncedAnew) {
  Add("r1", alice_, 10 * kDay);
  const auto reader = Watch(alice_);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "SYNCED", "ENDING r1 14"}));
  Change("r1", [](Registration& one) { one.generations[0].access_for = 365 * kDay; });
  scheduler_.RunDue();
  EXPECT_EQ(Read(*reader), Words{"CURRENT r1"});
  scheduler_.Advance(352 * kDay);
  EXPECT_EQ(Read(*reader), Words{"ENDING r1 14"});
}

TEST_F(RegistrationFeedTest, SomebodyElsesEnd_IsNotAnnounced) {
  Add("r1", alice_, 10 * kDay);
  const auto reader = Watch(bob_);
  Read(*reader);
  scheduler_.Advance(5 * kDay);
  EXPECT_EQ(Read(*reader), Words{});
}

TEST_F(RegistrationFeedTest, WatchIsEnded_NothingFollows) {
  Add("r1", alice_);
  const auto reader = Watch(alice_);
  Read(*reader);
  feed_->Unwatch(reader->id);
  feed_->Unwatch(reader->id);
  SetLabel("r1", "Mum");
  scheduler_.Advance(kDay);
  EXPECT_EQ(reader->wakes, 0);
  EXPECT_EQ(Read(*reader), Words{"CANCELLED"});
  EXPECT_EQ(feed_->watchers(), 0);
  EXPECT_EQ(scheduler_.pending(), 0) << "looks for ends that nobody is told";
}

TEST_F(RegistrationFeedTest, Stops_WatchersAreWokenAndToldSo) {
  const auto reader = Watch(alice_), busy = Watch(alice_);
  Read(*reader);
  feed_->Stop();
  EXPECT_EQ(reader->wakes, 1);
  EXPECT_EQ(Read(*reader), Words{"SHUTTING_DOWN"});
  EXPECT_EQ(Read(*busy), Words{"SHUTTING_DOWN"});
  EXPECT_EQ(ReasonOf(feed_->Watch(alice_, nullptr, [] {}).status()), Reason::kShuttingDown);
}

TEST_F(RegistrationFeedTest, FeedEndsWhileTasksAreUnderWay_TheyDoNothing) {
  Add("r1", alice_);
  Read(*Watch(alice_));
  SetLabel("r1", "Mum");
  feed_.reset();
  SetLabel("r1", "Dad");
  scheduler_.Advance(kDay);
  EXPECT_EQ(scheduler_.pending(), 0);
}

TEST_F(RegistrationFeedTest, TooManyOfOneUid_AreRefusedAndOthersAreNot) {
  std::vector<std::shared_ptr<Reader>> readers;
  for (int i = 0; i < 1024; ++i) readers.push_back(Watch(alice_));
  const absl::Status refused = feed_->Watch(alice_, nullptr, [] {}).status();
  EXPECT_EQ(ReasonOf(refused), Reason::kRateLimited);
  EXPECT_TRUE(RetryAfterOf(refused).has_value());
  Watch(bob_);
  feed_->Unwatch(readers[0]->id);
  Watch(alice_);
}

TEST_F(RegistrationFeedTest, CallerIsNobody_IsRefused) {
  EXPECT_EQ(ReasonOf(feed_->Watch(User(65534, "nobody"), nullptr, [] {}).status()),
            Reason::kCallerUnidentified);
  Caller contained = alice_;
  contained.in_container = true;
  EXPECT_EQ(ReasonOf(feed_->Watch(contained, nullptr, [] {}).status()), Reason::kContainerDenied);
}

TEST_F(RegistrationFeedTest, StandsOtherwiseThoughItsRecordIsTheSame_IsToldAgain) {
  Add("r1", alice_);
  Add("r2", alice_);
  const auto reader = Watch(alice_);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r1", "CURRENT r2", "SYNCED"}));
  feed_->NoteChange("r2");
  scheduler_.RunDue();
  EXPECT_EQ(reader->wakes, 1);
  EXPECT_EQ(Read(*reader), (Words{"CURRENT r2"}));
}

}  // namespace
}  // namespace smartkey
