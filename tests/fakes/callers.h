// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "daemon/model/caller.h"

namespace smartkey {

// A process of that person, whose first group has the number of the uid, on the public socket.
inline Caller User(uid_t uid, std::string name) {
  Caller caller;
  caller.uid = uid;
  caller.gid = uid;
  caller.has_login_shell = !name.empty();
  caller.user_name = std::move(name);
  return caller;
}

// Root on the admin socket.
inline Caller Administrator() {
  Caller caller = User(0, "root");
  caller.admin = true;
  return caller;
}

}  // namespace smartkey
