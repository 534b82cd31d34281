// SPDX-License-Identifier: Apache-2.0
// What smartkeyd finds out about itself: each check, and what breaks it. The numbers are those of
// docs/doctor.md.
#include <sys/resource.h>

#include <functional>
#include <map>
#include <string>
#include <utility>

#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

class DiagnosedServices : public Services {
 protected:
  using Result = v1::RunDiagnosticsResponse;

  std::map<uint32_t, Result> Run(const std::string& area = "", const std::string& server = "") {
    auto client = Connect(Administrator());
    auto stub = v1::AdminService::NewStub(client->channel);
    grpc::ClientContext context;
    v1::RunDiagnosticsRequest request;
    request.set_area(area);
    request.set_server(server);
    std::map<uint32_t, Result> results;
    Result one;
    auto reader = stub->RunDiagnostics(&context, request);
    while (reader->Read(&one)) results.emplace(one.number(), one);
    EXPECT_TRUE(reader->Finish().ok());
    return results;
  }

  void Change(const std::string& id, std::function<void(Registration&)> change) {
    store_.Update(
        id,
        [change = std::move(change)](Registration& one) {
          change(one);
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> changed) { EXPECT_TRUE(changed.ok()); });
  }

  // A renewal, which has its key, and its first token where it `serves`.
  Generation AddGeneration(const std::string& id, bool serves) {
    const CreatedKey key = keys_.MakeKey(SignatureAlgorithm::kEs256);
    Change(id, [&](Registration& one) {
      Generation next = one.generations.back();
      next.number = 2;
      next.enrollment_id += "-2";
      next.client_id += "-2";
      next.key = key.reference;
      next.public_key = key.public_key;
      next.state = serves ? GenerationState::kActive : GenerationState::kVerifying;
      if (!serves) next.first_token_at = absl::InfinitePast();
      one.generations.push_back(next);
    });
    return store_.Find(id)->generations.back();
  }
};

TEST_F(DiagnosedServices, KeyIsGone_TheRegistrationIsNamed) {
  const std::string id = AddRegistration("mercy");
  EXPECT_EQ(Run("hardware").at(44).outcome(), Result::PASSED);
  keys_.DestroyKey(store_.Find(id)->newest().key, [](absl::Status) {});
  const auto results = Run("hardware");
  EXPECT_EQ(results.at(44).outcome(), Result::BROKEN);
  EXPECT_NE(results.at(44).finding().find(id), std::string::npos);
  EXPECT_FALSE(results.at(44).remedy().empty());
}

TEST_F(DiagnosedServices, KeyOfARenewalIsGone_ItsGenerationIsNamed) {
  const std::string id = AddRegistration("mercy");
  const Generation next = AddGeneration(id, false);
  EXPECT_EQ(Run("hardware").at(44).outcome(), Result::PASSED);
  keys_.DestroyKey(next.key, [](absl::Status) {});
  const Result found = Run("hardware").at(44);
  EXPECT_EQ(found.outcome(), Result::BROKEN);
  EXPECT_NE(found.finding().find(id + ", generation 2: "), std::string::npos) << found.finding();
}

TEST_F(DiagnosedServices, KeyOfARetiredGenerationIsGone_ItLooksWrong) {
  const std::string id = AddRegistration("mercy");
  AddGeneration(id, true);
  EXPECT_EQ(Run("hardware").at(44).outcome(), Result::PASSED);
  keys_.DestroyKey(store_.Find(id)->generations[0].key, [](absl::Status) {});
  const Result found = Run("hardware").at(44);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find(id + ", generation 1, which no longer serves"), std::string::npos)
      << found.finding();
}

TEST_F(DiagnosedServices, GenerationWithoutAKey_IsNotMissed) {
  const std::string id = AddRegistration("mercy");
  AddGeneration(id, false);
  Change(id, [](Registration& one) { one.generations[1].key.blob.clear(); });
  EXPECT_EQ(Run("hardware").at(44).outcome(), Result::PASSED);
}

