// SPDX-License-Identifier: Apache-2.0
#include "daemon/token/token_cache.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace smartkey {

std::shared_ptr<const AccessToken> TokenCache::Find(const TokenKey& key, BootTime now) const {
  MutexLock lock(mu_);
  const auto found = tokens_.find(key);
  if (found == tokens_.end() || found->second->expires <= now) return nullptr;
  return found->second;
}

void TokenCache::Put(const TokenKey& key, std::shared_ptr<const AccessToken> token) {
  // Wiping the old token happens with the lock released.
  std::shared_ptr<const AccessToken> dropped;
  MutexLock lock(mu_);
  if (tokens_.find(key) == tokens_.end()) {
    auto first = tokens_.lower_bound(TokenKey{key.registration_id, 0, ""});
    auto last = first;
    size_t own = 0;
    for (; last != tokens_.end() && last->first.registration_id == key.registration_id; ++last) {
      ++own;
    }
    if (own < kMaxTokensOfRegistration && tokens_.size() >= kMaxTokens) {
      first = tokens_.begin();
      last = tokens_.end();
    } else if (own < kMaxTokensOfRegistration) {
      first = last;
    }
    const auto soonest = std::min_element(first, last, [](const auto& a, const auto& b) {
      return a.second->expires < b.second->expires;
    });
    if (soonest != last) {
      dropped = std::move(soonest->second);
      tokens_.erase(soonest);
    }
  }
  std::swap(tokens_[key], token);
}

TokenCache::Taken TokenCache::TakeRegistration(const std::string& registration_id) {
  Taken taken;
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, 0, ""});
  while (it != tokens_.end() && it->first.registration_id == registration_id) {
    taken.emplace_back(it->first, std::move(it->second));
    it = tokens_.erase(it);
  }
  return taken;
}

absl::optional<TokenKey> TokenCache::FindToken(const std::string& registration_id,
                                               absl::string_view value) const {
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, 0, ""});
  for (; it != tokens_.end() && it->first.registration_id == registration_id; ++it) {
    if (Secret::Equal(it->second->value, value)) return it->first;
  }
  return absl::nullopt;
}

void TokenCache::Erase(const TokenKey& key) {
  MutexLock lock(mu_);
  tokens_.erase(key);
}

void TokenCache::EraseRegistration(const std::string& registration_id) {
  TakeRegistration(registration_id);
}

void TokenCache::EraseGeneration(const std::string& registration_id, int generation) {
  MutexLock lock(mu_);
  auto it = tokens_.lower_bound(TokenKey{registration_id, generation, ""});
  while (it != tokens_.end() && it->first.registration_id == registration_id &&
         it->first.generation == generation) {
    it = tokens_.erase(it);
  }
}

void TokenCache::EraseExpired(BootTime now) {
  MutexLock lock(mu_);
  for (auto it = tokens_.begin(); it != tokens_.end();) {
    it = it->second->expires <= now ? tokens_.erase(it) : std::next(it);
  }
}

int TokenCache::size() const {
  MutexLock lock(mu_);
  return static_cast<int>(tokens_.size());
}

}  // namespace smartkey
