// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "smartkey/types.h"

namespace smartkey::notify {

// What a person is told on the desktop. Both are plain text for people.
struct Notice {
  std::string title;
  std::string body;
};

// Decides what is news. Remembers what was told, so that the same state, request or end is told
// once, over any number of connections. Not thread-safe.
class Notices {
 public:
  // When one of the person's own registrations comes to need a login, and when its access ends
  // within 7 days or one.
  absl::optional<Notice> Of(const client::RegistrationEvent& event);

  // One for each open request that was not open the last time. `requests` are all that are open.
  std::vector<Notice> Of(const std::vector<client::AccessRequest>& requests);

 private:
  std::map<std::string, std::string> names_;  // of registrations, by id
  std::set<std::string> needing_;             // ids of those that need a login
  std::map<std::string, int> ending_;         // days last told, by id
  std::set<std::string> asked_;               // ids of requests
};

}  // namespace smartkey::notify
