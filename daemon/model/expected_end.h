// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "daemon/model/registration.h"

namespace smartkey {

// When the access of a registration will probably end. The person chooses how long when logging in
// at the server, and no field of the protocol tells it; it ends without a word. So this is what the
// person said, or else what earlier generations showed: a reason to warn, never to refuse anything.
// Pure functions.

struct ExpectedEnd {
  // Numbers are those of the proto.
  enum class Source {
    kPerson = 1,              // said at the enrollment of the generation in use
    kEarlierGenerations = 2,  // their access was seen to end
  };
  absl::Time time;
  Source source = Source::kPerson;
};

// Counted from the registration of the generation in use. Of earlier lifetimes the shortest counts
// that this generation has not outlived yet: a warning that comes too early costs a look, one that
// comes too late costs the data of a night. nullopt: nothing is known, or tokens do not come now.
absl::optional<ExpectedEnd> FindExpectedEnd(const Registration& registration, absl::Time now);

// The smallest of 14, 7 and 1 days within which the access will probably end; 0: not that soon, not
// known, or the end is past.
int EndingWithinDays(const Registration& registration, absl::Time now);

// What a person may say: a second to ten years. Errors: kInvalidArgument.
absl::Status CheckAccessFor(absl::Duration access_for);

// The person says that the access in use ends so long from `now`; zero: takes back what was said.
void SayAccessFor(Registration& registration, absl::Duration from_now, absl::Time now);

// To be called before `generation` is dropped for a younger one: if its access ended, how long it
// lasted is kept with the registration, the last eight times.
void NoteLifetime(Registration& registration, const Generation& generation);

}  // namespace smartkey
