// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "daemon/app/config.h"
#include "daemon/app/config_table.h"
#include "daemon/model/app.h"
#include "daemon/model/server.h"
#include "toml++/toml.h"

namespace smartkey {

// What every file may hold, with the lines where its blocks begin.
struct ConfigBlocks {
  template <typename Block>
  struct At {
    Block block;
    int line = 0;
  };
  std::vector<At<App>> apps;
  std::vector<At<Server>> servers;
  std::vector<Policy> policies;
};

// Read the keys that docs/smartkeyd.toml.example explains. `config` keeps its defaults where a key
// is absent. Every problem goes to `problems`; what is returned then is not to be used.
ConfigBlocks ReadMainFile(const toml::table& root, Config& config, ConfigProblems& problems);
ConfigBlocks ReadDropIn(const toml::table& root, ConfigProblems& problems);

}  // namespace smartkey
