// SPDX-License-Identifier: Apache-2.0
// Tokens over a restart: what an earlier process left is taken back if nothing speaks against it.
#include <memory>
#include <utility>
#include <vector>

#include "base/log.h"
#include "daemon/token/token_core.h"
#include "daemon/token/token_outcome.h"
#include "daemon/token/token_record.h"
#include "daemon/token/token_region.h"

namespace smartkey {

namespace {

// An expired token is of no use; in memory that outlives the process it does not stay for longer.
constexpr absl::Duration kWipeExpiredEvery = absl::Seconds(20);

// Whether a token may go on: its registration is served from the same generation and key, for the
// same patient, and it is of an age that can be.
bool GoesOn(const Registration* registration, const TokenKey& key, const AccessToken& token,
            BootTime now) {
  if (registration == nullptr) return false;
  const absl::StatusOr<const Generation*> serving = ServingGeneration(*registration);
  return serving.ok() && (*serving)->number == key.generation &&
         (*serving)->thumbprint == token.key_thumbprint &&
         SameContext(*registration, **serving, token) && now < token.expires &&
         // Received in the future: the clock is not the one it was.
         token.expires - token.lifetime <= now;
}

}  // namespace

void TokenManager::KeepTokensIn(std::unique_ptr<TokenRegion> region) {
  const std::vector<TokenRegion::Record> records = region->Read();
  const int damaged = region->damaged();
  Shared& s = *shared_;
  int kept = 0;
  int dropped = 0;
  std::vector<std::pair<TokenRecord, int>> good;
  for (const TokenRegion::Record& record : records) {
    absl::optional<TokenRecord> decoded = DecodeTokenRecord(record.bytes.RevealSecret());
    if (decoded.has_value() && GoesOn(s.store.Find(decoded->key.registration_id).get(),
                                      decoded->key, decoded->token, s.clock.Boot())) {
      good.emplace_back(*std::move(decoded), record.slot);
    } else {
      ++dropped;
      region->Wipe(record.slot);
    }
  }
  s.cache.KeepIn(std::move(region));
  // Oldest first: of two for one key the later one counts.
  for (auto& [record, slot] : good) {
    const TokenKey& key = record.key;
    const auto token = std::make_shared<const AccessToken>(std::move(record.token));
    if (!s.cache.Restore(key, token, slot)) continue;
    ++kept;
    // Suspended or renewed since it was looked at: Forget either comes after this, or has been.
    if (!GoesOn(s.store.Find(key.registration_id).get(), key, *token, s.clock.Boot())) {
      s.cache.Erase(key);
      continue;
    }
    MutexLock lock(s.mu);
    s.BeginPeriod(key, *token, false);
  }
  if (damaged > 0) {
    Log(LogLevel::kWarning, "damaged tokens of the process before were dropped",
        {{"count", damaged}});
  }
  if (!records.empty()) {
    Log(LogLevel::kInfo, "tokens of the process before",
        {{"taken_over", kept}, {"dropped", dropped}});
  }
  s.PlanWipe();
}

void TokenManager::Shared::PlanWipe() {
  scheduler.RunAfter(kWipeExpiredEvery, [weak = weak_from_this()] {
    const std::shared_ptr<Shared> shared = weak.lock();
    if (shared == nullptr) return;
    shared->cache.EraseExpired(shared->clock.Boot());
    shared->PlanWipe();
  });
}

}  // namespace smartkey
