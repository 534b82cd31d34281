// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/share_rules.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/model/scope_cover.h"

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

// One step is enough: who manages by a share shares no management.
void RemoveMadeUnder(Registration& registration, const std::string& share_id) {
  if (share_id.empty()) return;
  std::erase_if(registration.shares, [&](const Share& one) { return one.made_under == share_id; });
}

size_t ScopeBytes(const Share& share) {
  size_t bytes = 0;
  for (const std::string& scope : share.scopes) bytes += scope.size();
  return bytes;
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

std::string DescribeOperations(OperationSet operations) {
  std::vector<absl::string_view> names;
  for (const Operation one : operations.list()) {
    if (!OperationName(one).empty()) names.push_back(OperationName(one));
  }
  return names.empty() ? "nothing" : absl::StrJoin(names, ", ");
}

std::string DescribeTerms(const Share& share) {
  std::string text = absl::StrCat("allows ", DescribeOperations(OperationsOf(share)));
  if (!share.scopes.empty()) {
    absl::StrAppend(&text, ", for ", Printable(absl::StrJoin(share.scopes, " ")));
  }
  if (share.ends_at != absl::InfiniteFuture()) {
    absl::StrAppend(&text, ", until ",
                    absl::FormatTime("%Y-%m-%d %H:%M UTC", share.ends_at, absl::UTCTimeZone()));
  }
  return text;
}

ShareMatch Match(const Share& share, const Caller& caller, absl::Time now) {
  if (share.ends_at <= now) return ShareMatch::kEnded;
  if (share.uid >= 0) {
    if (static_cast<int64_t>(caller.uid) != share.uid) return ShareMatch::kOtherUser;
    // The configuration means whoever has the number.
    if (share.policy.empty() && caller.user_name != share.user_name) {
      return ShareMatch::kUserChanged;
    }
  }
  const bool by_name = share.uid < 0 && !share.user_name.empty();
  if (by_name && caller.user_name != share.user_name) return ShareMatch::kOtherUser;
  if (share.gid != -1 && !IsInGroup(caller, share.gid)) return ShareMatch::kOtherGroup;
  if (!share.unit.empty()) {
    if (caller.system_unit != share.unit) return ShareMatch::kOtherUnit;
    // A process id may have gone to another process between the connection and the look at it.
    if (!caller.pid_pinned && share.uid < 0 && !by_name) return ShareMatch::kUnitUnsure;
  }
  // A record without any part would be everybody's.
  if (share.uid < 0 && !by_name && share.gid == -1 && share.unit.empty())
    return ShareMatch::kOtherUser;
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

bool IsPartOf(const Share& part, const Share& whole) {
  const OperationSet operations = OperationsOf(part);
  if (!OperationsOf(whole).HasAll(operations) || part.ends_at > whole.ends_at) return false;
  if (whole.scopes.empty() || !operations.Has(Operation::kToken)) return true;
  return !part.scopes.empty() && Covers(ScopeSet(whole.scopes.begin(), whole.scopes.end()),
                                        ScopeSet(part.scopes.begin(), part.scopes.end()));
}

absl::Status CheckShareScopes(const Share& share, const Registration& registration) {
  const Generation* serving = registration.serving();
  const Generation& generation = serving != nullptr ? *serving : registration.newest();
  const ScopeSet granted = ParseScope(generation.granted_scope);
  const ScopeSet shared(share.scopes.begin(), share.scopes.end());
  if (granted.empty() || Covers(granted, shared)) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument, absl::StrCat("the registration has other scopes: ",
                                                          absl::StrJoin(granted, " ")));
}

absl::Status PutShare(Registration& registration, Share share) {
  size_t scope_bytes = ScopeBytes(share);
  for (const Share& one : registration.shares) {
    if (one.principal != share.principal) scope_bytes += ScopeBytes(one);
  }
  if (scope_bytes > kMaxShareScopes) {
    return WithRemedy(
        MakeError(Reason::kRateLimited, "the registration's shares name 64 KiB of scopes"),
        "take shares back that are not needed, or name scopes that cover many: 'patient/*.rs'");
  }
  std::erase_if(registration.denials, [&](const Denial& one) {
    return static_cast<int64_t>(one.uid) == share.uid && one.user_name == share.user_name;
  });
  std::vector<Share>& shares = registration.shares;
  const auto same = std::find_if(shares.begin(), shares.end(), [&](const Share& one) {
    return one.principal == share.principal;
  });
  if (same != shares.end()) {
    const std::string replaced = std::exchange(*same, std::move(share)).id;
    RemoveMadeUnder(registration, replaced);
    return absl::OkStatus();
  }
  if (shares.size() >= kMaxShares) {
    return WithRemedy(MakeError(Reason::kRateLimited, "the registration has 256 shares"),
                      "take shares back that are not needed, or share with a group instead");
  }
  shares.push_back(std::move(share));
  return absl::OkStatus();
}

absl::StatusOr<Share> AddShare(Registration& registration, Share share, absl::Time now) {
  const auto same = std::find_if(
      registration.shares.begin(), registration.shares.end(),
      [&](const Share& one) { return one.principal == share.principal && one.ends_at > now; });
  if (same != registration.shares.end()) {
    if (!share.made_under.empty() && same->made_under != share.made_under) {
      return MakeError(Reason::kNotPermitted,
                       "he has a share already, which is not by this one: the owner adds to it");
    }
  }
  if (same != registration.shares.end() && same->made_under == share.made_under) {
    OperationSet operations = OperationsOf(share);
    const OperationSet before = OperationsOf(*same);
    const bool both_tokens = operations.Has(Operation::kToken) && before.Has(Operation::kToken);
    ScopeSet scopes(share.scopes.begin(), share.scopes.end());
    if (!operations.Has(Operation::kToken)) {
      scopes = ScopeSet(same->scopes.begin(), same->scopes.end());
    } else if (both_tokens && (share.scopes.empty() || same->scopes.empty())) {
      scopes.clear();  // all
    } else if (both_tokens) {
      scopes.insert(same->scopes.begin(), same->scopes.end());
    }
    operations.Add(before);
    share.scopes.assign(scopes.begin(), scopes.end());
    share.operations.clear();
    for (const Operation one : operations.list()) {
      share.operations.emplace_back(OperationName(one));
    }
    if (absl::Status status = CheckShare(share, now); !status.ok()) return status;
  }
  if (absl::Status status = PutShare(registration, share); !status.ok()) return status;
  return share;
}

bool IsDenied(const Registration& registration, const Caller& caller, absl::Time now) {
  return std::any_of(
      registration.denials.begin(), registration.denials.end(), [&](const Denial& one) {
        return one.uid == caller.uid && one.user_name == caller.user_name && one.until > now;
      });
}

void PutDenial(Registration& registration, Denial denial, absl::Time now) {
  std::vector<Denial>& denials = registration.denials;
  std::erase_if(denials, [&](const Denial& one) {
    return one.until <= now || (one.uid == denial.uid && one.user_name == denial.user_name);
  });
  if (denials.size() >= kMaxShares) {
    denials.erase(std::min_element(denials.begin(), denials.end(),
                                   [](const auto& a, const auto& b) { return a.until < b.until; }));
  }
  denials.push_back(std::move(denial));
}

absl::Status RemoveShare(Registration& registration, absl::string_view principal) {
  std::vector<Share>& shares = registration.shares;
  const auto found = std::find_if(shares.begin(), shares.end(),
                                  [&](const Share& one) { return one.principal == principal; });
  if (found == shares.end()) {
    return MakeError(Reason::kShareNotFound, "nobody written like that has a share");
  }
  const std::string removed = found->id;
  shares.erase(found);
  RemoveMadeUnder(registration, removed);
  return absl::OkStatus();
}

}  // namespace smartkey
