// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/state_table.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

using S = GenerationState;
using C = StateCause;

constexpr absl::string_view kWorking = "working";
constexpr absl::string_view kWaiting = "waiting for the server";
constexpr absl::string_view kRenew = "needs you: renew";
constexpr absl::string_view kAdministrator = "needs the administrator";

// What a person can do about each state. Waiting covers everything that moves on by itself.
constexpr StateRow kStates[] = {
    {S::kPending, "PENDING", kWaiting, "begun; the registration POST has not been sent",
     Reason::kNotReady, "the enrollment is not finished: no one has logged in yet"},
    {S::kRegistering, "REGISTERING", kWaiting,
     "the POST may have been sent; durable before its first byte", Reason::kNotReady,
     "the registration at the server is under way"},
    {S::kVerifying, "VERIFYING", kWaiting,
     "201 seen, no token yet: clustered servers may need minutes, and refusals do not count",
     Reason::kNotReady, "registered; the server does not give tokens for the new client yet"},
    {S::kActive, "ACTIVE", kWorking, "tokens come", Reason::kUnspecified, ""},
    {S::kSuspect, "SUSPECT", kWaiting,
     "refused lately, tried again after 5 minutes, then hourly; cached tokens are served to their "
     "end",
     Reason::kUnspecified, ""},
    {S::kReauthRequired, "REAUTH_REQUIRED", kRenew,
     "refused for long enough; still tried once a day", Reason::kReauthRequired,
     "the server has refused this registration for a day"},
    {S::kMisconfigured, "MISCONFIGURED", kAdministrator,
     "the server does not let this client use this grant; not tried again", Reason::kMisconfigured,
     "the server does not let this client ask for tokens in this way"},
    {S::kContextChanged, "CONTEXT_CHANGED", kRenew,
     "a token named another patient or user than the pinned one, and was dropped",
     Reason::kContextChanged, "the server named another patient or user than at enrollment"},
    {S::kOrphaned, "ORPHANED", kRenew,
     "the POST was sent, its answer never came; the key is destroyed", Reason::kOrphaned,
     "the server's answer to the registration was lost, and its client_id with it"},
    {S::kKeyUnavailable, "KEY_UNAVAILABLE", kAdministrator,
     "the key's hardware is absent, or another provider is configured", Reason::kKeyUnavailable,
     "the hardware that holds the key is not available"},
    {S::kKeyLost, "KEY_LOST", kRenew,
     "the hardware has the key no more; looked for again at each start, once a day and when "
     "somebody asks",
     Reason::kKeyGone, "the hardware no longer has the key"},
    {S::kDeleting, "DELETING", kWaiting, "its key is to be destroyed, then its record goes",
     Reason::kDeleting, "the registration is being deleted"},
};

constexpr struct {
  C cause;
  absl::string_view words;
} kCauses[] = {
    {C::kPostIsSent, "the registration POST is about to be sent"},
    {C::kClientRegistered, "the server registered the client"},
    {C::kAnswerLost, "no answer to the POST, or killed while it was awaited"},
    {C::kAbandoned, "denied, cancelled, refused or over time: nothing is left"},
    {C::kToken, "a token for the pinned patient came"},
    {C::kRefused, "`invalid_grant` or `invalid_client`, twice in a row"},
    {C::kRefusedForLong,
     "at least 6 refusals over at least 24 h, not by a server that refuses all"},
    {C::kGrantNotAllowed, "`unauthorized_client` or `unsupported_grant_type`"},
    {C::kContextChanged, "a token named another patient or user"},
    {C::kKeyLost, "the key is lost"},
    {C::kHardwareAway, "hardware absent or another provider configured (shown, not stored)"},
    {C::kRenewed, "a renewal produced its first token"},
    {C::kDeleteCalled, "the owner or the administrator deletes the registration"},
    {C::kKeyDestroyed, "the key is destroyed"},
};

constexpr absl::string_view kDeleted = "RegistrationRemoverTest.InWhateverStateItIs_IsDeleted";
constexpr absl::string_view kRetired =
    "ApplyToken.FirstTokenOfARenewal_RetiresTheGenerationsBefore";
constexpr absl::string_view kEachReason =
    "ApplyFailure.EachReason_ChangesTheStateAsTheProtocolSays";