TEST_F(DiagnosedServices, HardwareIsAbsent_IsSaidWithWhatItsPlaceAdvisesAndTheRestIsNotTried) {
  ProviderStatus status;
  status.state = ProviderState::kAbsent;
  status.last_error = WithRemedy(
      MakeError(Reason::kHardwareAbsent, "opening /dev/tpmrm0: Permission denied"), "group tss");
  keys_.set_status(status);
  const auto results = Run("hardware");
  EXPECT_EQ(results.at(40).outcome(), Result::BROKEN);
  EXPECT_NE(results.at(40).remedy().find("group tss"), std::string::npos);
  for (const uint32_t number : {42u, 43u, 44u}) {
    EXPECT_EQ(results.at(number).outcome(), Result::SKIPPED) << number;
  }
}

TEST_F(DiagnosedServices, PinFileCannotBeRead_NobodyIsSentToTheGroupOfTpms) {
  ProviderStatus status;
  status.state = ProviderState::kAbsent;
  status.last_error = WithRemedy(MakeError(Reason::kPinMissing, "pin file x: Permission denied"),
                                 "let smartkeyd read the pin file");
  keys_.set_status(status);
  EXPECT_EQ(Run("hardware").at(40).remedy(), "let smartkeyd read the pin file");
}

TEST_F(DiagnosedServices, HardwareIsAbsentAndNobodyKnowsMore_NobodyIsSentToWhereHeIs) {
  ProviderStatus status;
  status.state = ProviderState::kAbsent;
  status.last_error = MakeError(Reason::kHardwareAbsent, "no token fits the uri");
  keys_.set_status(status);
  const std::string remedy = Run("hardware").at(40).remedy();
  EXPECT_NE(remedy.find("[key_provider]"), std::string::npos);
  EXPECT_EQ(remedy.find("doctor"), std::string::npos);
}

TEST_F(DiagnosedServices, ServerOfThatNameIsNone_IsSaid) {
  const auto results = Run("", "merci");
  EXPECT_EQ(results.at(70).outcome(), Result::BROKEN);
  EXPECT_EQ(results.at(70).check(), "server merci");
  EXPECT_NE(results.at(70).remedy().find("smartkeyctl servers"), std::string::npos);
  EXPECT_EQ(Run("hardware", "merci").count(70), 0u) << "servers were not asked for";
}

TEST_F(DiagnosedServices, OwnersLoginIsAnotherNow_IsFound) {
  AddRegistration("mercy", 1000, "alicia");
  const auto results = Run("access");
  EXPECT_EQ(results.at(31).outcome(), Result::SUSPICIOUS);
  EXPECT_NE(results.at(31).remedy().find("chown"), std::string::npos);
}

TEST_F(DiagnosedServices, AuditLogCannotBeWritten_IsFound) {
  audit_.set_writable(MakeError(Reason::kStoreFull, "no space left"));
  EXPECT_EQ(Run("audit").at(60).outcome(), Result::BROKEN);
}

TEST_F(DiagnosedServices, FewFilesMayBeOpen_IsFound) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = std::min<rlim_t>(1024, before.rlim_max);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  const Result found = Run("process").at(11);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.remedy().find("LimitNOFILE"), std::string::npos);
}

TEST_F(DiagnosedServices, ReloadFailed_IsFound) {
  ConfigState state;
  state.reload_errors = {
      ConfigProblem{.file = "/etc/smartkeyd/smartkeyd.toml", .line = 3, .message = "unknown key"}};
  config_.SetState(state);
  const auto results = Run("config");
  EXPECT_EQ(results.at(21).outcome(), Result::BROKEN);
  EXPECT_NE(results.at(21).finding().find("unknown key"), std::string::npos);
}

