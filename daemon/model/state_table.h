// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "base/error.h"

// The one table of states: what each means, what people and apps are told in it, and every way from
// one to another with its cause and the test that shows it. Code changes a state through MoveState
// alone (tests/lint/source_lint.py sees to that), and docs/states.md is written from the table
// (tests/daemon/model/states_document). All functions are pure and thread-safe.

namespace smartkey {

// Where one generation stands. Numbers are those of the proto and of the database: never reuse one.
enum class GenerationState {
  kPending = 1,      // enrollment begun, registration POST not sent
  kRegistering = 2,  // the POST may have been sent; durable before its first byte
  kVerifying = 3,    // 201 seen, no token yet
  kActive = 4,
  kSuspect = 5,          // refused lately, tried again slowly
  kReauthRequired = 6,   // refused for long enough: a person must renew; still tried once a day
  kMisconfigured = 7,    // unauthorized_client, unsupported_grant_type: no retries
  kContextChanged = 8,   // the server named another patient or user
  kOrphaned = 9,         // the POST was sent, its answer never came
  kKeyUnavailable = 10,  // hardware absent, or another provider is configured; shown, never stored
  kKeyLost = 11,
  kDeleting = 12,
};
absl::string_view GenerationStateName(GenerationState state);   // "ACTIVE"
absl::string_view GenerationStateWords(GenerationState state);  // "working", for people

struct StateRow {
  GenerationState state;
  absl::string_view name;
  absl::string_view words;    // for people: one of four phrases
  absl::string_view meaning;  // for the documentation
  Reason refusal;             // what a token request gets; kUnspecified: tokens
  absl::string_view refusal_message;
};

// Why a generation goes from one state to another.
enum class StateCause {
  kPostIsSent,        // about to be: durable before the first byte
  kClientRegistered,  // a 201 with a client_id
  kAnswerLost,        // no answer to the registration POST, or killed while it was awaited
  kAbandoned,         // denied, cancelled, refused, over time: nothing is left behind
  kToken,             // a token for the pinned patient and user
  kRefused,           // invalid_grant or invalid_client
  kRefusedForLong,    // the same, often and long enough, and not by everybody's server
  kGrantNotAllowed,   // unauthorized_client or unsupported_grant_type
  kContextChanged,    // a token named another patient or user
  kKeyLost,           // the hardware has the key no more
  kHardwareAway,      // absent, or another provider is configured
  kRenewed,           // a later generation has produced its first token
  kDeleteCalled,      // the owner's or the administrator's word
  kKeyDestroyed,      // of what is being deleted: the record can go
};
absl::string_view StateCauseWords(StateCause cause);  // "a token came", for the documentation

struct StateTransition {
  GenerationState from;
  absl::optional<GenerationState> to;  // nullopt: the generation's record is removed
  StateCause cause;
  absl::string_view test;  // Suite.Test that shows it
};

absl::Span<const StateRow> AllStates();              // by number
absl::Span<const StateTransition> AllTransitions();  // by state, then by cause

// Null for a number that is no state.
const StateRow* FindState(GenerationState state);

// The row of the table, or null: in this state that cause moves nothing.
const StateTransition* FindTransition(GenerationState from, StateCause cause);

// Moves `state` as the table says. Errors: kInternal if the table has no such row, or if it says
// that the record is to be removed; `state` is unchanged then.
absl::Status MoveState(GenerationState& state, StateCause cause);

}  // namespace smartkey
