// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace smartkey {

// What the entries of an access list are of (acl(5)).
inline constexpr int kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOther = 32;

struct AccessListEntry {
  int tag = 0;
  int permissions = 0;
  int64_t id = -1;
};

// An access list as the kernel hands it out, and takes it: version 2, then tag, permissions, id.
inline std::string AccessListOctets(const std::vector<AccessListEntry>& entries) {
  std::string octets("\x02\0\0\0", 4);
  for (const auto& [tag, permissions, id] : entries) {
    for (int shift : {0, 8}) octets.push_back(static_cast<char>(tag >> shift));
    for (int shift : {0, 8}) octets.push_back(static_cast<char>(permissions >> shift));
    for (int shift : {0, 8, 16, 24}) octets.push_back(static_cast<char>(id >> shift));
  }
  return octets;
}

}  // namespace smartkey