constexpr absl::string_view kTried = "ApplyFailure.WhatIsTriedAgain_TakesEveryVerdict";
constexpr absl::string_view kAway = "StandingTest.HardwareIsAway_EachStateShowsWhatCounts";

// By state, then by cause. What is not here does not happen.
constexpr StateTransition kTransitions[] = {
    {S::kPending, S::kRegistering, C::kPostIsSent,
     "EnrollmentTest.DiskIsSlow_NothingIsPostedBeforeRegisteringIsDurable"},
    {S::kPending, absl::nullopt, C::kAbandoned,
     "EnrollmentTest.NobodyLogsIn_EndsAfterTenMinutesAndLeavesNothing"},
    {S::kPending, S::kDeleting, C::kRenewed, kRetired},
    {S::kPending, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kRegistering, S::kVerifying, C::kClientRegistered,
     "EnrollmentFailureTest.ServerDoesNotKnowTheClientYet_IsTriedWithGrowingGapsAndNotCounted"},
    {S::kRegistering, S::kOrphaned, C::kAnswerLost,
     "EnrollmentFailureTest.AnswerIsLostTwice_IsOrphanedAfterTheSecondPost"},
    {S::kRegistering, absl::nullopt, C::kAbandoned,
     "EnrollmentFailureTest.RegistrationIsRefused_EachAnswerHasItsReasonAndNothingIsLeft"},
    {S::kRegistering, S::kDeleting, C::kRenewed, kRetired},
    {S::kRegistering, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kVerifying, S::kActive, C::kToken,
     "ApplyToken.FirstToken_PinsPatientAndUserAndMakesItActive"},
    {S::kVerifying, S::kMisconfigured, C::kGrantNotAllowed,
     "EnrollmentFailureTest.ClientMayNotAskForTokens_IsMisconfiguredAndNotTriedAgain"},
    {S::kVerifying, S::kContextChanged, C::kContextChanged,
     "EnrollmentTest.RenewalIsForAnotherPatient_IsDroppedAndSaidToTheOwnerWhileTheOldOneServes"},
    {S::kVerifying, S::kKeyLost, C::kKeyLost,
     "EnrollmentFailureTest.KeyIsLostBeforeTheFirstToken_IsSaidAndNotTriedForEver"},
    {S::kVerifying, S::kKeyUnavailable, C::kHardwareAway, kAway},
    {S::kVerifying, absl::nullopt, C::kAbandoned,
     "RenewalByAGrantee.ManagementEndsBeforeTheFirstToken_TheRenewalEndsAndTheOldOneServes"},
    {S::kVerifying, S::kDeleting, C::kRenewed, kRetired},
    {S::kVerifying, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kActive, S::kActive, C::kToken,
     "TokenManagerTest.TokensComeOften_TheirTimeIsNotWrittenEachTime"},
    {S::kActive, S::kSuspect, C::kRefused, "ApplyFailure.FirstRefusal_MakesItSuspectAndIsCounted"},
    {S::kActive, S::kMisconfigured, C::kGrantNotAllowed, kEachReason},
    {S::kActive, S::kContextChanged, C::kContextChanged, kEachReason},
    {S::kActive, S::kKeyLost, C::kKeyLost, kEachReason},
    {S::kActive, S::kKeyUnavailable, C::kHardwareAway, kAway},
    {S::kActive, S::kDeleting, C::kRenewed, kRetired},
    {S::kActive, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kSuspect, S::kActive, C::kToken, "TokenManagerTest.RefusedOnceThenFine_IsActiveAgain"},
    {S::kSuspect, S::kSuspect, C::kRefused,
     "ApplyFailure.SixRefusalsInLessThanADay_AreStillSuspect"},
    {S::kSuspect, S::kReauthRequired, C::kRefusedForLong,
     "ApplyFailure.FiveRefusalsInADay_AreStillSuspectAndTheSixthIsEnough"},
    {S::kSuspect, S::kMisconfigured, C::kGrantNotAllowed, kTried},
    {S::kSuspect, S::kContextChanged, C::kContextChanged, kTried},
    {S::kSuspect, S::kKeyLost, C::kKeyLost, kTried},
    {S::kSuspect, S::kKeyUnavailable, C::kHardwareAway, kAway},
    {S::kSuspect, S::kDeleting, C::kRenewed, kRetired},
    {S::kSuspect, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kReauthRequired, S::kActive, C::kToken,
     "TokenManagerTest.RefusedForADay_NeedsItsPersonDropsItsTokensAndIsTriedOnceADay"},
    {S::kReauthRequired, S::kReauthRequired, C::kRefused,
     "TokenManagerTest.RefusedForADay_NeedsItsPersonDropsItsTokensAndIsTriedOnceADay"},
    {S::kReauthRequired, S::kMisconfigured, C::kGrantNotAllowed, kTried},
    {S::kReauthRequired, S::kContextChanged, C::kContextChanged, kTried},
    {S::kReauthRequired, S::kKeyLost, C::kKeyLost, kTried},
    {S::kReauthRequired, S::kKeyUnavailable, C::kHardwareAway, kAway},
    {S::kReauthRequired, S::kDeleting, C::kRenewed, kRetired},
    {S::kReauthRequired, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kMisconfigured, S::kActive, C::kToken,
     "ApplyToken.TokenThatWasUnderWayWhenItBecameMisconfigured_ProvesItWrong"},
    {S::kMisconfigured, S::kDeleting, C::kRenewed, kRetired},
    {S::kMisconfigured, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kContextChanged, S::kDeleting, C::kRenewed, kRetired},
    {S::kContextChanged, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kOrphaned, S::kDeleting, C::kRenewed, kRetired},
    {S::kOrphaned, S::kDeleting, C::kDeleteCalled, kDeleted},

    // Never stored so; but a deletion or a renewal ends every state there is.
    {S::kKeyUnavailable, S::kDeleting, C::kRenewed, kRetired},
    {S::kKeyUnavailable, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kKeyLost, S::kActive, C::kToken,
     "TokenManagerTest.LostKeyIsBack_IsFoundAtTheNextRequestAndTheRecordSaysSo"},
    {S::kKeyLost, S::kSuspect, C::kRefused, kTried},
    {S::kKeyLost, S::kMisconfigured, C::kGrantNotAllowed, kTried},
    {S::kKeyLost, S::kContextChanged, C::kContextChanged, kTried},
    {S::kKeyLost, S::kDeleting, C::kRenewed, kRetired},
    {S::kKeyLost, S::kDeleting, C::kDeleteCalled, kDeleted},

    {S::kDeleting, S::kDeleting, C::kRenewed, kRetired},
    {S::kDeleting, S::kDeleting, C::kDeleteCalled, kDeleted},
    {S::kDeleting, absl::nullopt, C::kKeyDestroyed,
     "EnrollmentTest.KilledBetweenSwapAndDestruction_TheOldKeyIsDestroyedAtTheNextStart"},
};

}  // namespace

