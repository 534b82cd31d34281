// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "daemon/model/registration.h"
#include "daemon/store/registration_store.h"

namespace smartkey {

// What refusals of a registration mean beyond the registration (docs/protocol.md, "what each answer
// means"): when it is tried again, whether its server refuses others as well, whether a younger
// registration may have ended it, and what people are told. Everything is derived from the records,
// so that a restart changes nothing. Pure functions; wall clock, since that is what records have.

// A refusal is for good after so many, over so long; and a server that refuses everybody is
// believed to be out of order for so long at most: after that each registration is its person's to
// judge.
inline constexpr int kRefusalsUntilReauth = 6;
inline constexpr absl::Duration kTimeUntilReauth = absl::Hours(24);
inline constexpr absl::Duration kLongestHold = absl::Hours(24 * 7);

// Refusals of one hour, and the jitter of tries that are an hour apart.
inline constexpr absl::Duration kSameHour = absl::Minutes(75);

// True if it is SUSPECT or REAUTH_REQUIRED.
bool IsRefused(const Generation& generation);

// True if it gives no tokens, or may give none much longer, and is tried again by itself: it is
// refused, or its key was lost, which a chip that is put back, or one that gave a wrong answer,
// ends.
bool IsTriedAgain(const Generation& generation);

// Nothing is asked for this generation before; InfinitePast if nothing holds it back. The same
// after a restart. A last refusal in the future (the clock was set back) holds nothing back.
absl::Time NextAttempt(const Registration& registration, const Generation& generation,
                       absl::Time now);

// True if another registration was refused at the generation's token endpoint within the hour, is
// not given up yet, and nobody has had a token there since: then it is the server and not the
// person. So too if it was refused within the hour of this one's last refusal: after a night in
// which the machine was off, nothing newer is known of the other one yet.
bool OthersAreRefused(const std::vector<RegistrationStore::Snapshot>& all,
                      const Registration& registration, const Generation& generation,
                      absl::Time now);

// True if at least two registrations are so at this token endpoint.
bool ServerRefusesAll(const std::vector<RegistrationStore::Snapshot>& all,
                      const std::string& token_endpoint, absl::Time now);

// True if the registration is refused and something younger may be why: another registration of the
// same owner, app and server that the server registered later, or its own renewal that came to
// nothing.
bool MaybeSuperseded(const std::vector<RegistrationStore::Snapshot>& all,
                     const Registration& registration);

// What a request for a refused generation is told: kReauthRequired, kServerRefusingAll or
// kRefusedByServer, with the time until the next attempt, and a remedy that says both halves: what
// to do if the person ended the access, and until when to wait otherwise, on this machine's wall
// clock. `message` is how it was refused; empty: taken from the record.
absl::Status RefusalError(const std::vector<RegistrationStore::Snapshot>& all,
                          const Registration& registration, const Generation& generation,
                          absl::string_view message, absl::Time now);

// "15:07", with the date if it is not today; rounded up to the minute.
std::string WallTime(absl::Time time, absl::Time now, absl::TimeZone zone);

}  // namespace smartkey
