// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/service_support.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

constexpr int kMostScopes = 64;
constexpr size_t kMostScope = 256;
constexpr size_t kMostKept = 20 * 1024;

// RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
bool IsScopeToken(absl::string_view scope) {
  return !scope.empty() && std::all_of(scope.begin(), scope.end(), [](char c) {
    return c > 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
}

}  // namespace

absl::Duration TimeLeft(const grpc::CallbackServerContext& context, absl::Duration limit) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return limit;
  const absl::Duration left = absl::FromChrono(deadline) - absl::Now();
  return std::clamp(left, absl::ZeroDuration(), limit);
}

void SetDuration(absl::Duration duration, google::protobuf::Duration* message) {
  absl::Duration rest;
  message->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  message->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::StatusOr<absl::Duration> FromProto(const google::protobuf::Duration& duration) {
  if (duration.seconds() < 0 || duration.nanos() < 0 || duration.nanos() >= 1'000'000'000) {
    return MakeError(Reason::kInvalidArgument, "a length of time is negative or malformed");
  }
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::StatusOr<ScopeSet> ScopesFromProto(
    const google::protobuf::RepeatedPtrField<std::string>& scopes) {
  if (scopes.size() > kMostScopes) {
    return MakeError(Reason::kInvalidArgument, "more than 64 scopes");
  }
  ScopeSet set;
  for (const std::string& scope : scopes) {
    if (scope.size() > kMostScope) {
      return MakeError(Reason::kInvalidArgument, "a scope is longer than 256 bytes");
    }
    if (!IsScopeToken(scope)) {
      return MakeError(Reason::kInvalidArgument,
                       "a scope is empty or holds a character that scopes do not have");
    }
    set.insert(scope);
  }
  return set;
}

absl::Status CheckKeptRequest(const google::protobuf::Message& request) {
  if (request.ByteSizeLong() <= kMostKept) return absl::OkStatus();
  return MakeError(Reason::kInvalidArgument,
                   "a request that waits for its answer has at most 20 KiB");
}

absl::StatusOr<absl::optional<SignatureAlgorithm>> AlgorithmFromProto(const std::string& name) {
  if (name.empty()) return absl::optional<SignatureAlgorithm>();
  absl::optional<SignatureAlgorithm> algorithm = AlgorithmFromName(name);
  if (!algorithm.has_value()) {
    return MakeError(Reason::kInvalidArgument,
                     "the algorithm is none of ES256, ES384, RS256, RS384");
  }
  return algorithm;
}

absl::Status NotImplemented(absl::string_view method) {
  return MakeError(Reason::kNotImplemented,
                   absl::StrCat(method, " is not in this version of smartkeyd"));
}

grpc::ServerUnaryReactor* FailNotImplemented(grpc::CallbackServerContext* context,
                                             absl::string_view method) {
  return FinishNow(context, NotImplemented(method));
}

}  // namespace smartkey
