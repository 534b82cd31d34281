// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/registration_index.h"

#include <algorithm>
#include <memory>
#include <set>
#include <tuple>

#include "base/error.h"

namespace smartkey {
namespace {

absl::Status Broken(absl::string_view what) {
  return MakeError(Reason::kInternal, what);
}

void CutToMillisecond(absl::Time& time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return;
  time = absl::FromUnixMillis(absl::ToUnixMillis(time));
}

// What can be seen without looking at other registrations.
absl::Status CheckShape(const Registration& registration) {
  if (registration.id.empty()) return Broken("registration without an id");
  if (registration.generations.empty()) return Broken("registration without a generation");
  std::set<std::pair<std::string, std::string>> clients;
  std::set<std::string> enrollments;
  int previous = 0;
  for (const Generation& generation : registration.generations) {
    if (generation.number <= previous) return Broken("generation numbers do not ascend from 1");
    previous = generation.number;
    if (!generation.enrollment_id.empty() && !enrollments.insert(generation.enrollment_id).second) {
      return Broken("two generations with one enrollment id");
    }
    if (!generation.client_id.empty() &&
        !clients.emplace(generation.token_endpoint, generation.client_id).second) {
      return MakeError(Reason::kDuplicateClientId,
                       "the server gave the client_id of another generation again");
    }
  }
  return absl::OkStatus();
}

}  // namespace

RegistrationIndex::Snapshot RegistrationIndex::Find(absl::string_view id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

RegistrationIndex::Snapshot RegistrationIndex::FindByEnrollment(
    absl::string_view enrollment_id) const {
  const auto found = by_enrollment_.find(enrollment_id);
  return found == by_enrollment_.end() ? nullptr : Find(found->second);
}

RegistrationStore::Listing RegistrationIndex::List() const {
  if (listing_ == nullptr) {
    auto all = std::make_shared<std::vector<Snapshot>>();
    all->reserve(by_age_.size());
    for (const auto& [age, registration] : by_age_) all->push_back(registration);
    listing_ = std::move(all);
  }
  return RegistrationStore::Listing(listing_);
}

std::vector<RegistrationIndex::Snapshot> RegistrationIndex::ListOwned(
    absl::string_view owner_name) const {
  std::vector<Snapshot> owned;
  auto it = by_name_.lower_bound(OwnedName(owner_name, 0, ""));
  for (; it != by_name_.end() && std::get<0>(it->first) == owner_name; ++it) {
    owned.push_back(Find(it->second));
  }
  return owned;
}

RegistrationIndex::Snapshot RegistrationIndex::FindOwned(uid_t owner_uid,
                                                         absl::string_view owner_name,
                                                         absl::string_view name) const {
  const auto found = by_name_.find(OwnedName(owner_name, owner_uid, name));
  return found == by_name_.end() ? nullptr : Find(found->second);
}

absl::Status RegistrationIndex::CheckInsert(const Registration& registration) const {
  if (by_id_.contains(registration.id)) return Broken("registration id is already used");
  return CheckContent(registration);
}

absl::Status RegistrationIndex::CheckUpdate(const Registration& registration) const {
  if (Find(registration.id) == nullptr) return RegistrationNotFound();
  return CheckContent(registration);
}

absl::Status RegistrationIndex::CheckContent(const Registration& registration) const {
  if (absl::Status status = CheckShape(registration); !status.ok()) return status;

  const auto is_of_another = [&](const auto& map, const auto& key) {
    const auto found = map.find(key);
    return found != map.end() && found->second != registration.id;
  };
  if (is_of_another(by_name_, OwnedName(registration.owner_name, registration.owner_uid,
                                        registration.name.RevealIdentifying()))) {
    return MakeError(Reason::kNameTaken, "the owner has another registration with this name");
  }
  for (const Generation& generation : registration.generations) {
    if (!generation.enrollment_id.empty() &&
        is_of_another(by_enrollment_, generation.enrollment_id)) {
      return Broken("enrollment id is already used");
    }
    if (!generation.client_id.empty() &&
        is_of_another(by_client_, Client(generation.token_endpoint, generation.client_id))) {
      return MakeError(Reason::kDuplicateClientId,
                       "the server gave the client_id of another registration again");
    }
  }
  return absl::OkStatus();
}

void RegistrationIndex::Put(Snapshot registration) {
  Erase(registration->id);
  listing_ = nullptr;
  const std::string& id = registration->id;
  by_name_[OwnedName(registration->owner_name, registration->owner_uid,
                     registration->name.RevealIdentifying())] = id;
  for (const Generation& generation : registration->generations) {
    if (!generation.client_id.empty()) {
      by_client_[Client(generation.token_endpoint, generation.client_id)] = id;
    }
    if (!generation.enrollment_id.empty()) by_enrollment_[generation.enrollment_id] = id;
  }
  by_age_[Age(registration->created_at, id)] = registration;
  by_id_[id] = std::move(registration);
}

void RegistrationIndex::Erase(absl::string_view id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  const Snapshot old = found->second;
  by_name_.erase(OwnedName(old->owner_name, old->owner_uid, old->name.RevealIdentifying()));
  for (const Generation& generation : old->generations) {
    by_client_.erase(Client(generation.token_endpoint, generation.client_id));
    by_enrollment_.erase(generation.enrollment_id);
  }
  by_age_.erase(Age(old->created_at, old->id));
  by_id_.erase(found);
  listing_ = nullptr;
}

void CutTimesToMilliseconds(Registration& registration) {
  CutToMillisecond(registration.created_at);
  CutToMillisecond(registration.resumed_at);
  if (registration.suspension) CutToMillisecond(registration.suspension->since);
  for (absl::Duration& lifetime : registration.earlier_lifetimes) {
    lifetime = absl::Trunc(lifetime, absl::Seconds(1));
  }
  for (Generation& generation : registration.generations) {
    CutToMillisecond(generation.created_at);
    CutToMillisecond(generation.registered_at);
    CutToMillisecond(generation.first_token_at);
    CutToMillisecond(generation.last_token_at);
    CutToMillisecond(generation.first_refusal_at);
    CutToMillisecond(generation.last_refusal_at);
    CutToMillisecond(generation.ended_at);
    generation.access_for = absl::Trunc(generation.access_for, absl::Seconds(1));
  }
  for (Share& share : registration.shares) {
    CutToMillisecond(share.created_at);
    CutToMillisecond(share.ends_at);
  }
  for (Denial& denial : registration.denials) {
    CutToMillisecond(denial.since);
    CutToMillisecond(denial.until);
  }
}

bool LosesAKey(const Registration& before, const Registration& after) {
  for (const Generation& old : before.generations) {
    if (old.key.blob.empty()) continue;
    const bool kept = std::any_of(after.generations.begin(), after.generations.end(),
                                  [&](const Generation& g) { return g.key == old.key; });
    if (!kept) return true;
  }
  return false;
}

bool LosesARight(const Registration& before, const Registration& after) {
  if (after.suspension && !before.suspension) return true;
  if (after.shares_only && !before.shares_only) return true;
  if (after.owner_uid != before.owner_uid || after.owner_name != before.owner_name) return true;
  const auto terms = [](const Share& share) {
    return std::tie(share.id, share.principal, share.uid, share.gid, share.user_name, share.unit,
                    share.scopes, share.operations, share.ends_at);
  };
  return std::any_of(before.shares.begin(), before.shares.end(), [&](const Share& old) {
    return std::none_of(after.shares.begin(), after.shares.end(),
                        [&](const Share& share) { return terms(share) == terms(old); });
  });
}

}  // namespace smartkey
