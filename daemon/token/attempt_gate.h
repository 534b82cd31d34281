// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "daemon/token/token_cache.h"

namespace smartkey {

// How a token endpoint does, seen from here.
struct ServerStatus {
  std::string token_endpoint;
  absl::Time last_success = absl::InfinitePast();
  absl::Status last_error;  // OK: none since the last success
  absl::Time last_error_at = absl::InfinitePast();
  absl::Time next_attempt = absl::InfinitePast();  // InfinitePast: nothing holds the next one back
};

// What holds token requests back after failures: that one request, all of one generation, or
// everybody's at one server, each with growing gaps. In memory; how long a refused generation waits
// is told by its record (refusals.h), and remembered here as well, for the time when that cannot be
// written. Not thread-safe.
class AttemptGate {
 public:
  // OK, or the last failure with the time that is left to wait.
  absl::Status Check(const TokenKey& key, const std::string& token_endpoint, BootTime now) const;
  // The same for what holds back everybody alone.
  absl::Status CheckServer(const std::string& token_endpoint, BootTime now) const;

  void NoteSuccess(const TokenKey& key, const std::string& token_endpoint, BootTime now,
                   absl::Time wall_now);
  // Returns `error` with the time until the next attempt, if it holds anything back. A refusal
  // comes with that time already.
  absl::Status NoteFailure(const TokenKey& key, const std::string& token_endpoint,
                           const absl::Status& error, BootTime now, absl::Time wall_now);
  // True if such a failure holds back everybody's requests to the server.
  static bool HoldsServer(const absl::Status& error);

  void Forget(const std::string& registration_id);
  std::vector<ServerStatus> servers() const;  // by token endpoint

 private:
  struct Held {
    int failures = 0;
    BootTime until;
    absl::Status error;
  };
  enum class Hold;
  static Hold HoldFor(const absl::Status& error);
  Held& RecordFor(Hold hold, const TokenKey& key, const std::string& token_endpoint);

  std::map<TokenKey, Held> requests_;  // 64 of a registration at most
  std::map<std::pair<std::string, int>, Held> generations_;
  std::map<std::string, Held> server_holds_;  // by token endpoint
  std::map<std::string, ServerStatus> servers_;
};

}  // namespace smartkey
