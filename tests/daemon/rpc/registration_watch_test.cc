// SPDX-License-Identifier: Apache-2.0
// RegistrationService.WatchRegistrations over a real socket.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

using Words = std::vector<std::string>;

// One stream, read when the test says so.
class Stream {
 public:
  Stream(const std::shared_ptr<grpc::Channel>& channel,
         const v1::WatchRegistrationsRequest& request = {})
      : stub_(v1::RegistrationService::NewStub(channel)) {
    // Against a test that waits for ever; no test comes near it.
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = stub_->WatchRegistrations(&context_, request);
  }
  ~Stream() {
    if (reader_ == nullptr) return;
    context_.TryCancel();
    reader_->Finish();
  }

  // "CURRENT mercy", "REMOVED id", "SYNCED", "ENDING mercy 14"; "end" when the stream has ended.
  std::string Next() {
    last_.Clear();
    if (!reader_->Read(&last_)) return "end";
    std::string words = v1::WatchRegistrationsResponse::Event_Name(last_.event());
    const v1::Registration& registration = last_.registration();
    if (last_.has_registration()) {
      absl::StrAppend(&words, " ",
                      registration.name().empty() ? registration.id() : registration.name());
    }
    if (last_.ending_days() > 0) absl::StrAppend(&words, " ", last_.ending_days());
    return words;
  }
  Words Next(int count) {
    Words words;
    for (int i = 0; i < count; ++i) words.push_back(Next());
    return words;
  }
  const v1::WatchRegistrationsResponse& last() const { return last_; }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() { return std::exchange(reader_, nullptr)->Finish(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<v1::RegistrationService::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<v1::WatchRegistrationsResponse>> reader_;
  v1::WatchRegistrationsResponse last_;
};

class RegistrationWatch : public Services {
 protected:
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
    store_.Remove(id, [](absl::Status status) { EXPECT_TRUE(status.ok()); });
  }
  // True once it is; the connection's end takes another thread's time.
  bool WaitForWatchers(int count) {
    for (int i = 0; i < 2000; ++i) {
      if (feed_.watchers() == count) return true;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return false;
  }
};

TEST_F(RegistrationWatch, TellsHowThingsStandAndThenEachChange) {
  const std::string id = AddRegistration("mercy");
  AddRegistration("mercy", 1001, "bob");
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(), "CURRENT mercy");
  EXPECT_EQ(stream.last().registration().patient(), "patient-1");
  EXPECT_EQ(stream.last().registration().relation(), v1::OWN);
  EXPECT_EQ(stream.Next(), "SYNCED");
  Change(id, [](Registration& one) { one.suspension = Suspension{1000, "alice"}; });
  EXPECT_EQ(stream.Next(), "CURRENT mercy");
  EXPECT_EQ(stream.last().registration().state_words(), "suspended");
  AddRegistration("other");
  EXPECT_EQ(stream.Next(), "CURRENT other");
  Remove(id);
  EXPECT_EQ(stream.Next(), "REMOVED " + id);
  EXPECT_TRUE(stream.last().registration().patient().empty());
}

TEST_F(RegistrationWatch, AdministratorWatches_SeesAllAndNoPatient) {
  const std::string id = AddRegistration("mercy");
  AddRegistration("mercy", 1001, "bob");
  auto client = Connect(Administrator());
  Stream stream(client->channel);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(stream.Next(), "CURRENT mercy");
    EXPECT_EQ(stream.last().registration().patient(), "");
    EXPECT_EQ(stream.last().registration().label(), "");
  }
  EXPECT_EQ(stream.Next(), "SYNCED");
  SetLabel(id, "Mum");
  EXPECT_EQ(stream.Next(), "CURRENT mercy");
  EXPECT_EQ(stream.last().registration().label(), "");
}

TEST_F(RegistrationWatch, FilterIsGiven_OnlyThoseAreTold) {
  AddRegistration("mercy");
  const std::string other = AddRegistration("other");
  Change(other, [](Registration& one) {
    one.server_name = "elsewhere";
    one.fhir_base = "https://elsewhere.example/fhir";
  });
  auto client = Connect(alice_);
  v1::WatchRegistrationsRequest request;
  request.mutable_filter()->set_server("elsewhere");
  Stream stream(client->channel, request);
  EXPECT_EQ(stream.Next(2), (Words{"CURRENT other", "SYNCED"}));
}

TEST_F(RegistrationWatch, OneIsWatched_TheStreamEndsWithIt) {
  const std::string id = AddRegistration("mercy");
  const std::string other = AddRegistration("other");
  auto client = Connect(alice_);
  v1::WatchRegistrationsRequest request;
  request.set_registration("mercy");
  Stream stream(client->channel, request);
  EXPECT_EQ(stream.Next(2), (Words{"CURRENT mercy", "SYNCED"}));
  SetLabel(other, "not this one");
  Change(id, [](Registration& one) { one.name = Identifying("st-mercy"); });
  EXPECT_EQ(stream.Next(), "CURRENT st-mercy");
  Remove(id);
  EXPECT_EQ(stream.Next(2), (Words{"REMOVED " + id, "end"}));
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_EQ(feed_.watchers(), 0);
}

