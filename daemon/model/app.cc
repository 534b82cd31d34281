// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/app.h"

#include <fnmatch.h>

namespace smartkey {

const AppClient* App::FindClient(const std::string& server_name) const {
  for (const AppClient& client : clients) {
    for (const std::string& glob : client.servers) {
      if (fnmatch(glob.c_str(), server_name.c_str(), 0) == 0) return &client;
    }
  }
  return nullptr;
}

}  // namespace smartkey
