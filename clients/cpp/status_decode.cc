// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/status_decode.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "smartkey/client.h"
#include "smartkey/v1/error.pb.h"

namespace smartkey::client {
namespace {

// google.rpc.Status around one Any, as written by smartkeyd. False if there is none.
bool ReadDetail(const grpc::Status& status, v1::ErrorDetail& detail) {
  google::rpc::Status wire;
  if (status.error_details().empty() || !wire.ParseFromString(status.error_details())) return false;
  for (const auto& any : wire.details()) {
    if (any.UnpackTo(&detail)) return true;
  }
  return false;
}

// For a status without a reason: from gRPC itself, or from a newer daemon.
Reason ReasonForCode(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return Reason::kCancelled;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return Reason::kInvalidArgument;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Reason::kDeadlineExceeded;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return Reason::kNotPermitted;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Reason::kRateLimited;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Reason::kNotImplemented;
    case grpc::StatusCode::UNAVAILABLE:
      return Reason::kShuttingDown;
    default:
      return Reason::kInternal;
  }
}

// SMARTKEY_SOCKET moves the public socket only. Empty: the table's remedy is right.
absl::string_view RemedyForSocket(const std::string& path) {
  if (path != AdminSocketPath()) return "";
  return "install and start smartkeyd, as root: 'systemctl start smartkeyd.service', or give "
         "--socket the admin socket of the one that runs: SMARTKEY_SOCKET does not count here";
}

absl::Duration ToDuration(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
}

}  // namespace

bool HasErrorDetail(const grpc::Status& status) {
  v1::ErrorDetail detail;
  return ReadDetail(status, detail);
}

absl::Status DecodeStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  v1::ErrorDetail detail;
  // gRPC's own answer for a service that is not there, which has no words.
  if (!ReadDetail(status, detail) && status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return WithRemedy(
        MakeError(Reason::kNotImplemented, "smartkeyd does not have this operation on this socket"),
        "leave --socket out for administration, which has a socket of its own; anything else wants "
        "a newer smartkeyd");
  }
  const Reason reason =
      ReasonFromNumber(detail.reason()).value_or(ReasonForCode(status.error_code()));
  absl::Status decoded = MakeError(reason, Printable(status.error_message()));
  if (!detail.remedy().empty() && detail.remedy() != RowFor(reason).remedy) {
    decoded = WithRemedy(std::move(decoded), Printable(detail.remedy(), kMaxRemedyBytes));
  }
  if (detail.has_retry_after()) {
    decoded = WithRetryAfter(std::move(decoded), ToDuration(detail.retry_after()));
  }
  return decoded;
}

Cause DecodeCause(const v1::ErrorDetail& detail) {
  Cause cause;
  cause.reason = ReasonFromNumber(detail.reason()).value_or(Reason::kInternal);
  cause.remedy = Printable(
      detail.remedy().empty() ? RowFor(cause.reason).remedy : absl::string_view(detail.remedy()),
      kMaxRemedyBytes);
  if (detail.has_retry_after()) cause.retry_after = ToDuration(detail.retry_after());
  return cause;
}

absl::Status ExplainUnreachable(absl::string_view socket_path) {
  const std::string path(socket_path);
  const std::string shown = Printable(path);
  const absl::string_view remedy = RemedyForSocket(path);
  const auto not_permitted = [&shown] {
    return WithRemedy(
        MakeError(Reason::kNotPermitted, absl::StrCat("this user may not use the socket ", shown)),
        "for the admin socket: be root, or a member of the administrators' group (smartkey-admin)");
  };

  const std::string directory = path.substr(0, path.rfind('/'));
  struct stat info = {};
  if (stat(directory.empty() ? "/" : directory.c_str(), &info) != 0) {
    if (errno == EACCES) return not_permitted();
    absl::Status status = MakeError(Reason::kDaemonNotInstalled,
                                    absl::StrCat("there is no smartkeyd: the directory of the "
                                                 "socket ",
                                                 shown, " does not exist"));
    return remedy.empty() ? status : WithRemedy(std::move(status), std::string(remedy));
  }

  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof(address.sun_path) - 1));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ||
      errno == EAGAIN) {
    return MakeError(Reason::kShuttingDown, "the connection to smartkeyd broke");
  }
  if (errno == EACCES || errno == EPERM) return not_permitted();
  absl::Status status =
      MakeError(Reason::kDaemonNotRunning,
                absl::StrCat("smartkeyd is not running: nobody answers on ", shown));
  return remedy.empty() ? status : WithRemedy(std::move(status), std::string(remedy));
}

}  // namespace smartkey::client
