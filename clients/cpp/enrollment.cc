// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "clients/cpp/server_stream.h"
#include "smartkey/client.h"
#include "smartkey/v1/enrollment.grpc.pb.h"

namespace smartkey::client {
namespace {

// Both ways to enroll have the same fields for what they share.
template <typename Request>
Request RequestFor(const EnrollmentWish& wish) {
  Request request;
  request.set_app(wish.app);
  if (!wish.server.empty()) {
    request.set_server(wish.server);
  } else {
    request.set_fhir_base(wish.fhir_base);
  }
  for (const std::string& scope : wish.scopes) request.add_scopes(scope);
  request.set_name(wish.name);
  request.set_label(wish.label);
  request.set_algorithm(wish.algorithm);
  request.set_context_varies(wish.context_varies);
  request.set_renews(wish.renews);
  request.set_new_patient(wish.new_patient);
  request.set_request_id(wish.request_id);
  request.set_owner(wish.owner);
  if (wish.access_for > absl::ZeroDuration()) {
    *request.mutable_access_for() = ToProto(wish.access_for);
  }
  return request;
}

}  // namespace

struct EnrollmentWatch::Rep {
  ServerStream<v1::EnrollmentService::Stub, v1::WatchEnrollmentResponse> stream;
};

EnrollmentWatch::EnrollmentWatch(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
EnrollmentWatch::~EnrollmentWatch() = default;

absl::StatusOr<absl::optional<EnrollmentProgress>> EnrollmentWatch::Next() {
  const auto response = rep_->stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return absl::nullopt;
  return FromProto(**response);
}

void EnrollmentWatch::Cancel() {
  rep_->stream.Cancel();
}

absl::StatusOr<BegunEnrollment> Client::BeginEnrollment(const EnrollmentWish& wish,
                                                        const std::string& redirect_uri,
                                                        CallOptions options) {
  auto request = RequestFor<v1::BeginEnrollmentRequest>(wish);
  request.set_redirect_uri(redirect_uri);
  auto response = channel_->Call(v1::EnrollmentService::NewStub(channel_->grpc()),
                                 &v1::EnrollmentService::Stub::BeginEnrollment, request,
                                 options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<Registration> Client::CompleteEnrollment(const std::string& enrollment_id,
                                                        const Secret& redirect_query,
                                                        CallOptions options) {
  v1::CompleteEnrollmentRequest request;
  request.set_enrollment_id(enrollment_id);
  request.set_redirect_query(std::string(redirect_query.RevealSecret()));
  auto response = channel_->Call(v1::EnrollmentService::NewStub(channel_->grpc()),
                                 &v1::EnrollmentService::Stub::CompleteEnrollment, request,
                                 options.timeout.value_or(kLongCall));
  WipeString(*request.mutable_redirect_query());
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

absl::Status Client::CancelEnrollment(const std::string& enrollment_id, CallOptions options) {
  v1::CancelEnrollmentRequest request;
  request.set_enrollment_id(enrollment_id);
  return channel_
      ->Call(v1::EnrollmentService::NewStub(channel_->grpc()),
             &v1::EnrollmentService::Stub::CancelEnrollment, request,
             options.timeout.value_or(kShortCall))
      .status();
}

absl::StatusOr<std::unique_ptr<EnrollmentWatch>> Client::WatchEnrollment(
    const std::string& enrollment_id, CallOptions options) {
  v1::WatchEnrollmentRequest request;
  request.set_enrollment_id(enrollment_id);
  return std::make_unique<EnrollmentWatch>(
      std::unique_ptr<EnrollmentWatch::Rep>(new EnrollmentWatch::Rep{
          {*channel_, v1::EnrollmentService::NewStub(channel_->grpc()),
           &v1::EnrollmentService::Stub::WatchEnrollment, request, options.timeout}}));
}

absl::StatusOr<Registration> Client::EnrollWithInitialToken(
    const EnrollmentWish& wish, const Secret& initial_access_token,
    absl::optional<absl::Duration> expires_in, CallOptions options) {
  auto request = RequestFor<v1::EnrollWithInitialTokenRequest>(wish);
  request.set_initial_access_token(std::string(initial_access_token.RevealSecret()));
  if (expires_in.has_value()) {
    request.mutable_expires_in()->set_seconds(absl::ToInt64Seconds(*expires_in));
  }
  auto response = channel_->Call(v1::EnrollmentService::NewStub(channel_->grpc()),
                                 &v1::EnrollmentService::Stub::EnrollWithInitialToken, request,
                                 options.timeout.value_or(kLongCall));
  WipeString(*request.mutable_initial_access_token());
  if (!response.ok()) return response.status();
  Registration registration = FromProto(response->registration());
  // What there is to know of this enrollment beside what there is to know of the registration.
  for (const int warning : response->warnings()) {
    registration.warnings.push_back(v1::Warning_Name(warning));
  }
  return registration;
}

}  // namespace smartkey::client
