// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/share_terms.h"

#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

const absl::Duration kLongestShare = absl::Hours(24 * 366 * 10);

template <class Request>
absl::StatusOr<Share> TermsOf(const Request& request, const Caller& maker, absl::Time now) {
  Share terms;
  const absl::StatusOr<OperationSet> operations = OperationsFromProto(request.operations());
  if (!operations.ok()) return operations.status();
  for (const Operation one : operations->list()) terms.operations.emplace_back(OperationName(one));
  const absl::StatusOr<ScopeSet> scopes = ScopesFromProto(request.scopes());
  if (!scopes.ok()) return scopes.status();
  terms.scopes.assign(scopes->begin(), scopes->end());
  if (request.has_valid_for()) {
    absl::StatusOr<absl::Duration> valid_for = FromProto(request.valid_for());
    if (!valid_for.ok()) return valid_for.status();
    if (*valid_for > kLongestShare) {
      return MakeError(Reason::kInvalidArgument,
                       "longer than ten years: leave the end out, and take the share back");
    }
    terms.ends_at = now + *valid_for;
  }
  terms.id = RandomId();
  terms.created_at = now;
  terms.created_by = maker.uid;
  terms.created_by_name = maker.user_name;
  return terms;
}

}  // namespace

absl::StatusOr<OperationSet> OperationsFromProto(
    const google::protobuf::RepeatedField<int>& operations) {
  OperationSet set;
  for (const int one : operations) {
    const absl::optional<Operation> operation = FromProto(static_cast<v1::Operation>(one));
    if (!operation.has_value()) {
      return MakeError(Reason::kInvalidArgument, "an operation that this smartkeyd does not know");
    }
    set.Add(*operation);
  }
  return set;
}

absl::StatusOr<Share> ShareTermsFromProto(const v1::ShareRegistrationRequest& request,
                                          const Caller& maker, absl::Time now) {
  return TermsOf(request, maker, now);
}

absl::StatusOr<Share> ShareTermsFromProto(const v1::ResolveAccessRequestRequest& request,
                                          const Caller& maker, absl::Time now) {
  return TermsOf(request, maker, now);
}

void NoteShare(AuditLog& audit, absl::string_view operation, absl::string_view words,
               const std::string& registration, const Share& share, const Caller& caller) {
  AuditFacts facts = {{"principal", share.principal}};
  if (!share.operations.empty()) {
    facts.emplace_back("operations", absl::StrJoin(share.operations, ","));
    facts.emplace_back("scopes", share.scopes.empty() ? "all" : absl::StrCat(share.scopes.size()));
  }
  if (share.ends_at != absl::InfiniteFuture()) {
    facts.emplace_back("until",
                       absl::FormatTime(absl::RFC3339_sec, share.ends_at, absl::UTCTimeZone()));
  }
  audit.Note(&caller, operation, registration, absl::OkStatus(), std::move(facts));
  Log(LogLevel::kInfo, words,
      {{"registration", registration},
       {"principal", share.principal},
       {"share_uid", share.uid},
       {"share_gid", share.gid},
       {"operations", absl::StrJoin(share.operations, ",")},
       {"by", caller.uid},
       {"administrator", caller.admin ? "yes" : "no"}});
}

}  // namespace smartkey
