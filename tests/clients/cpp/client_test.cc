// SPDX-License-Identifier: Apache-2.0
#include "smartkey/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "clients/cpp/status_decode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "smartkey/admin_client.h"
#include "tests/clients/fake_daemon.h"
#include "tests/clients/temp_dir.h"

// The client library against the services of smartkey.v1 on a real unix socket.
namespace smartkey::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ClientTest : public testing::Test {
 protected:
  TempDir dir_;
  FakeDaemon daemon_{dir_.File("smartkeyd.sock")};
  std::unique_ptr<Client> client_ = *Client::Connect(daemon_.path());
};

TEST_F(ClientTest, ATokenComesWithWhatBelongsToIt) {
  auto token = client_->GetAccessToken({.registration = "mercy",
                                        .scopes = {"patient/*.rs"},
                                        .min_valid = absl::Milliseconds(90500)});
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->token.RevealSecret(), FakeDaemon::kToken);
  EXPECT_EQ(token->type, "Bearer");
  EXPECT_EQ(token->source, TokenSource::kCache);
  EXPECT_EQ(token->expires_at, absl::FromUnixSeconds(4102444800));
  EXPECT_EQ(token->fhir_base, "https://ehr.example.com/fhir");
  EXPECT_EQ(token->registration, "r-1");
  EXPECT_FALSE(token->refresh_after.has_value());
  EXPECT_FALSE(token->refresh_error.has_value());
  EXPECT_THAT(daemon_.token_request().scopes(), ElementsAre("patient/*.rs"));
  EXPECT_EQ(daemon_.token_request().min_valid().seconds(), 90);
  EXPECT_EQ(daemon_.token_request().min_valid().nanos(), 500000000);
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  return address;
}