absl::Span<const StateRow> AllStates() {
  return kStates;
}

absl::Span<const StateTransition> AllTransitions() {
  return kTransitions;
}

const StateRow* FindState(GenerationState state) {
  const auto* row = std::find_if(std::begin(kStates), std::end(kStates),
                                 [state](const StateRow& one) { return one.state == state; });
  return row == std::end(kStates) ? nullptr : row;
}

absl::string_view GenerationStateName(GenerationState state) {
  const StateRow* row = FindState(state);
  return row != nullptr ? row->name : "UNKNOWN";
}

absl::string_view GenerationStateWords(GenerationState state) {
  const StateRow* row = FindState(state);
  return row != nullptr ? row->words : kAdministrator;
}

absl::string_view StateCauseWords(StateCause cause) {
  for (const auto& row : kCauses) {
    if (row.cause == cause) return row.words;
  }
  return "";
}

const StateTransition* FindTransition(GenerationState from, StateCause cause) {
  const auto* row = std::find_if(
      std::begin(kTransitions), std::end(kTransitions),
      [&](const StateTransition& one) { return one.from == from && one.cause == cause; });
  return row == std::end(kTransitions) ? nullptr : row;
}

absl::Status MoveState(GenerationState& state, StateCause cause) {
  const StateTransition* row = FindTransition(state, cause);
  if (row == nullptr || !row->to.has_value()) {
    return MakeError(Reason::kInternal,
                     absl::StrCat("a generation in state ", GenerationStateName(state),
                                  " cannot go on: ", StateCauseWords(cause)));
  }
  state = *row->to;
  return absl::OkStatus();
}

}  // namespace smartkey
