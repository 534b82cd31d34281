// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_tally.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/audit/audit_line.h"

namespace smartkey {
namespace {

constexpr absl::Duration kForgetAfter = absl::Hours(2);  // a repeat that did not come again
constexpr char kStrangers[] = "strangers";

// What may be another one's each time that the same is done again. That a container did it is not.
AuditEntry WithoutProcess(AuditEntry entry, absl::string_view kept_fact = "") {
  entry.pid = 0;
  entry.executable.clear();
  std::erase_if(entry.facts, [&](const auto& fact) {
    return fact.first != kContainerFact && fact.first != kept_fact;
  });
  return entry;
}

std::string UserOf(const Caller& caller) {
  return absl::StrCat(caller.admin, "/", caller.account(), "/",
                      caller.login_uid.value_or(caller.uid));
}

// Uids that cost nothing, and lead to nobody by themselves.
bool IsStranger(const Caller& caller) {
  return !caller.admin && (caller.in_container || caller.user_name.empty());
}

// Whose lines are limited together: a user's, with the same uid in containers apart. Empty: they
// are not limited, being smartkeyd's own or an administrator's.
std::string AccountOfActs(const Caller* caller) {
  if (caller == nullptr || caller->admin) return "";
  return absl::StrCat(caller->account());
}

std::string AccountOfRefusals(const Caller& caller) {
  return IsStranger(caller) ? kStrangers : AccountOfActs(&caller);
}

void Append(AuditTally::Lines& lines, AuditTally::Lines more) {
  lines.insert(lines.end(), std::make_move_iterator(more.begin()),
               std::make_move_iterator(more.end()));
}

}  // namespace

AuditTally::Lines AuditTally::Act(const Caller* caller, AuditEntry entry) {
  const std::string account = AccountOfActs(caller);
  if (IsWithin(account, &Budget::acts, MostActs(), entry)) {
    Lines line;
    line.push_back(std::move(entry));
    return line;
  }
  std::string key =
      absl::StrCat("a", UserOf(*caller), "/", entry.operation, "/", entry.registration_id, "/",
                   static_cast<int>(entry.outcome), "/", FactOf(entry, kPrincipalFact));
  if (CountAgain(key)) return {};
  const bool within = IsWithin(account, &Budget::sums, options_.lines_per_user, entry);
  return First(std::move(key), account, std::move(entry), kPrincipalFact, within);
}

AuditTally::Lines AuditTally::Delivery(const Caller& caller, AuditEntry entry) {
  std::string key = absl::StrCat("d", UserOf(caller), "/", caller.system_unit, "/",
                                 entry.registration_id, "/", FactOf(entry, kTokenFact));
  if (CountAgain(key)) return {};
  const std::string account = AccountOfActs(&caller);
  const bool within = IsWithin(account, &Budget::acts, MostActs(), entry) ||
                      IsWithin(account, &Budget::sums, options_.lines_per_user, entry);
  return First(std::move(key), account, std::move(entry), kTokenFact, within);
}

AuditTally::Lines AuditTally::Refusal(const Caller& caller, AuditEntry entry) {
  std::string key = absl::StrCat("r", UserOf(caller), "/", entry.operation, "/",
                                 entry.registration_id, "/", static_cast<int>(entry.outcome));
  if (CountAgain(key)) return {};
  const std::string account = AccountOfRefusals(caller);
  if (!IsWithin(account, &Budget::refusals, options_.lines_per_user, entry)) {
    ++budgets_[account].beyond;  // there may be any number of different ones
    return {};
  }
  AuditEntry common = WithoutProcess(entry);
  common.unit.clear();
  Lines lines = Count(std::move(key), account, std::move(common), 0);
  lines.push_back(std::move(entry));
  return lines;
}

bool AuditTally::IsUsedUp(const Caller& caller) const {
  const auto budget = budgets_.find(AccountOfActs(&caller));
  return budget != budgets_.end() && budget->second.acts >= options_.lines_per_user;
}

AuditTally::Lines AuditTally::EndMinute(bool all) {
  Lines lines = SumUp(all);
  Append(lines, SumUpBudgets());
  return lines;
}

size_t AuditTally::MostActs() const {
  return options_.lines_per_user * (options_.deny_when_full ? 2 : 1);
}

bool AuditTally::IsWithin(const std::string& account, size_t Budget::*kind, size_t most,
                          const AuditEntry& entry) {
  if (account.empty()) return true;
  Budget& budget = budgets_[account];
  if (++(budget.*kind) <= most) return true;
  if (account != kStrangers) {
    budget.user = entry.user;
    budget.in_container = !FactOf(entry, kContainerFact).empty();
  }
  return false;
}

bool AuditTally::CountAgain(const std::string& key) {
  const auto found = repeated_.find(key);
  if (found == repeated_.end()) return false;
  ++found->second.count;
  found->second.last = clock_.Boot();
  return true;
}

AuditTally::Lines AuditTally::First(std::string key, const std::string& account, AuditEntry entry,
                                    absl::string_view kept_fact, bool may_be_line) {
  Lines lines =
      Count(std::move(key), account, WithoutProcess(entry, kept_fact), may_be_line ? 0 : 1);
  if (may_be_line) lines.push_back(std::move(entry));
  return lines;
}

AuditTally::Lines AuditTally::Count(std::string key, const std::string& account, AuditEntry common,
                                    uint64_t count) {
  Lines lines;
  if (CountAgain(key)) return lines;
  if (repeated_.size() >= options_.most_repeated) lines = SumUp(/*all=*/true);
  repeated_[std::move(key)] = {std::move(common), account, count, clock_.Boot()};
  return lines;
}

AuditTally::Lines AuditTally::SumUp(bool all) {
  const BootTime now = clock_.Boot();
  const absl::Time time = clock_.Now();
  Lines lines;
  for (auto one = repeated_.begin(); one != repeated_.end();) {
    Repeated& repeated = one->second;
    if (repeated.count > 0) {
      AuditEntry sum = repeated.entry;
      sum.time = time;
      sum.repeats = std::exchange(repeated.count, 0);
      if (IsWithin(repeated.account, &Budget::sums, options_.lines_per_user, sum)) {
        lines.push_back(std::move(sum));
      } else {
        budgets_[repeated.account].beyond += sum.repeats;
      }
    }
    // There may be any number of strangers: they are not to take the place of others.
    if (all || now - repeated.last > kForgetAfter || repeated.account == kStrangers) {
      repeated_.erase(one++);
    } else {
      ++one;
    }
  }
  return lines;
}

AuditTally::Lines AuditTally::SumUpBudgets() {
  Lines lines;
  for (const auto& [account, budget] : budgets_) {
    if (budget.beyond == 0) continue;
    AuditEntry entry =
        MakeAuditEntry(nullptr, kAuditCounted, "", Reason::kRateLimited, clock_.Now());
    entry.user = budget.user;
    if (!entry.user.has_value()) entry.facts = {{"callers", "in containers or of no user"}};
    if (budget.in_container) entry.facts = {{kContainerFact, "yes"}};
    entry.repeats = budget.beyond;
    lines.push_back(std::move(entry));
  }
  budgets_.clear();
  return lines;
}

}  // namespace smartkey