// Passes one connection on to another socket, after a while in which nobody comes to it.
void RelaySlowly(int listener, const std::string& to, absl::Duration busy) {
  const UniqueFd client(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  absl::SleepFor(busy);
  const UniqueFd daemon(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(to);
  ASSERT_EQ(connect(daemon.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  pollfd fds[] = {{client.get(), POLLIN, 0}, {daemon.get(), POLLIN, 0}};
  while (poll(fds, 2, -1) > 0) {
    for (int i = 0; i < 2; ++i) {
      if (fds[i].revents == 0) continue;
      char bytes[4096];
      const ssize_t n = read(fds[i].fd, bytes, sizeof(bytes));
      if (n <= 0 || write(fds[1 - i].fd, bytes, static_cast<size_t>(n)) != n) return;
    }
  }
}

// On a machine under load it takes the daemon a while to come to a new connection.
TEST_F(ClientTest, ADaemonThatIsSlowToAnswerAConnectionIsWaitedFor) {
  const std::string path = dir_.File("slow.sock");
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = AddressOf(path);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  std::thread relay([&] { RelaySlowly(listener.get(), daemon_.path(), absl::Seconds(1)); });
  {
    const auto client = *Client::Connect(path);
    const auto token = client->GetAccessToken({.registration = "mercy"});
    EXPECT_TRUE(token.ok()) << token.status();
  }
  relay.join();
}

TEST_F(ClientTest, ATokenIsFoundByContextToo) {
  ASSERT_TRUE(client_
                  ->GetAccessToken({.app = "org.example.viewer",
                                    .fhir_base = "https://ehr.example.com/fhir",
                                    .patient = "p-7"})
                  .ok());
  EXPECT_EQ(daemon_.token_request().context().app(), "org.example.viewer");
  EXPECT_EQ(daemon_.token_request().context().patient(), "p-7");
}

TEST_F(ClientTest, AStaleTokenSaysWhy) {
  daemon_.EditToken([](v1::GetAccessTokenResponse& token) {
    token.set_source(v1::STALE_VALID);
    token.mutable_refresh_error()->set_reason(v1::ErrorDetail::NO_NETWORK);
  });
  auto token = client_->GetAccessToken({.registration = "mercy"});
  EXPECT_EQ(token->source, TokenSource::kStaleValid);
  EXPECT_EQ(token->refresh_error->reason, Reason::kNoNetwork);
  EXPECT_EQ(token->refresh_error->remedy, RowFor(Reason::kNoNetwork).remedy);
}

TEST_F(ClientTest, AllPagesOfAListAreFetched) {
  auto registrations = client_->ListRegistrations({.app = "a", .owner = "alice"});
  ASSERT_TRUE(registrations.ok()) << registrations.status();
  ASSERT_EQ(registrations->size(), 2u);
  EXPECT_EQ((*registrations)[0].name, "mercy");
  EXPECT_EQ((*registrations)[1].name, "mercy-2");
  EXPECT_EQ((*registrations)[1].relation, Relation::kShared);
  EXPECT_EQ(daemon_.list().filter().app(), "a");
  EXPECT_EQ(daemon_.list().filter().owner(), "alice");
}

TEST_F(ClientTest, ARegistrationIsGivenFieldForField) {
  auto registration = client_->GetRegistration("mercy");
  ASSERT_TRUE(registration.ok()) << registration.status();
  EXPECT_EQ(registration->id, "r-1");
  EXPECT_EQ(registration->owner.uid, 1000u);
  EXPECT_EQ(registration->state, RegistrationState::kActive);
  EXPECT_EQ(registration->created_at, absl::FromUnixSeconds(1767225600));
  EXPECT_EQ(registration->patient, "p-7");
  EXPECT_FALSE(registration->cause.has_value());
  EXPECT_FALSE(registration->next_generation.has_value());
  ASSERT_TRUE(registration->generation.has_value());
  EXPECT_EQ(registration->generation->client_id, "dyn-1");
  EXPECT_EQ(registration->generation->key->algorithm, "ES384");
  EXPECT_THAT(registration->generation->key->attributes,
              ElementsAre(testing::Pair("fixedtpm", true), testing::Pair("sign", true),
                          testing::Pair("decrypt", false)));
}

TEST_F(ClientTest, AnUpdateSendsOnlyWhatIsGiven) {
  ASSERT_TRUE(client_->UpdateRegistration("mercy", {.label = ""}).ok());
  EXPECT_FALSE(daemon_.update().has_name());
  EXPECT_TRUE(daemon_.update().has_label());
  EXPECT_EQ(daemon_.update().label(), "");
  EXPECT_FALSE(daemon_.update().has_access_for());
  ASSERT_TRUE(client_->UpdateRegistration("mercy", {.access_for = absl::Hours(48)}).ok());
  EXPECT_EQ(daemon_.update().access_for().seconds(), 2 * 86400);
}

TEST_F(ClientTest, SuspensionsNameTheirTargetAndSayWhatChanged) {
  EXPECT_THAT(*client_->SuspendRegistrations({.registration = "mercy"}, "lost laptop"),
              ElementsAre("r-1"));
  EXPECT_EQ(daemon_.suspend().target().registration(), "mercy");
  EXPECT_EQ(daemon_.suspend().why(), "lost laptop");
  ASSERT_TRUE(client_->SuspendRegistrations({.server = "mercy"}).ok());
  EXPECT_EQ(daemon_.suspend().target().server(), "mercy");
  ASSERT_TRUE(client_->SuspendRegistrations({.owner = "uid:1000"}).ok());
  EXPECT_EQ(daemon_.suspend().target().owner(), "uid:1000");
  const auto resumption = client_->ResumeRegistrations({.all = true});
  ASSERT_TRUE(resumption.ok());
  EXPECT_TRUE(daemon_.resume().target().all());
  EXPECT_THAT(resumption->registration_ids, ElementsAre("r-1"));
  EXPECT_THAT(resumption->still_suspended_ids, ElementsAre("r-2"));
}

TEST_F(ClientTest, AWatchGivesEachEventAndEnds) {
  daemon_.EditRegistration([](v1::Registration& registration) {
    registration.mutable_expected_end()->mutable_time()->set_seconds(4102444800);
    registration.mutable_expected_end()->set_source(v1::ExpectedEnd::PERSON);
  });
  auto watch = client_->WatchRegistrations({.app = "org.example.viewer"}, "mercy");
  ASSERT_TRUE(watch.ok());
  std::vector<WatchEvent> events;
  for (;;) {
    auto event = (*watch)->Next();
    ASSERT_TRUE(event.ok()) << event.status();
    if (!event->has_value()) break;
    events.push_back((*event)->event);
    if ((*event)->event != WatchEvent::kEnding) continue;
    EXPECT_EQ((*event)->ending_days, 7u);
    EXPECT_EQ((*event)->registration->expected_end->time, absl::FromUnixSeconds(4102444800));
    EXPECT_EQ((*event)->registration->expected_end->source, EndSource::kPerson);
  }
  EXPECT_THAT(events, ElementsAre(WatchEvent::kCurrent, WatchEvent::kSynced, WatchEvent::kEnding,
                                  WatchEvent::kRemoved));
  EXPECT_EQ(daemon_.watch().registration(), "mercy");
  EXPECT_EQ(daemon_.watch().filter().app(), "org.example.viewer");
  EXPECT_FALSE((*watch)->Next()->has_value());
}

TEST_F(ClientTest, AWatchedTokenComesWithWhatIsWrongAndEnds) {
  auto watch = client_->WatchAccessToken({.registration = "mercy", .scopes = {"patient/*.rs"}});
  ASSERT_TRUE(watch.ok());
  const auto good = (*watch)->Next();
  ASSERT_TRUE(good.ok() && good->has_value()) << good.status();
  EXPECT_EQ((*good)->token->token.RevealSecret(), FakeDaemon::kToken);
  EXPECT_FALSE((*good)->error.has_value());
  const auto stale = (*watch)->Next();
  EXPECT_TRUE((*stale)->token.has_value());
  EXPECT_EQ((*stale)->error->reason, Reason::kServerUnreachable);
  const auto none = (*watch)->Next();
  EXPECT_FALSE((*none)->token.has_value());
  EXPECT_EQ((*none)->error->reason, Reason::kServerUnreachable);
  EXPECT_FALSE((*watch)->Next()->has_value());
  EXPECT_FALSE((*watch)->Next()->has_value());
  EXPECT_THAT(daemon_.token_request().scopes(), ElementsAre("patient/*.rs"));
}

TEST_F(ClientTest, AWatchedTokenWhoseRightEnds_EndsWithTheReason) {
  daemon_.FailWith(WireError(Reason::kAccessEnded));
  auto watch = client_->WatchAccessToken({.registration = "mercy"});
  ASSERT_TRUE(watch.ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*watch)->Next().ok());
  EXPECT_EQ(ReasonOf((*watch)->Next().status()), Reason::kAccessEnded);
}

TEST_F(ClientTest, AWatchCanBeCancelledWhileItWaits) {
  daemon_.Hang();
  auto watch = client_->WatchRegistrations();
  ASSERT_TRUE(watch.ok());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE((*watch)->Next().ok());
  std::thread canceller([&] {
    daemon_.WaitForCall("WatchRegistrations");
    (*watch)->Cancel();
  });
  EXPECT_EQ(ReasonOf((*watch)->Next().status()), Reason::kCancelled);
  canceller.join();
}

TEST_F(ClientTest, TheOtherCallsAnswer) {
  EXPECT_EQ(client_->SignClientAssertion("mercy")->assertion.RevealSecret(),
            FakeDaemon::kAssertion);
  EXPECT_THAT(client_->GetJwks("mercy")->jwks, HasSubstr("thumb-1"));
  EXPECT_EQ(client_->GetServerInfo()->version, "9.8.7");
  EXPECT_EQ(client_->ListServers()->at(0).apps, std::vector<std::string>{"org.example.viewer"});
  EXPECT_EQ(client_->ListApps()->at(0).name, "Example Viewer");
  const auto deletion = client_->DeleteRegistration("mercy");
  EXPECT_TRUE(deletion->key_destroyed);
  EXPECT_TRUE(deletion->server_may_still_list);
}

TEST_F(ClientTest, AnEnrollmentIsBegunWatchedAndCompleted) {
  auto begun = client_->BeginEnrollment({.app = "org.example.viewer",
                                         .server = "mercy",
                                         .scopes = {"patient/*.rs"},
                                         .name = "mum",
                                         .context_varies = true},
                                        "http://127.0.0.1:1/callback");
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->enrollment_id, "e-1");
  EXPECT_EQ(begun->client_id, "initial-client");
  EXPECT_THAT(begun->warnings, ElementsAre("SAME_APP_SAME_SERVER"));
  EXPECT_EQ(daemon_.begin().name(), "mum");
  EXPECT_TRUE(daemon_.begin().context_varies());

  auto watch = *client_->WatchEnrollment(begun->enrollment_id);
  auto step = watch->Next();
  EXPECT_EQ((*step)->step, EnrollmentStep::kWaitingForBrowser);
  EXPECT_TRUE((*step)->key_ready);
  auto registration =
      client_->CompleteEnrollment(begun->enrollment_id, Secret::CopyOf("code=c&state=s"));
  EXPECT_EQ(registration->name, "mercy");
  EXPECT_EQ(daemon_.complete().redirect_query(), "code=c&state=s");
  EXPECT_EQ((*watch->Next())->step, EnrollmentStep::kSendingRegistration);
  EXPECT_EQ((*watch->Next())->step, EnrollmentStep::kDone);
  EXPECT_FALSE(watch->Next()->has_value());
  EXPECT_FALSE(watch->Next()->has_value());
}

TEST_F(ClientTest, ACancelledWatchEnds) {
  auto watch = *client_->WatchEnrollment("e-1");
  ASSERT_TRUE(watch->Next().ok());
  std::thread canceller([&] { watch->Cancel(); });
  EXPECT_EQ(ReasonOf(watch->Next().status()), Reason::kCancelled);
  canceller.join();
  auto dropped = client_->WatchEnrollment("e-1");  // Its end is that of this test.
}

TEST_F(ClientTest, AnInitialTokenIsHandedOver) {
  ASSERT_TRUE(client_
                  ->EnrollWithInitialToken({.server = "mercy"}, Secret::CopyOf("fake-initial"),
                                           absl::Minutes(5))
                  .ok());
  EXPECT_EQ(daemon_.with_token().initial_access_token(), "fake-initial");
  EXPECT_EQ(daemon_.with_token().expires_in().seconds(), 300);
}

TEST_F(ClientTest, TheAdminClientShowsTheStatus) {
  auto status = (*AdminClient::Connect(daemon_.path()))->GetStatus();
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(status->pid, 4711);
  EXPECT_EQ(status->uptime, absl::Seconds(3661));
  EXPECT_EQ(status->hardware.state, HardwareState::kReady);
  EXPECT_EQ(status->queue_limit, 64u);
  EXPECT_EQ(status->registrations.at(0).count, 3u);
  EXPECT_EQ(status->servers.at(0).state, "OK");
  EXPECT_TRUE(status->config_problems.at(0).file_disabled);
}

// ---- Errors.

TEST_F(ClientTest, AnErrorArrivesWithReasonRemedyAndRetryAfter) {
  daemon_.FailWith(WireError(WithRetryAfter(
      WithRemedy(MakeError(Reason::kTpmLockout, "the tpm is locked"), "wait for two hours"),
      absl::Seconds(7200))));
  const absl::Status status = client_->GetAccessToken({.registration = "mercy"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "the tpm is locked");
  EXPECT_EQ(ReasonOf(status), Reason::kTpmLockout);
  EXPECT_EQ(UserActionOf(status), UserAction::kUnlockHardware);
  EXPECT_EQ(RemedyOf(status), "wait for two hours");
  EXPECT_EQ(RetryAfterOf(status), absl::Seconds(7200));
}

TEST_F(ClientTest, EveryReasonArrivesAsItself) {
  for (const ReasonRow& row : AllReasons()) {
    daemon_.FailWith(WireError(row.reason));
    const absl::Status status = client_->GetServerInfo().status();
    EXPECT_EQ(ReasonOf(status), row.reason) << row.name;
    EXPECT_EQ(status.code(), row.code) << row.name;
    EXPECT_EQ(RemedyOf(status), row.remedy) << row.name;
  }
}

TEST_F(ClientTest, AReasonOfANewerDaemonKeepsItsCodeAndRemedy) {
  grpc::Status wire =
      WireError(WithRemedy(MakeError(Reason::kServerBusy, "m"), "do the new thing"));
  std::string details = wire.error_details();
  // In the ErrorDetail: field 1, varint kServerBusy (122) becomes 111, which is nobody's.
  const size_t at = details.find("\x08\x7a\x10");
  ASSERT_NE(at, std::string::npos);
  details[at + 1] = 111;
  daemon_.FailWith(grpc::Status(grpc::StatusCode::UNAVAILABLE, "m", details));
  const absl::Status status = client_->GetServerInfo().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kTryLater);
  EXPECT_EQ(RemedyOf(status), "do the new thing");
}

TEST_F(ClientTest, AStatusWithoutDetailGetsTheNearestReason) {
  daemon_.FailWith(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "unknown service"));
  const absl::Status not_there = client_->GetServerInfo().status();
  EXPECT_EQ(ReasonOf(not_there), Reason::kNotImplemented);
  EXPECT_THAT(not_there.message(), HasSubstr("on this socket"));
  EXPECT_THAT(RemedyOf(not_there), HasSubstr("leave --socket out for administration"));
  daemon_.FailWith(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "slow down"));
  EXPECT_EQ(ExitCodeOf(client_->GetServerInfo().status()), ExitCode::kTryLater);
  daemon_.FailWith(grpc::Status(grpc::StatusCode::INTERNAL, "", "not a protobuf"));
  EXPECT_EQ(ReasonOf(client_->GetServerInfo().status()), Reason::kInternal);
}

