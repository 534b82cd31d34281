// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/model/access_token.h"
#include "hsm/key_service.h"

namespace smartkey {

class TokenRegion;

// What a cached token is found by: everything that went into asking for it.
struct TokenKey {
  std::string registration_id;
  int generation = 0;
  std::string scope;  // ToScopeString of the requested set; empty: everything authorized

  friend bool operator<(const TokenKey& a, const TokenKey& b) {
    return std::tie(a.registration_id, a.generation, a.scope) <
           std::tie(b.registration_id, b.generation, b.scope);
  }
};

// Access tokens in memory, and only there: that of this process, and if there is a TokenRegion also
// that, from which the next process takes them. Holds its own lock and nothing else while it looks,
// so that a hit never waits for hardware, HTTP or disk. Thread-safe.
class TokenCache {
 public:
  TokenCache();
  ~TokenCache();

  // The token if it has not expired at `now`, else null. Whether it lasts long enough is the
  // caller's to judge.
  std::shared_ptr<const AccessToken> Find(const TokenKey& key, BootTime now) const;

  // From here on whatever is cached is in `region` as well, what is there already too, and what is
  // dropped is wiped there. To be called once.
  void KeepIn(std::unique_ptr<TokenRegion> region);

  // A token that was read from that region, with its slot. False if there is one for this key that
  // did not come from there: that one stays, and the slot is wiped.
  bool Restore(const TokenKey& key, std::shared_ptr<const AccessToken> token, int slot);

  // Replaces what was there; it stays his who asked for it first. When there are too many, the one
  // that expires first goes: if the registration has its fill, of those of its callers for whom
  // the most are there, so that one app's many scope sets push out nobody else's tokens.
  void Put(const TokenKey& key, std::shared_ptr<const AccessToken> token,
           KeyService::CallerKey asked_by = KeyService::kInternal);

  // Drops every token of a registration and gives them to the caller, who may want to revoke them.
  // A token is wiped with the last pointer to it.
  using Taken = std::vector<std::pair<TokenKey, std::shared_ptr<const AccessToken>>>;
  Taken TakeRegistration(const std::string& registration_id);

  // What exactly this token of a registration is cached for, or nothing if it is not there (any
  // more). The tokens are compared in the same time wherever they differ.
  absl::optional<TokenKey> FindToken(const std::string& registration_id,
                                     absl::string_view value) const;
  void Erase(const TokenKey& key);

  // Drops every token of a registration, or of one generation of it.
  void EraseRegistration(const std::string& registration_id);
  void EraseGeneration(const std::string& registration_id, int generation);

  // Drops what has expired: a token that is of no use any more is not kept to be found.
  void EraseExpired(BootTime now);

  int size() const;

 private:
  static constexpr size_t kMaxTokens = 10'000;
  static constexpr size_t kMaxTokensOfRegistration = 64;

  struct Entry {
    std::shared_ptr<const AccessToken> token;
    absl::optional<int> slot;  // of the region
    bool restored = false;
    KeyService::CallerKey asked_by = KeyService::kInternal;
  };
  using Entries = std::map<TokenKey, Entry>;

  // What makes room in [first, last): the token that expires first, of `whose` if that is given.
  static Entries::iterator Soonest(Entries::iterator first, Entries::iterator last,
                                   absl::optional<KeyService::CallerKey> whose);

  // Takes an entry out. Its token is wiped with the last pointer, in the region now.
  Entries::iterator Drop(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Writes it to the region, if there is one, and only then wipes what stood there for it before.
  void Write(const TokenKey& key, Entry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  Entries tokens_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<TokenRegion> region_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