TEST_F(RegistrationWatch, OneThatIsNotThere_OrSomebodyElses_IsNotFound) {
  const std::string id = AddRegistration("mercy", 1001, "bob");
  auto client = Connect(alice_);
  for (const std::string& name : {std::string("no-such"), std::string("mercy"), id}) {
    v1::WatchRegistrationsRequest request;
    request.set_registration(name);
    Stream stream(client->channel, request);
    EXPECT_EQ(stream.Next(), "end");
    EXPECT_EQ(DetailOf(stream.Finish()).reason(), v1::ErrorDetail::REGISTRATION_NOT_FOUND);
  }
  EXPECT_EQ(feed_.watchers(), 0);
}

TEST_F(RegistrationWatch, EndIsNear_IsAnnouncedWithTheDays) {
  const std::string id = AddRegistration("mercy");
  Change(id, [](Registration& one) { one.generations[0].access_for = absl::Hours(24 * 7); });
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(3), (Words{"CURRENT mercy", "SYNCED", "ENDING mercy 7"}));
  EXPECT_EQ(stream.last().registration().expected_end().source(), v1::ExpectedEnd::PERSON);
}

TEST_F(RegistrationWatch, ReaderDoesNotRead_WritersGoOnAndTheLastStateArrives) {
  const std::string id = AddRegistration("mercy");
  auto client = Connect(alice_);
  Stream slow(client->channel);
  EXPECT_EQ(slow.Next(2), (Words{"CURRENT mercy", "SYNCED"}));
  // Far more than gRPC's window takes: 20,000 messages of more than half a kilobyte.
  for (int i = 0; i < 20'000; ++i) SetLabel(id, absl::StrCat("label ", i));
  // Each was written inside its call: the reader held nobody up. It is given the rest as one.
  int read = 0;
  do {
    ASSERT_EQ(slow.Next(), "CURRENT mercy");
    ++read;
  } while (slow.last().registration().label() != "label 19999");
  EXPECT_LT(read, 10'000);
}

TEST_F(RegistrationWatch, CallerGoes_TheWatchEnds) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  {
    Stream cancelled(client->channel);
    EXPECT_EQ(cancelled.Next(), "CURRENT mercy");
    EXPECT_EQ(feed_.watchers(), 1);
    cancelled.Cancel();
    EXPECT_TRUE(WaitForWatchers(0));
  }
  Stream broken(client->channel);
  EXPECT_EQ(broken.Next(), "CURRENT mercy");
  client->connection->Shutdown();
  EXPECT_TRUE(WaitForWatchers(0));
  client->connection.reset();
}

TEST_F(RegistrationWatch, DaemonStops_TheStreamEndsWithTheReason) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  Stream stream(client->channel);
  EXPECT_EQ(stream.Next(2), (Words{"CURRENT mercy", "SYNCED"}));
  feed_.Stop();
  EXPECT_EQ(stream.Next(), "end");
  EXPECT_EQ(DetailOf(stream.Finish()).reason(), v1::ErrorDetail::SHUTTING_DOWN);
  Stream late(client->channel);
  EXPECT_EQ(late.Next(), "end");
  EXPECT_EQ(DetailOf(late.Finish()).reason(), v1::ErrorDetail::SHUTTING_DOWN);
}

size_t Threads() {
  size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    (void)task;
    ++count;
  }
  return count;
}

TEST_F(RegistrationWatch, AThousandWatch_NoneHasAThreadAndAllAreTold) {
  const std::string id = AddRegistration("mercy");
  constexpr int kConnections = 10, kStreams = 100;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<Stream>> streams;
  {
    // gRPC's own threads have begun.
    auto client = Connect(alice_);
    Stream stream(client->channel);
    EXPECT_EQ(stream.Next(), "CURRENT mercy");
  }
  ASSERT_TRUE(WaitForWatchers(0));
  const size_t before = Threads();
  for (int i = 0; i < kConnections; ++i) {
    clients.push_back(Connect(alice_));
    for (int j = 0; j < kStreams; ++j) {
      streams.push_back(std::make_unique<Stream>(clients.back()->channel));
    }
  }
  for (const auto& stream : streams) {
    ASSERT_EQ(stream->Next(2), (Words{"CURRENT mercy", "SYNCED"}));
  }
  EXPECT_EQ(feed_.watchers(), kConnections * kStreams);
  SetLabel(id, "told to all");
  for (const auto& stream : streams) {
    ASSERT_EQ(stream->Next(), "CURRENT mercy");
    EXPECT_EQ(stream->last().registration().label(), "told to all");
  }
  // Its own pool grows and shrinks with the machine's load, by some.
  EXPECT_LT(Threads(), before + 40);
  streams.clear();
  EXPECT_TRUE(WaitForWatchers(0));
}

}  // namespace
}  // namespace smartkey