TEST_F(DiagnosedServices, AShareIsNobodys_IsFound) {
  const std::string id = AddRegistration("mercy");
  Share share;
  share.principal = "user:carol";
  share.user_name = "carol";
  share.uid = 1002;
  Change(id, [&](Registration& one) { one.shares = {share}; });
  const auto results = Run("access");
  EXPECT_EQ(results.at(30).outcome(), Result::SUSPICIOUS);
  EXPECT_NE(results.at(30).finding().find("user:carol"), std::string::npos);
}

// There is the group clinic, 2000, and no other.
TEST_F(DiagnosedServices, GroupOfAShareIsDeletedSince_IsFound) {
  const std::string id = AddRegistration("mercy");
  Share share;
  share.principal = "group:clinic";
  share.gid = 2000;
  Change(id, [&](Registration& one) { one.shares = {share}; });
  EXPECT_EQ(Run("access").at(30).outcome(), Result::PASSED);
  share.principal = "group:nurses";
  share.gid = 2001;
  Change(id, [&](Registration& one) { one.shares = {share}; });
  const Result found = Run("access").at(30);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find("registration " + id + ": group:nurses: there is no such group"),
            std::string::npos)
      << found.finding();
}

TEST_F(DiagnosedServices, GroupOfAShareHasAnotherNumberNow_IsFound) {
  const std::string id = AddRegistration("mercy");
  Share share;
  share.principal = "group:clinic+unit:viewer.service";
  share.gid = 2001;
  Change(id, [&](Registration& one) { one.shares = {share}; });
  EXPECT_NE(Run("access").at(30).finding().find("no such group any more"), std::string::npos);
  share.principal = "group:nurses";
  share.gid = 2000;
  Change(id, [&](Registration& one) { one.shares = {share}; });
  const Result found = Run("access").at(30);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find("a group of another name"), std::string::npos) << found.finding();
}

TEST_F(DiagnosedServices, HardwareHasNeitherAlgorithmThatServersMustTake_IsFound) {
  ProviderStatus status = keys_.status();
  status.capabilities->algorithms = {SignatureAlgorithm::kEs256};
  keys_.set_status(status);
  const Result found = Run("hardware").at(41);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find("ES256"), std::string::npos);
}

TEST_F(DiagnosedServices, TpmIsHalfwayToItsLockout_IsFound) {
  HardwareCondition condition;
  condition.lockout = {.failures = 2, .limit = 5};
  keys_.set_condition(condition);
  EXPECT_EQ(Run("hardware").at(42).outcome(), Result::PASSED);
  condition.lockout->failures = 3;
  keys_.set_condition(condition);
  const Result found = Run("hardware").at(42);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find("3 of 5"), std::string::npos);
}

TEST_F(DiagnosedServices, HardwareSignsWrongly_IsFound) {
  parts_.info.try_signing = [](absl::AnyInvocable<void(absl::Status)> done) {
    done(MakeError(Reason::kSignatureWrong, "the signature does not verify"));
  };
  const Result found = Run("hardware").at(43);
  EXPECT_EQ(found.outcome(), Result::BROKEN);
  EXPECT_NE(found.finding().find("SIGNATURE_WRONG"), std::string::npos);
}

TEST_F(DiagnosedServices, DatabaseCannotBeRead_IsFoundAndRegistrationsAreNotJudged) {
  store_.BeUnavailable(MakeError(Reason::kStoreUnavailable, "damaged"));
  const auto results = Run();
  EXPECT_EQ(results.at(50).outcome(), Result::BROKEN);
  EXPECT_EQ(results.at(80).outcome(), Result::SKIPPED);
}

TEST_F(DiagnosedServices, DailyCopyFailed_IsFound) {
  StoreCondition condition;
  condition.copying = MakeError(Reason::kStoreFull, "no space left for the copy");
  maintenance_.SetCondition(condition);
  EXPECT_EQ(Run("store").at(51).outcome(), Result::BROKEN);
}

