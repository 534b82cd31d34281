// SPDX-License-Identifier: Apache-2.0
#include "daemon/access/policy_rules.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/access/share_rules.h"

namespace smartkey {
namespace {

// systemd.exec(5), DynamicUser=: given to services for as long as they run.
constexpr uid_t kFirstDynamicUid = 61184;
constexpr uid_t kLastDynamicUid = 65519;

const Policy* FindDecider(const Catalog& catalog, absl::string_view server_name,
                          absl::string_view app_id) {
  for (const Policy& one : catalog.policies) {
    if (one.DecidesEnrollment() && one.IsOf(server_name, app_id)) return &one;
  }
  return nullptr;
}

bool IsAny(const std::vector<Share>& principals, const Caller& caller) {
  return std::any_of(principals.begin(), principals.end(), [&](const Share& one) {
    return Match(one, caller, absl::UnixEpoch()) == ShareMatch::kYes;
  });
}

// Whether one of those who are denied may be the caller: by number or by name, for a uid may have
// several; and of the unit as far as a process id says.
bool MayBeAny(const std::vector<Share>& denied, const Caller& caller) {
  return std::any_of(denied.begin(), denied.end(), [&](const Share& one) {
    Share by_name = one;
    if (!one.user_name.empty()) by_name.uid = -1;
    const auto may_be = [&](const Share& meant) {
      const ShareMatch match = Match(meant, caller, absl::UnixEpoch());
      return match == ShareMatch::kYes || match == ShareMatch::kUnitUnsure;
    };
    return may_be(one) || may_be(by_name);
  });
}

bool HasUnknown(const std::vector<Share>& denied) {
  return std::any_of(denied.begin(), denied.end(), [](const Share& one) {
    return one.gid == kUnknownGid || one.uid == kUnknownUid;
  });
}

absl::Status NotAllowed(absl::string_view why, const Policy* decider) {
  if (decider != nullptr) {
    return MakeError(Reason::kEnrollmentNotAllowed,
                     absl::StrCat(why, " (", Printable(decider->place), ")"));
  }
  return WithRemedy(MakeError(Reason::kEnrollmentNotAllowed, why),
                    "the administrator names the user in the configuration: [[policy]] "
                    "allow_enroll = [\"people\", \"user:NAME\"]; or a person enrolls and shares");
}

}  // namespace

std::vector<Share> SharesByPolicy(const Catalog& catalog, const Registration& registration) {
  std::vector<Share> shares;
  for (const Policy& one : catalog.policies) {
    if (one.shares.empty()) continue;
    if (!one.IsOf(catalog.ServerNameOf(registration), registration.app_id)) continue;
    shares.insert(shares.end(), one.shares.begin(), one.shares.end());
  }
  return shares;
}

absl::Status CheckEnrollByPolicy(const Catalog& catalog, const Caller& caller,
                                 absl::string_view server_name, absl::string_view app_id) {
  if (caller.uid >= kFirstDynamicUid && caller.uid <= kLastDynamicUid) {
    return WithRemedy(MakeError(Reason::kEnrollmentNotAllowed,
                                "the caller's uid is one that systemd lends to services "
                                "(DynamicUser=): the next one who has it would own this"),
                      "let a person enroll and share with the unit: unit:NAME.service");
  }
  const Policy* decider = FindDecider(catalog, server_name, app_id);
  if (decider != nullptr && MayBeAny(decider->deny_enroll, caller)) {
    return NotAllowed("the configuration does not let this user enroll", decider);
  }
  // Whoever is in a group that nobody knows may be one of those who are denied.
  if (decider != nullptr && HasUnknown(decider->deny_enroll)) {
    return NotAllowed("the configuration denies a user or group that this machine does not know",
                      decider);
  }
  const bool says_who = decider != nullptr && decider->allow_enroll.has_value();
  if (says_who && IsAny(decider->allow_enroll->principals, caller)) return absl::OkStatus();
  if (says_who && !decider->allow_enroll->people) {
    return NotAllowed("the configuration lets only others enroll", decider);
  }
  if (caller.has_login_shell) return absl::OkStatus();
  return NotAllowed(
      "the caller's login has no shell: the user of a service enrolls only where it is named",
      says_who ? decider : nullptr);
}

absl::Status CheckCountByPolicy(const Catalog& catalog, const Caller& caller,
                                absl::string_view server_name, absl::string_view app_id,
                                const std::vector<RegistrationStore::Snapshot>& all) {
  for (const Policy& policy : catalog.policies) {
    if (policy.max_registrations_per_owner == 0 || !policy.IsOf(server_name, app_id)) continue;
    const auto has = std::count_if(all.begin(), all.end(), [&](const auto& one) {
      return one->owner_uid == caller.uid && one->owner_name == caller.user_name &&
             policy.IsOf(catalog.ServerNameOf(*one), one->app_id);
    });
    if (has < policy.max_registrations_per_owner) continue;
    return WithRemedy(
        MakeError(Reason::kTooManyRegistrations,
                  absl::StrCat("the configuration lets one user have ",
                               policy.max_registrations_per_owner, " of these registrations (",
                               Printable(policy.place), ")")),
        "delete one that is not needed: 'smartkeyctl list'");
  }
  return absl::OkStatus();
}

}  // namespace smartkey
