// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "daemon/model/catalog.h"
#include "daemon/model/expected_end.h"
#include "daemon/model/registration.h"
#include "daemon/store/registration_store.h"
#include "hsm/key_service.h"

namespace smartkey {

// What the owner should know although nothing has failed. Numbers are those of smartkey.v1.Warning.
enum class RegistrationWarning {
  kSameAppSameServer = 1,
  kMaybeSuperseded = 2,
};

// How a registration stands, for people and apps: what its record says, seen with what is
// configured and plugged in now. Nothing of it is stored.
struct Standing {
  GenerationState state = GenerationState::kPending;
  std::string words;   // "working", ...; "suspended"
  absl::Status cause;  // why it does not work; OK while it does
  absl::Time next_attempt =
      absl::InfinitePast();  // by itself; InfinitePast: none, or none is needed
  absl::optional<ExpectedEnd> expected_end;
  std::vector<RegistrationWarning> warnings;
  std::string server_name;  // today's, if the server was renamed
};

// Tells how registrations stand. Reads memory only; thread-safe. Costs a look at every registration
// for one that is refused, and little for the others.
class Standings {
 public:
  // `provider` is the configured one's name, "tpm" or "pkcs11".
  Standings(const RegistrationStore& store, const CurrentCatalog& catalog, const KeyService& keys,
            std::string provider, const Clock& clock)
      : store_(store),
        catalog_(catalog),
        keys_(keys),
        provider_(std::move(provider)),
        clock_(clock) {}

  Standing Of(const Registration& registration) const;
  // Of it the state alone, which costs little for every registration.
  GenerationState StateOf(const Registration& registration) const;

  // Whether its owner has another registration of the same app at the same server, of which some
  // servers end the earlier one.
  bool HasSibling(const Registration& registration) const;

  // Today's names of the servers that refuse several registrations in the same hour (refusals.h).
  std::set<std::string> ServersRefusingAll() const;

  // The name of the server as it is configured today; that of the enrollment if it is no more.
  std::string ServerNameOf(const Registration& registration) const;

 private:
  // OK, or why the generation's key cannot be used, if that is for the administrator to mend:
  // another provider is configured (kKeyUnavailable), or the hardware is absent (its own reason).
  // Hardware that fails or hangs comes back by itself.
  absl::Status CheckHardware(const Generation& generation) const;
  // The same where it matters: in a state that hardware can take away from, at a server that is
  // configured.
  absl::Status CheckHardwareOf(const Registration& registration) const;

  const RegistrationStore& store_;
  const CurrentCatalog& catalog_;
  const KeyService& keys_;
  const std::string provider_;
  const Clock& clock_;
};

}  // namespace smartkey
