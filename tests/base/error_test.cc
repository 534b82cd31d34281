// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

using Code = absl::StatusCode;

TEST(ErrorTable, EveryReasonHasOneRowInAscendingOrder) {
  std::set<std::string> names;
  int previous = 0;
  for (const ReasonRow& row : AllReasons()) {
    EXPECT_GT(static_cast<int>(row.reason), previous) << row.name;
    previous = static_cast<int>(row.reason);
    EXPECT_TRUE(names.insert(std::string(row.name)).second) << row.name;
    EXPECT_EQ(&RowFor(row.reason), &row);
    EXPECT_EQ(ReasonFromName(row.name), row.reason);
    EXPECT_EQ(ReasonFromNumber(previous), row.reason);
    EXPECT_EQ(ReasonName(row.reason), row.name);
  }
}

TEST(ErrorTable, UnknownNamesAndNumbersHaveNoReason) {
  EXPECT_FALSE(ReasonFromName("").has_value());
  EXPECT_FALSE(ReasonFromName("no_network").has_value());
  EXPECT_FALSE(ReasonFromNumber(0).has_value());
  EXPECT_FALSE(ReasonFromNumber(-1).has_value());
  EXPECT_FALSE(ReasonFromNumber(1 << 30).has_value());
  EXPECT_EQ(RowFor(static_cast<Reason>(1 << 30)).reason, Reason::kInternal);
}

TEST(ErrorTable, RemediesArePlainSentences) {
  for (const ReasonRow& row : AllReasons()) {
    EXPECT_GE(row.remedy.size(), 10u) << row.name;
    EXPECT_LE(row.remedy.size(), kMaxRemedyBytes) << row.name;
    EXPECT_NE(row.remedy.back(), '.') << row.name;
    for (char c : row.remedy) EXPECT_TRUE(c >= ' ' && c <= '~') << row.name;
  }
}

// What a caller concludes from the code alone must not contradict the exit code.
TEST(ErrorTable, CodeDecidesTheExitCode) {
  for (const ReasonRow& row : AllReasons()) {
    const bool client_side = row.action == UserAction::kInstallOrStart;
    switch (row.code) {
      case Code::kUnavailable:
        EXPECT_EQ(row.exit_code, client_side ? ExitCode::kCannotBeReached : ExitCode::kTryLater)
            << row.name;
        EXPECT_TRUE(client_side || row.action == UserAction::kRetryLater) << row.name;
        break;
      case Code::kResourceExhausted:
      case Code::kDeadlineExceeded:
        EXPECT_EQ(row.exit_code, ExitCode::kTryLater) << row.name;
        EXPECT_EQ(row.action, UserAction::kRetryLater) << row.name;
        break;
      case Code::kFailedPrecondition:
        EXPECT_NE(row.action, UserAction::kRetryLater) << row.name;
        EXPECT_TRUE(row.exit_code == ExitCode::kPersonMustAct || row.action == UserAction::kNone)
            << row.name;
        break;
      case Code::kPermissionDenied:
        EXPECT_EQ(row.exit_code, ExitCode::kNotPermitted) << row.name;
        break;
      case Code::kInvalidArgument:
        EXPECT_EQ(row.exit_code, ExitCode::kUsage) << row.name;
        EXPECT_EQ(row.action, UserAction::kFixCall) << row.name;
        break;
      case Code::kNotFound:
      case Code::kAlreadyExists:
      case Code::kCancelled:
      case Code::kUnimplemented:
      case Code::kInternal:
        EXPECT_EQ(row.exit_code, ExitCode::kFailed) << row.name;
        break;
      default:
        ADD_FAILURE() << row.name << " has a code that no caller is told about";
    }
  }
}

TEST(ErrorTable, UserActionsHaveNamesAndWords) {
  int next = 0;
  for (const UserActionRow& row : AllUserActions()) {
    EXPECT_EQ(static_cast<int>(row.action), next++);
    EXPECT_EQ(&RowFor(row.action), &row);
    EXPECT_FALSE(row.words.empty());
  }
  for (const ReasonRow& row : AllReasons()) EXPECT_EQ(RowFor(row.action).action, row.action);
}

TEST(Error, MadeFromAReasonCarriesCodeMessageAndReason) {
  const absl::Status status = MakeError(Reason::kNoNetwork, "connecting to https://ehr.example");
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "connecting to https://ehr.example");
  EXPECT_EQ(ReasonOf(status), Reason::kNoNetwork);
  EXPECT_EQ(UserActionOf(status), UserAction::kRetryLater);
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kTryLater);
  EXPECT_EQ(RemedyOf(status), RowFor(Reason::kNoNetwork).remedy);
  EXPECT_FALSE(RetryAfterOf(status).has_value());
}

TEST(Error, EveryReasonSurvivesTheStatus) {
  for (const ReasonRow& row : AllReasons()) {
    const absl::Status status = MakeError(row.reason, "x");
    EXPECT_EQ(status.code(), row.code) << row.name;
    EXPECT_EQ(ReasonOf(status), row.reason) << row.name;
  }
}