TEST_F(ClientTest, ControlCharactersInAMessageAreEscaped) {
  daemon_.FailWith(WireError(MakeError(Reason::kInternal, "a\x1b[2Jb")));
  EXPECT_EQ(client_->GetServerInfo().status().message().find('\x1b'), absl::string_view::npos);
}

TEST_F(ClientTest, TheDeadlineOfACallIsKept) {
  daemon_.Hang();
  const absl::Status status =
      client_->GetAccessToken({.registration = "mercy"}, {.timeout = absl::Milliseconds(50)})
          .status();
  EXPECT_EQ(ReasonOf(status), Reason::kDeadlineExceeded);
}

TEST_F(ClientTest, ManyThreadsShareOneClient) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int k = 0; k < 20; ++k) {
        EXPECT_TRUE(client_->GetAccessToken({.registration = "mercy"}).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// ---- No daemon.

TEST(ClientWithoutDaemon, AMissingDirectoryMeansNotInstalled) {
  auto client = *Client::Connect("/nonexistent-directory/smartkeyd.sock");
  EXPECT_EQ(ReasonOf(client->GetServerInfo().status()), Reason::kDaemonNotInstalled);
}

TEST(ClientWithoutDaemon, AMissingSocketMeansNotRunning) {
  TempDir dir;
  auto client = *Client::Connect(dir.File("smartkeyd.sock"));
  EXPECT_EQ(ReasonOf(client->GetServerInfo().status()), Reason::kDaemonNotRunning);
}

TEST(ClientWithoutDaemon, TheAdminSocketsRemedyIsNotTheVariableOfThePublicOne) {
  const absl::Status admin = ExplainUnreachable(AdminSocketPath());
  // Whether its directory is there is this machine's affair.
  ASSERT_EQ(ExitCodeOf(admin), ExitCode::kCannotBeReached) << admin;
  EXPECT_THAT(RemedyOf(admin), testing::HasSubstr("systemctl start smartkeyd.service"));
  EXPECT_THAT(RemedyOf(admin), testing::HasSubstr("--socket"));
  EXPECT_THAT(RemedyOf(ExplainUnreachable("/nonexistent-directory/smartkeyd.sock")),
              testing::HasSubstr("set SMARTKEY_SOCKET"));
}

TEST(ClientWithoutDaemon, ASocketThatNobodyServesMeansNotRunning) {
  TempDir dir;
  const std::string path = dir.File("smartkeyd.sock");
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  ASSERT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  auto client = *Client::Connect(path);
  EXPECT_EQ(ReasonOf(client->GetServerInfo().status()), Reason::kDaemonNotRunning);
}

TEST(ClientWithoutDaemon, ItsStartIsNoticedByTheSameClient) {
  TempDir dir;
  const std::string path = dir.File("smartkeyd.sock");
  auto client = *Client::Connect(path);
  ASSERT_FALSE(client->GetServerInfo().ok());
  FakeDaemon daemon(path);
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (!client->GetServerInfo().ok() && absl::Now() < limit) std::this_thread::yield();
  EXPECT_TRUE(client->GetServerInfo().ok());
}

TEST(ClientWithoutDaemon, ASocketPathThatCannotBeOneIsRefused) {
  EXPECT_EQ(ReasonOf(Client::Connect("relative.sock").status()), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(Client::Connect("/" + std::string(108, 'x')).status()),
            Reason::kInvalidArgument);
}

TEST(ClientSockets, TheEnvironmentMovesThePublicOneOnly) {
  unsetenv("SMARTKEY_SOCKET");
  EXPECT_EQ(PublicSocketPath(), "/run/smartkeyd/smartkeyd.sock");
  setenv("SMARTKEY_SOCKET", "/x/y.sock", 1);
  EXPECT_EQ(PublicSocketPath(), "/x/y.sock");
  EXPECT_EQ(AdminSocketPath(), "/run/smartkeyd-admin/admin.sock");
  setenv("SMARTKEY_SOCKET", "", 1);
  EXPECT_EQ(PublicSocketPath(), "/run/smartkeyd/smartkeyd.sock");
  unsetenv("SMARTKEY_SOCKET");
}

TEST(ClientSockets, APathWithSpecialCharactersIsReached) {
  TempDir dir;
  const std::string plain = dir.File("s.sock");
  FakeDaemon daemon(plain);
  const std::string odd = dir.File("a b%20#?x.sock");
  ASSERT_EQ(symlink(plain.c_str(), odd.c_str()), 0);
  auto info = (*Client::Connect(odd))->GetServerInfo();
  EXPECT_TRUE(info.ok()) << info.status();
}

TEST(ClientNames, AreThoseOfTheProto) {
  EXPECT_EQ(Name(RegistrationState::kReauthRequired), "REAUTH_REQUIRED");
  EXPECT_EQ(Name(RegistrationState::kDeleting), "DELETING");
  EXPECT_EQ(Name(Relation::kAdministered), "ADMINISTERED");
  EXPECT_EQ(Name(KeyProviderType::kPkcs11), "PKCS11");
  EXPECT_EQ(Name(HardwareState::kAbsent), "ABSENT");
  EXPECT_EQ(Name(TokenSource::kStaleValid), "STALE_VALID");
  EXPECT_EQ(Name(EnrollmentStep::kAwaitingFirstToken), "AWAITING_FIRST_TOKEN");
  EXPECT_EQ(Name(static_cast<RegistrationState>(99)), "UNKNOWN");
}

}  // namespace
}  // namespace smartkey::client
