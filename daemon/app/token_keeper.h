// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "daemon/rpc/listener.h"
#include "daemon/token/token_manager.h"

namespace smartkey {

// Where tokens wait for the next process: memory whose descriptor the service manager holds, in its
// file descriptor store (FileDescriptorStoreMax= in systemd.service(5)). One that keeps nothing, or
// none at all, makes no other difference than that the next process begins with an empty cache. Not
// thread-safe.
class TokenKeeper {
 public:
  // Takes out of `inherited` what an earlier process had the service manager keep.
  explicit TokenKeeper(std::vector<InheritedFd>& inherited);

  // Once the store can be read, so that it is known whose tokens they may be: `instance_id`. Gives
  // the memory to the service manager before the first token is in it. Only the first call does
  // anything. Without memory to be had, tokens stay in this process alone, and the log says so.
  void Start(TokenManager& tokens, const std::string& instance_id);

 private:
  std::vector<UniqueFd> inherited_;
  bool started_ = false;
};

}  // namespace smartkey
