// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "daemon/token/token_record.h"
#include "daemon/token/token_region.h"

namespace smartkey {

TokenCache::TokenCache() = default;

TokenCache::~TokenCache() = default;

std::shared_ptr<const AccessToken> TokenCache::Find(const TokenKey& key, BootTime now) const {
  MutexLock lock(mu_);
  const auto found = tokens_.find(key);
  if (found == tokens_.end() || found->second.token->expires <= now) return nullptr;
  return found->second.token;
}

TokenCache::Entries::iterator TokenCache::Drop(Entries::iterator entry) {
  if (entry->second.slot.has_value()) region_->Wipe(*entry->second.slot);
  return tokens_.erase(entry);
}

void TokenCache::Write(const TokenKey& key, Entry& entry) {
  if (region_ == nullptr) return;
  const Secret record = EncodeTokenRecord(key, *entry.token);
  const absl::optional<int> before = entry.slot;
  entry.slot = region_->Write(record.RevealSecret());
  if (before.has_value()) region_->Wipe(*before);
  // Into its own place where no other is free: a kill in the middle of that costs the token.
  if (before.has_value() && !entry.slot.has_value()) {
    entry.slot = region_->Write(record.RevealSecret());
  }
}

void TokenCache::KeepIn(std::unique_ptr<TokenRegion> region) {
  MutexLock lock(mu_);
  region_ = std::move(region);
  for (auto& [key, entry] : tokens_) Write(key, entry);
}

bool TokenCache::Restore(const TokenKey& key, std::shared_ptr<const AccessToken> token, int slot) {
  MutexLock lock(mu_);
  const auto found = tokens_.find(key);
  if (found != tokens_.end() && !found->second.restored) {
    region_->Wipe(slot);
    return false;
  }
  if (found != tokens_.end()) Drop(found);
  tokens_.emplace(key, Entry{std::move(token), slot, true});
  return true;
}

TokenCache::Entries::iterator TokenCache::Soonest(Entries::iterator first, Entries::iterator last,
                                                  absl::optional<KeyService::CallerKey> whose) {
  auto soonest = last;
  for (auto it = first; it != last; ++it) {
    if (whose.has_value() && it->second.asked_by != *whose) continue;
    if (soonest == last || it->second.token->expires < soonest->second.token->expires) soonest = it;
  }
  return soonest;
}

void TokenCache::Put(const TokenKey& key, std::shared_ptr<const AccessToken> token,
                     KeyService::CallerKey asked_by) {
  // Wiping the old token happens with the lock released.
  std::shared_ptr<const AccessToken> dropped;
  MutexLock lock(mu_);
  if (tokens_.find(key) == tokens_.end()) {
    auto first = tokens_.lower_bound(TokenKey{key.registration_id, 0, ""});
    auto last = first;
    size_t own = 0;
    std::map<KeyService::CallerKey, int> each;
    for (; last != tokens_.end() && last->first.registration_id == key.registration_id; ++last) {
      ++own;
      ++each[last->second.asked_by];
    }
    absl::optional<KeyService::CallerKey> whose;
    if (own >= kMaxTokensOfRegistration) {
      if (each.count(asked_by) != 0) ++each[asked_by];  // with the one that comes
      whose = std::max_element(each.begin(), each.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
              })->first;
    } else if (tokens_.size() >= kMaxTokens) {
      first = tokens_.begin();
      last = tokens_.end();
    } else {
      first = last;
    }
    if (const auto soonest = Soonest(first, last, whose); soonest != last) {
      dropped = soonest->second.token;
      Drop(soonest);
    }
  }
  const auto [place, is_new] = tokens_.try_emplace(key);
  Entry& entry = place->second;
  if (is_new) entry.asked_by = asked_by;
  std::swap(entry.token, token);
  entry.restored = false;
  Write(key, entry);
}

TokenCache::Taken TokenCache::TakeRegistration(const std::string& registration_id) {
  Taken taken;
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, 0, ""});
  while (it != tokens_.end() && it->first.registration_id == registration_id) {
    taken.emplace_back(it->first, it->second.token);
    it = Drop(it);
  }
  return taken;
}

absl::optional<TokenKey> TokenCache::FindToken(const std::string& registration_id,
                                               absl::string_view value) const {
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, 0, ""});
  for (; it != tokens_.end() && it->first.registration_id == registration_id; ++it) {
    if (Secret::Equal(it->second.token->value, value)) return it->first;
  }
  return absl::nullopt;
}

void TokenCache::Erase(const TokenKey& key) {
  MutexLock lock(mu_);
  if (const auto found = tokens_.find(key); found != tokens_.end()) Drop(found);
}

void TokenCache::EraseRegistration(const std::string& registration_id) {
  TakeRegistration(registration_id);
}

void TokenCache::EraseGeneration(const std::string& registration_id, int generation) {
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, generation, ""});
  while (it != tokens_.end() && it->first.registration_id == registration_id &&
         it->first.generation == generation) {
    it = Drop(it);
  }
}

void TokenCache::EraseExpired(BootTime now) {
  MutexLock lock(mu_);
  for (auto it = tokens_.begin(); it != tokens_.end();) {
    it = it->second.token->expires <= now ? Drop(it) : std::next(it);
  }
}

int TokenCache::size() const {
  MutexLock lock(mu_);
  return static_cast<int>(tokens_.size());
}

}  // namespace smartkey
