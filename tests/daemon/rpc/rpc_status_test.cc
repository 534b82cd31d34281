// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/rpc_status.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "google/rpc/status.pb.h"

namespace smartkey {
namespace {

v1::ErrorDetail DetailOf(const grpc::Status& status) {
  google::rpc::Status wire;
  EXPECT_TRUE(wire.ParseFromString(status.error_details()));
  EXPECT_EQ(wire.code(), status.error_code());
  EXPECT_EQ(wire.details_size(), 1);
  v1::ErrorDetail detail;
  if (wire.details_size() == 1) {
    EXPECT_EQ(wire.details(0).type_url(), "type.googleapis.com/smartkey.v1.ErrorDetail");
    EXPECT_TRUE(wire.details(0).UnpackTo(&detail));
  }
  return detail;
}

TEST(RpcStatus, OkStaysOk) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(RpcStatus, EveryReasonArrivesWithTheTablesCodeActionAndRemedy) {
  for (const ReasonRow& row : AllReasons()) {
    const grpc::Status status = ToGrpcStatus(MakeError(row.reason, "something happened"));
    EXPECT_EQ(static_cast<int>(status.error_code()), static_cast<int>(row.code)) << row.name;
    if (row.reason != Reason::kInternal) {
      EXPECT_EQ(status.error_message(), "something happened");
    }
    const v1::ErrorDetail detail = DetailOf(status);
    EXPECT_EQ(v1::ErrorDetail::Reason_Name(detail.reason()), row.name);
    EXPECT_EQ(static_cast<int>(detail.user_action()), static_cast<int>(row.action)) << row.name;
    EXPECT_EQ(detail.remedy(), row.remedy);
    EXPECT_FALSE(detail.has_retry_after());
    EXPECT_LE(status.error_details().size(), 2048u);
  }
}

TEST(RpcStatus, RetryAfterArrives) {
  const v1::ErrorDetail detail = DetailOf(ToGrpcStatus(
      WithRetryAfter(MakeError(Reason::kServerBusy, "busy"), absl::Milliseconds(90'250))));
  EXPECT_EQ(detail.retry_after().seconds(), 90);
  EXPECT_EQ(detail.retry_after().nanos(), 250'000'000);
}

TEST(RpcStatus, ALongMessageLosesItsEndWhichIsTheServersText) {
  const std::string server_text(10'000, 'x');
  const grpc::Status status = ToGrpcStatus(
      Annotate(MakeError(Reason::kRegistrationRefused, server_text), "registering the app"));
  EXPECT_EQ(status.error_message().size(), 256u);
  EXPECT_EQ(status.error_message().substr(0, 22), "registering the app: x");
  EXPECT_EQ(status.error_message().substr(253), "...");
  EXPECT_LE(status.error_details().size(), 2048u);
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::REGISTRATION_REFUSED);
}

TEST(RpcStatus, AMessageIsOneLineOfPrintableText) {
  const grpc::Status status =
      ToGrpcStatus(MakeError(Reason::kServerError, "server says: a\r\nb\xff\xfe\x1b[31m"));
  for (const char c : status.error_message()) {
    EXPECT_TRUE(c >= 0x20 && c < 0x7f) << status.error_message();
  }
}

TEST(RpcStatus, AForeignStatusIsAnInternalErrorWithTheSameCodeInBothPlaces) {
  const grpc::Status status = ToGrpcStatus(absl::UnknownError("who knows"));
  EXPECT_EQ(status.error_message(), "internal error");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(DetailOf(status).reason(), v1::ErrorDetail::INTERNAL);
}

}  // namespace
}  // namespace smartkey
