// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/rpc_status.h"

#include <string>

#include "base/error.h"
#include "base/log.h"
#include "google/rpc/status.pb.h"

namespace smartkey {
namespace {

constexpr size_t kMaxMessage = 256;
constexpr absl::string_view kCut = "...";

std::string CutMessage(absl::string_view message) {
  std::string text = Printable(message, 4 * kMaxMessage);
  if (text.size() <= kMaxMessage) return text;
  text.resize(kMaxMessage - kCut.size());
  text.append(kCut.data(), kCut.size());
  return text;
}

// A bug's particulars are for the journal; a caller can do nothing with them.
std::string MessageFor(const absl::Status& status) {
  if (RowFor(ReasonOf(status)).reason != Reason::kInternal) return CutMessage(status.message());
  Log(LogLevel::kError, "internal error", {{"error", Printable(status.message())}});
  return "internal error";
}

}  // namespace

v1::ErrorDetail ToErrorDetail(const absl::Status& status) {
  const Reason reason = RowFor(ReasonOf(status)).reason;
  v1::ErrorDetail detail;
  detail.set_reason(static_cast<v1::ErrorDetail::Reason>(reason));
  detail.set_user_action(static_cast<v1::ErrorDetail::UserAction>(UserActionOf(status)));
  detail.set_remedy(RemedyOf(status));
  if (const auto after = RetryAfterOf(status)) {
    const int64_t millis = absl::ToInt64Milliseconds(*after);
    detail.mutable_retry_after()->set_seconds(millis / 1000);
    detail.mutable_retry_after()->set_nanos(static_cast<int32_t>(millis % 1000) * 1'000'000);
  }
  return detail;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The table's code, which is the status's own unless it was not made by MakeError.
  const auto code = static_cast<grpc::StatusCode>(RowFor(ReasonOf(status)).code);
  google::rpc::Status wire;
  wire.set_code(code);
  wire.set_message(MessageFor(status));
  wire.add_details()->PackFrom(ToErrorDetail(status));
  return grpc::Status(code, wire.message(), wire.SerializeAsString());
}

}  // namespace smartkey
