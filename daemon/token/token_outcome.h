// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "daemon/model/access_token.h"
#include "daemon/model/registration.h"

namespace smartkey {

// What an answer of the token endpoint means for a registration (docs/protocol.md, "what each answer means").
// Pure functions on the record; the store makes the result durable. Nothing a server says removes a key or a
// registration.

// OK if this generation may be asked for a token now, else why not: kNotReady, kReauthRequired, kMisconfigured,
// kContextChanged, kOrphaned, kDeleting, kKeyUnavailable, kKeyGone.
absl::Status CheckServes(const Generation& generation);

// The generation that tokens come from. Errors: kSuspended, and those of CheckServes.
absl::StatusOr<const Generation*> ServingGeneration(const Registration& registration);

// A token came. Pins the patient and the user the first time, makes the generation ACTIVE, clears its refusals,
// and drops the generations before it, whose keys are to be destroyed once this is durable. Errors:
// kRegistrationNotFound, kContextChanged if the token names another patient or user than the pinned one: it
// must not be used, and the record is unchanged (ApplyFailure notes it). So for a generation that is
// CONTEXT_CHANGED already: only a renewal opens it again.
absl::Status ApplyToken(Registration& registration, int generation, const AccessToken& token,
                        absl::Time now);

// The request failed. Only answers of the authorization and configuration classes change the state: SUSPECT at
// once, REAUTH_REQUIRED after six refusals over 24 h, MISCONFIGURED. A generation that has never had a token
// (VERIFYING) does not change, nor does one that is being deleted. Returns true if the record changed.
bool ApplyFailure(Registration& registration, int generation, const absl::Status& error,
                  absl::Time now);

// True if `token` may be used for `registration`: same patient and user as pinned, or nothing is pinned.
bool SameContext(const Registration& registration, const AccessToken& token);

}  // namespace smartkey