TEST_F(DiagnosedServices, DatabaseIsAnotherMachines_IsFound) {
  EXPECT_EQ(Run("store").count(52), 0u);
  StoreCondition condition;
  condition.of_another_machine = true;
  maintenance_.SetCondition(condition);
  EXPECT_EQ(Run("store").at(52).outcome(), Result::SUSPICIOUS);
}

TEST_F(DiagnosedServices, DiskIsFull_IsFound) {
  parts_.info.state_dir = "/proc";  // where there is never room
  const Result found = Run("store").at(53);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_EQ(found.finding(), "0 MiB free");
}

TEST_F(DiagnosedServices, AuditLogLostLines_IsFound) {
  AuditCondition condition;
  condition.lost = 2;
  audit_.set_condition(condition);
  const Result found = Run("audit").at(60);
  EXPECT_EQ(found.outcome(), Result::SUSPICIOUS);
  EXPECT_NE(found.finding().find("2 lines lost"), std::string::npos);
}

TEST_F(DiagnosedServices, CheckpointHasNoSignature_IsFound) {
  AuditCondition condition;
  condition.checkpoint = AuditHead{.sequence = 12, .hash = std::string(32, 'h')};
  audit_.set_condition(condition);
  EXPECT_EQ(Run("audit").at(61).outcome(), Result::PASSED);
  condition.uncovered_since = clock_.Now() - absl::Minutes(20);
  audit_.set_condition(condition);
  EXPECT_EQ(Run("audit").at(61).outcome(), Result::PASSED);
  condition.uncovered_since = clock_.Now() - absl::Minutes(40);
  audit_.set_condition(condition);
  EXPECT_EQ(Run("audit").at(61).outcome(), Result::SUSPICIOUS);
  condition.signing = MakeError(Reason::kHardwareAbsent, "no TPM");
  audit_.set_condition(condition);
  EXPECT_EQ(Run("audit").at(61).outcome(), Result::BROKEN);
  condition.checkpoint = absl::nullopt;  // the head of the start went nowhere
  audit_.set_condition(condition);
  EXPECT_EQ(Run("audit").at(61).outcome(), Result::BROKEN);
}

TEST_F(DiagnosedServices, ChainDoesNotFit_IsFound) {
  AuditVerification found;
  found.entries = 7;
  found.first_broken = 3;
  found.problems = {"line 3 is not what was written"};
  audit_.set_verification(found);
  const Result result = Run("audit").at(62);
  EXPECT_EQ(result.outcome(), Result::BROKEN);
  EXPECT_EQ(result.finding(), "line 3 is not what was written");
}

TEST_F(DiagnosedServices, SomebodyElseAnswersForTheServer_IsNamed) {
  http_.HandleAll([](const RecordedRequest&) -> FakeHttpClient::Result {
    return MakeError(Reason::kTlsNotTrusted, "the certificate is by CN=Clinic Inspection CA");
  });
  const auto results = Run("servers");
  EXPECT_EQ(results.at(70).outcome(), Result::BROKEN);
  EXPECT_NE(results.at(70).finding().find("Clinic Inspection CA"), std::string::npos);
  EXPECT_EQ(results.count(72), 0u) << "nothing more is asked of it";
}

TEST_F(DiagnosedServices, ServersClockIsWrong_IsFound) {
  http_.HandleAll([](const RecordedRequest&) -> FakeHttpClient::Result {
    return FakeAnswer{.body = "{}", .headers = {{"date", "Tue, 01 Jan 2019 00:00:00 GMT"}}};
  });
  const auto results = Run("servers");
  EXPECT_EQ(results.at(70).outcome(), Result::PASSED);
  EXPECT_EQ(results.at(71).outcome(), Result::SUSPICIOUS);
  EXPECT_EQ(results.at(72).outcome(), Result::BROKEN);
}

}  // namespace
}  // namespace smartkey
