// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/explanation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace smartkey {
namespace {

std::string UserText(int64_t uid, const std::string& name) {
  return absl::StrCat(name.empty() ? "no user name" : Printable(name), " (uid ", uid, ")");
}

std::string MatchText(const Share& share, ShareMatch match) {
  switch (match) {
    case ShareMatch::kYes:
      return DescribeTerms(share);
    case ShareMatch::kEnded:
      return "not any more: it has ended";
    case ShareMatch::kOtherUser:
      return "not this one: another user";
    case ShareMatch::kUserChanged:
      return absl::StrCat("not this one: the uid was ", UserText(share.uid, share.user_name),
                          " when it was shared");
    case ShareMatch::kOtherGroup:
      return absl::StrCat("not this one: not in the group (gid ", share.gid, ")");
    case ShareMatch::kOtherUnit:
      return "not this one: not a process of that unit";
    case ShareMatch::kUnitUnsure:
      return "not this one: this kernel cannot hold a process while its unit is looked at, so a "
             "unit "
             "counts together with a user only";
  }
  return "";
}

std::vector<std::string> FactsOf(const Caller& caller) {
  std::vector<std::string> facts;
  facts.push_back(absl::StrCat("user: ", UserText(caller.uid, caller.user_name)));
  std::vector<std::string> groups;
  if (caller.gid != static_cast<gid_t>(-1)) groups.push_back(absl::StrCat(caller.gid));
  for (const gid_t one : caller.groups) {
    if (one != caller.gid) groups.push_back(absl::StrCat(one));
  }
  facts.push_back(groups.empty() ? "groups: none that is known"
                                 : absl::StrCat("groups: gid ", absl::StrJoin(groups, ", ")));
  facts.push_back(caller.system_unit.empty()
                      ? "system unit: none"
                      : absl::StrCat("system unit: ", Printable(caller.system_unit),
                                     caller.pid_pinned ? "" : ", as far as a process id says"));
  facts.push_back(caller.in_container ? "in a container, or not known to be in none"
                                      : "in no container");
  if (caller.admin) facts.push_back("on the admin socket");
  return facts;
}

}  // namespace

Explanation Explain(const AccessPolicy& access, const Caller& caller,
                    const Registration& registration, bool whole, absl::Time now) {
  Explanation explanation;
  explanation.right = access.RightTo(caller, registration);
  explanation.facts = FactsOf(caller);
  std::vector<std::string>& steps = explanation.steps;
  const Right& right = explanation.right;

  steps.push_back(
      absl::StrCat("owner: ", UserText(registration.owner_uid, registration.owner_name)));
  if (caller.in_container) {
    steps.push_back("in a container nobody is owner or administrator: only a share counts");
  }
  if (right.relation == Right::Relation::kAdministered) {
    steps.push_back("an administrator manages every registration, and gets no tokens");
  } else if (right.relation == Right::Relation::kOwner) {
    steps.push_back(registration.shares_only
                        ? "private: the owner manages it, his programs need a share for all else"
                        : "the owner may do everything");
  } else if (caller.uid == registration.owner_uid && !caller.in_container) {
    steps.push_back("the uid is the owner's, but under another user name than then");
  }
  for (const Share& share : access.SharesOf(registration)) {
    const ShareMatch match = Match(share, caller, now);
    if (match != ShareMatch::kYes && !whole) continue;
    steps.push_back(
        absl::StrCat("share ", Printable(share.principal),
                     share.policy.empty() ? "" : absl::StrCat(" by ", Printable(share.policy)),
                     ": ", MatchText(share, match)));
  }
  steps.push_back(right.relation == Right::Relation::kNone
                      ? "so: nothing, and it is told that there is no such registration"
                      : absl::StrCat("so: ", DescribeOperations(right.operations)));
  return explanation;
}

}  // namespace smartkey
