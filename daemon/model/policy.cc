// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/policy.h"

#include <fnmatch.h>

#include <algorithm>
#include <tuple>

namespace smartkey {
namespace {

bool AnyMatches(const std::vector<std::string>& globs, absl::string_view name) {
  const std::string text(name);
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    return fnmatch(glob.c_str(), text.c_str(), 0) == 0;
  });
}

auto Terms(const Share& share) {
  return std::tie(share.principal, share.gid, share.operations, share.scopes);
}

bool SameShares(const std::vector<Share>& a, const std::vector<Share>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Share& x, const Share& y) { return Terms(x) == Terms(y); });
}

}  // namespace

bool Policy::IsOf(absl::string_view server_name, absl::string_view app_id) const {
  return AnyMatches(servers, server_name) && AnyMatches(apps, app_id);
}

bool Policy::operator==(const Policy& other) const {
  if (allow_enroll.has_value() != other.allow_enroll.has_value()) return false;
  if (allow_enroll.has_value() &&
      (allow_enroll->people != other.allow_enroll->people ||
       !SameShares(allow_enroll->principals, other.allow_enroll->principals))) {
    return false;
  }
  return servers == other.servers && apps == other.apps &&
         SameShares(deny_enroll, other.deny_enroll) &&
         max_registrations_per_owner == other.max_registrations_per_owner &&
         max_idle == other.max_idle && SameShares(shares, other.shares);
}

}  // namespace smartkey
