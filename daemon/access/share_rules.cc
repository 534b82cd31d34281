// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/share_rules.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"

namespace smartkey {
namespace {

struct NameRow {
  Operation operation;
  absl::string_view name;
};

constexpr NameRow kNames[] = {
    {Operation::kToken, "token"},         {Operation::kDpop, "dpop"},     {Operation::kJwt, "jwt"},
    {Operation::kAssertion, "assertion"}, {Operation::kManage, "manage"},
};

constexpr Operation kAll[] = {Operation::kSee,   Operation::kJwks, Operation::kToken,
                              Operation::kDpop,  Operation::kJwt,  Operation::kAssertion,
                              Operation::kManage};

bool IsInGroup(const Caller& caller, int64_t gid) {
  return static_cast<int64_t>(caller.gid) == gid ||
         std::any_of(caller.groups.begin(), caller.groups.end(),
                     [gid](gid_t one) { return static_cast<int64_t>(one) == gid; });
}

}  // namespace

OperationSet OperationSet::All() {
  OperationSet all;
  for (const Operation one : kAll) all.Add(one);
  return all;
}

std::vector<Operation> OperationSet::list() const {
  std::vector<Operation> operations;
  std::copy_if(std::begin(kAll), std::end(kAll), std::back_inserter(operations),
               [this](Operation one) { return Has(one); });
  return operations;
}

absl::string_view OperationName(Operation operation) {
  for (const NameRow& row : kNames) {
    if (row.operation == operation) return row.name;
  }
  return "";
}

absl::optional<Operation> OperationFromName(absl::string_view name) {
  for (const NameRow& row : kNames) {
    if (row.name == name) return row.operation;
  }
  return absl::nullopt;
}

OperationSet OperationsOf(const Share& share) {
  OperationSet operations;
  for (const std::string& name : share.operations) {
    if (const auto one = OperationFromName(name)) operations.Add(*one);
  }
  return operations;
}

ShareMatch Match(const Share& share, const Caller& caller, absl::Time now) {
  if (share.ends_at <= now) return ShareMatch::kEnded;
  if (share.uid >= 0) {
    if (static_cast<int64_t>(caller.uid) != share.uid) return ShareMatch::kOtherUser;
    if (caller.user_name != share.user_name) return ShareMatch::kUserChanged;
  }
  if (share.gid >= 0 && !IsInGroup(caller, share.gid)) return ShareMatch::kOtherGroup;
  if (!share.unit.empty()) {
    if (caller.system_unit != share.unit) return ShareMatch::kOtherUnit;
    // A process id may have gone to another process between the connection and the look at it.
    if (!caller.pid_pinned && share.uid < 0) return ShareMatch::kUnitUnsure;
  }
  // A record without any part would be everybody's.
  if (share.uid < 0 && share.gid < 0 && share.unit.empty()) return ShareMatch::kOtherUser;
  return ShareMatch::kYes;
}

absl::Status CheckShare(const Share& share, absl::Time now) {
  const OperationSet operations = OperationsOf(share);
  if (operations.empty()) {
    return MakeError(Reason::kInvalidArgument, "say what the share shall allow");
  }
  if (operations.Has(Operation::kAssertion) && !share.scopes.empty()) {
    return MakeError(Reason::kInvalidArgument,
                     "client assertions give every scope: they are not shared together with a "
                     "subset of the scopes");
  }
  if (share.ends_at <= now) {
    return MakeError(Reason::kInvalidArgument, "the share would have ended already");
  }
  return absl::OkStatus();
}

absl::Status PutShare(Registration& registration, Share share) {
  std::vector<Share>& shares = registration.shares;
  const auto same = std::find_if(shares.begin(), shares.end(), [&](const Share& one) {
    return one.principal == share.principal;
  });
  if (same != shares.end()) {
    *same = std::move(share);
    return absl::OkStatus();
  }
  if (shares.size() >= kMaxShares) {
    return WithRemedy(MakeError(Reason::kRateLimited, "the registration has 256 shares"),
                      "take shares back that are not needed, or share with a group instead");
  }
  shares.push_back(std::move(share));
  return absl::OkStatus();
}

absl::Status RemoveShare(Registration& registration, absl::string_view principal) {
  const size_t removed = std::erase_if(
      registration.shares, [&](const Share& one) { return one.principal == principal; });
  if (removed > 0) return absl::OkStatus();
  return MakeError(Reason::kShareNotFound, "nobody written like that has a share");
}

}  // namespace smartkey
