// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace smartkey {

// The ids an EHR gave an app (step 0), for the servers whose names match.
struct AppClient {
  std::vector<std::string> servers;  // name globs (fnmatch), "*" = all
  std::string client_id;             // the initial, public client's
  std::string software_id;           // 1:1 with client_id, often the same

  bool operator==(const AppClient&) const = default;
};

// A client application as the EHR knows it. Installed by its package (apps.d) or the administrator.
struct App {
  std::string id;  // reverse DNS: "org.example.viewer"
  std::string name;
  std::vector<std::string> redirect_uris;  // as registered; loopback without a port: any free port
  std::vector<std::string> scopes;         // asked for at authorization when the caller names none
  std::vector<AppClient> clients;          // the first whose globs match a server's name counts

  // Null when this app has no ids for that server.
  const AppClient* FindClient(const std::string& server_name) const;
};

}  // namespace smartkey
