// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "daemon/model/access_token.h"
#include "daemon/model/registration.h"

namespace smartkey {

// What an answer of the token endpoint means for a registration (docs/protocol.md, "what each
// answer means"). Pure functions on the record; the store makes the result durable. Nothing a
// server says removes a key or a registration.

// OK if this generation may be asked for a token now, else why not: kNotReady, kReauthRequired,
// kMisconfigured, kContextChanged, kOrphaned, kDeleting, kKeyUnavailable, kKeyGone.
absl::Status CheckServes(const Generation& generation);

// The generation that tokens come from. Errors: kSuspended, and those of CheckServes.
absl::StatusOr<const Generation*> ServingGeneration(const Registration& registration);

// A token came. Pins the patient and the user the first time, makes the generation ACTIVE, clears
// its refusals, and retires the generations before it: they are DELETING until their keys are
// destroyed, and those that have no key are dropped. A renewal that accepts a new patient pins anew
// and drops all shares. Errors: kRegistrationNotFound, kContextChanged if the token names another
// patient or user than the pinned one: it must not be used, and the record is unchanged (see
// ApplyContextChange). So for a generation that is CONTEXT_CHANGED already: only a renewal opens it
// again.
absl::Status ApplyToken(Registration& registration, int generation, const AccessToken& token,
                        absl::Time now);

// What ApplyToken refused with kContextChanged: the generation is CONTEXT_CHANGED from here on and
// says whom the token named, for the owner's eyes. If it is a renewal, the one before goes on
// serving its own patient. True if the record changed.
bool ApplyContextChange(Registration& registration, int generation, const AccessToken& token);

// The request failed. Only answers of the authorization and configuration classes change the state:
// SUSPECT at once, REAUTH_REQUIRED after six refusals over 24 h, held while the server refuses
// others as well (for a week at most), MISCONFIGURED. An answer that was under way when the last
// one was refused counts for nothing. A generation that has never had a token (VERIFYING) is not
// refused, nor one that is being deleted. Returns true if the record changed.
bool ApplyFailure(Registration& registration, int generation, const absl::Status& error,
                  absl::Time now, bool others_are_refused = false);

// True if `token` may be used for `registration`: same patient and user as pinned, or nothing is
// pinned. A token that names nobody is no other patient's, but for the first token of a renewal,
// which must name the pinned one.
bool SameContext(const Registration& registration, const Generation& generation,
                 const AccessToken& token);

// True if `old` was retired by a renewal, and waits only for its key to be destroyed.
bool IsRetired(const Registration& registration, const Generation& old);

}  // namespace smartkey