TEST(Error, MadeWithoutAReasonIsInternal) {
  EXPECT_EQ(MakeError(Reason::kUnspecified, "x").code(), Code::kInternal);
  EXPECT_EQ(ReasonOf(MakeError(static_cast<Reason>(9999), "x")), Reason::kInternal);
}

TEST(Error, OkHasNoReasonAndStaysOk) {
  const absl::Status ok = absl::OkStatus();
  EXPECT_EQ(ReasonOf(ok), Reason::kUnspecified);
  EXPECT_EQ(UserActionOf(ok), UserAction::kNone);
  EXPECT_EQ(ExitCodeOf(ok), ExitCode::kOk);
  EXPECT_EQ(RemedyOf(ok), "");
  EXPECT_TRUE(Annotate(ok, "context").ok());
  EXPECT_TRUE(WithRetryAfter(ok, absl::Seconds(1)).ok());
  EXPECT_TRUE(WithRemedy(ok, "remedy").ok());
}

TEST(Error, StatusFromElsewhereGetsTheNearestReason) {
  EXPECT_EQ(ReasonOf(absl::CancelledError("x")), Reason::kCancelled);
  EXPECT_EQ(ReasonOf(absl::InvalidArgumentError("x")), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(absl::OutOfRangeError("x")), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOf(absl::DeadlineExceededError("x")), Reason::kDeadlineExceeded);
  EXPECT_EQ(ReasonOf(absl::PermissionDeniedError("x")), Reason::kNotPermitted);
  EXPECT_EQ(ReasonOf(absl::UnauthenticatedError("x")), Reason::kNotPermitted);
  EXPECT_EQ(ReasonOf(absl::UnimplementedError("x")), Reason::kNotImplemented);
  EXPECT_EQ(ReasonOf(absl::UnavailableError("x")), Reason::kInternal);
  EXPECT_EQ(ReasonOf(absl::UnknownError("x")), Reason::kInternal);
}

TEST(Error, DamagedPayloadFallsBackToTheCode) {
  absl::Status status = absl::CancelledError("x");
  status.SetPayload("smartkeyd/error", absl::Cord("nonsense"));
  EXPECT_EQ(ReasonOf(status), Reason::kCancelled);
  status.SetPayload("smartkeyd/error", absl::Cord("NO_SUCH_REASON\nsoon\n"));
  EXPECT_EQ(ReasonOf(status), Reason::kCancelled);
  EXPECT_FALSE(RetryAfterOf(status).has_value());
}

TEST(Error, AnnotateReadsOutwardInAndKeepsEverythingElse) {
  absl::Status status = MakeError(Reason::kServerBusy, "answer 503");
  status = WithRemedy(WithRetryAfter(status, absl::Seconds(90)), "wait for the nightly backup");
  status.SetPayload("other", absl::Cord("kept"));
  status = Annotate(Annotate(status, "token request"), "registration r-1");
  EXPECT_EQ(status.message(), "registration r-1: token request: answer 503");
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(ReasonOf(status), Reason::kServerBusy);
  EXPECT_EQ(RetryAfterOf(status), absl::Seconds(90));
  EXPECT_EQ(RemedyOf(status), "wait for the nightly backup");
  EXPECT_EQ(status.GetPayload("other"), absl::Cord("kept"));
}

TEST(Error, RetryAfterIsClampedAtZeroAndReplaceable) {
  absl::Status status = MakeError(Reason::kServerBusy, "x");
  EXPECT_EQ(RetryAfterOf(WithRetryAfter(status, -absl::Seconds(5))), absl::ZeroDuration());
  status = WithRetryAfter(status, absl::Seconds(1));
  EXPECT_EQ(RetryAfterOf(WithRetryAfter(status, absl::Milliseconds(2500))),
            absl::Milliseconds(2500));
}

TEST(Error, RetryAfterOnAForeignStatusKeepsItsMeaning) {
  const absl::Status status =
      WithRetryAfter(absl::DeadlineExceededError("x"), absl::Milliseconds(10));
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded);
  EXPECT_EQ(ReasonOf(status), Reason::kDeadlineExceeded);
  EXPECT_EQ(RetryAfterOf(status), absl::Milliseconds(10));
}

TEST(Error, OwnRemedyIsCutWithoutSplittingACharacter) {
  const absl::Status status = MakeError(Reason::kInternal, "x");
  EXPECT_EQ(RemedyOf(WithRemedy(status, "two\nlines")), "two\nlines");
  const std::string a(kMaxRemedyBytes - 1, 'a');
  EXPECT_EQ(RemedyOf(WithRemedy(status, absl::StrCat(a, "\xC3\xA4"))), a);
  EXPECT_EQ(RemedyOf(WithRemedy(status, absl::StrCat(a, "b"))), absl::StrCat(a, "b"));
}

TEST(Error, MissingRegistrationIsToldInOneWayOnly) {
  const absl::Status status = RegistrationNotFound();
  EXPECT_EQ(status, RegistrationNotFound());
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_EQ(ReasonOf(status), Reason::kRegistrationNotFound);
  EXPECT_EQ(status.message(), "no such registration");
}

}  // namespace
}  // namespace smartkey
