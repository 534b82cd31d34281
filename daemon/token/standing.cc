// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/standing.h"

#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/token/refusals.h"
#include "daemon/token/token_outcome.h"

namespace smartkey {

namespace {

constexpr absl::string_view kSuspendedWords = "suspended";

const Generation& CurrentOf(const Registration& registration) {
  const Generation* serving = registration.serving();
  return serving != nullptr ? *serving : registration.newest();
}

constexpr absl::string_view kChangedRemedy =
    "'smartkeyctl renew REG' and choose the same patient; or add --new-patient, which drops all "
    "shares. 'smartkeyctl show REG' names both";

absl::Status CauseOf(GenerationState state, const Generation& generation) {
  if (state == GenerationState::kContextChanged) {
    return WithRemedy(MakeError(Reason::kContextChanged,
                                "the server named another patient or user than at enrollment"),
                      std::string(kChangedRemedy));
  }
  if (absl::Status status = CheckServes(generation); !status.ok()) return status;
  if (generation.last_error == Reason::kUnspecified) return absl::OkStatus();
  return MakeError(generation.last_error, "the last token request failed");
}

}  // namespace

std::string Standings::ServerNameOf(const Registration& registration) const {
  const std::shared_ptr<const Catalog> catalog = catalog_.Get();
  const Server* server = catalog->FindServerOf(registration);
  return server != nullptr ? server->name : registration.server_name;
}

std::set<std::string> Standings::ServersRefusingAll() const {
  const RegistrationStore::Listing all = store_.List();
  std::map<std::string, std::string> name_of;  // by token endpoint
  for (const RegistrationStore::Snapshot& one : all) {
    const Generation* serving = one->serving();
    if (serving == nullptr || serving->state != GenerationState::kSuspect) continue;
    name_of[serving->token_endpoint] = ServerNameOf(*one);
  }
  std::set<std::string> names;
  for (const auto& [endpoint, name] : name_of) {
    if (ServerRefusesAll(all, endpoint, clock_.Now())) names.insert(name);
  }
  return names;
}

bool Standings::HasSibling(const Registration& registration) const {
  for (const RegistrationStore::Snapshot& one : store_.ListOwned(registration.owner_name)) {
    const GenerationState state = one->state();
    // One that is only begun, or goes, is none.
    const bool is_one = state != GenerationState::kPending &&
                        state != GenerationState::kRegistering &&
                        state != GenerationState::kDeleting;
    if (is_one && one->id != registration.id && one->owner_uid == registration.owner_uid &&
        one->owner_name == registration.owner_name && one->app_id == registration.app_id &&
        one->fhir_base == registration.fhir_base) {
      return true;
    }
  }
  return false;
}

absl::Status Standings::CheckHardware(const Generation& generation) const {
  if (generation.key.blob.empty()) return absl::OkStatus();
  if (generation.key.provider != provider_) {
    return MakeError(Reason::kKeyUnavailable,
                     absl::StrCat("the key was made in a ", generation.key.provider, ", and ",
                                  provider_, " is configured"));
  }
  const ProviderStatus status = keys_.status();
  return status.known && status.state == ProviderState::kAbsent ? status.last_error
                                                                : absl::OkStatus();
}

absl::Status Standings::CheckHardwareOf(const Registration& registration) const {
  if (FindTransition(registration.state(), StateCause::kHardwareAway) == nullptr ||
      catalog_.Get()->FindServerOf(registration) == nullptr) {
    return absl::OkStatus();
  }
  return CheckHardware(CurrentOf(registration));
}

GenerationState Standings::StateOf(const Registration& registration) const {
  const GenerationState state = registration.state();
  if (CheckHardwareOf(registration).ok()) return state;
  return *FindTransition(state, StateCause::kHardwareAway)->to;
}

Standing Standings::Of(const Registration& registration) const {
  const Generation& current = CurrentOf(registration);
  Standing standing;
  standing.state = registration.state();
  standing.server_name = ServerNameOf(registration);
  standing.cause = CauseOf(standing.state, current);
  standing.expected_end = FindExpectedEnd(registration, clock_.Now());
  absl::string_view words = GenerationStateWords(standing.state);
  if (IsRefused(current) && current.refusals > 0) {
    const RegistrationStore::Listing all = store_.List();
    const absl::Time now = clock_.Now();
    standing.next_attempt = NextAttempt(registration, current, now);
    if (standing.state == current.state) {
      standing.cause = RefusalError(all, registration, current, "", now);
    }
    if (MaybeSuperseded(all, registration)) {
      standing.warnings.push_back(RegistrationWarning::kMaybeSuperseded);
    }
  }
  const bool goes = standing.state == GenerationState::kDeleting;
  const absl::Status removed = catalog_.Get()->CheckServerOf(registration);
  if (!goes && !removed.ok()) {
    standing.cause = removed;
    words = GenerationStateWords(GenerationState::kMisconfigured);  // for the administrator to mend
  } else if (absl::Status away = CheckHardwareOf(registration); !away.ok()) {
    standing.state = StateOf(registration);
    standing.cause = std::move(away);
    words = GenerationStateWords(standing.state);
  }
  if (registration.suspension.has_value()) words = kSuspendedWords;
  if (registration.suspension.has_value() || !removed.ok()) {
    standing.next_attempt = absl::InfinitePast();
  }
  standing.words = std::string(words);
  return standing;
}

}  // namespace smartkey
