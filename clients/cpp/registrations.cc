// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "clients/cpp/channel.h"
#include "clients/cpp/convert.h"
#include "clients/cpp/server_stream.h"
#include "smartkey/client.h"
#include "smartkey/v1/registration.grpc.pb.h"

namespace smartkey::client {
namespace {

using Service = v1::RegistrationService;

// More pages than any daemon has registrations: one that never ends the list ends the loop.
constexpr int kMaxPages = 1000;

v1::RegistrationFilter ToProto(const RegistrationFilter& filter) {
  v1::RegistrationFilter out;
  out.set_app(filter.app);
  out.set_fhir_base(filter.fhir_base);
  out.set_server(filter.server);
  out.set_owner(filter.owner);
  return out;
}

v1::SuspensionTarget ToProto(const SuspensionTarget& target) {
  v1::SuspensionTarget out;
  if (!target.registration.empty()) {
    out.set_registration(target.registration);
  } else if (!target.server.empty()) {
    out.set_server(target.server);
  } else if (!target.owner.empty()) {
    out.set_owner(target.owner);
  } else if (target.all) {
    out.set_all(true);
  }
  return out;
}

}  // namespace

absl::StatusOr<std::vector<Registration>> Client::ListRegistrations(
    const RegistrationFilter& filter, CallOptions options) {
  v1::ListRegistrationsRequest request;
  *request.mutable_filter() = ToProto(filter);
  std::vector<Registration> registrations;
  for (int page = 0; page < kMaxPages; ++page) {
    auto response =
        channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ListRegistrations,
                       request, options.timeout.value_or(kShortCall));
    if (!response.ok()) return response.status();
    for (const auto& registration : response->registrations()) {
      registrations.push_back(FromProto(registration));
    }
    if (response->next_page_token().empty()) break;
    request.set_page_token(response->next_page_token());
  }
  return registrations;
}

absl::StatusOr<Registration> Client::GetRegistration(const std::string& registration,
                                                     CallOptions options) {
  v1::GetRegistrationRequest request;
  request.set_registration(registration);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::GetRegistration, request,
                     options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

absl::StatusOr<Registration> Client::UpdateRegistration(const std::string& registration,
                                                        const RegistrationChange& change,
                                                        CallOptions options) {
  v1::UpdateRegistrationRequest request;
  request.set_registration(registration);
  if (change.name.has_value()) request.set_name(*change.name);
  if (change.label.has_value()) request.set_label(*change.label);
  if (change.access_for.has_value()) {
    *request.mutable_access_for() = client::ToProto(*change.access_for);
  }
  if (change.shares_only.has_value()) request.set_shares_only(*change.shares_only);
  if (change.owner.has_value()) request.set_owner(*change.owner);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::UpdateRegistration,
                     request, options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

absl::StatusOr<Deletion> Client::DeleteRegistration(const std::string& registration,
                                                    CallOptions options) {
  v1::DeleteRegistrationRequest request;
  request.set_registration(registration);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::DeleteRegistration,
                     request, options.timeout.value_or(kShortCall));
  if (!response.ok()) return response.status();
  return FromProto(*response);
}

absl::StatusOr<std::vector<std::string>> Client::SuspendRegistrations(
    const SuspensionTarget& target, const std::string& why, CallOptions options) {
  v1::SuspendRegistrationsRequest request;
  *request.mutable_target() = ToProto(target);
  request.set_why(why);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::SuspendRegistrations,
                     request, options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  return std::vector<std::string>(response->registration_ids().begin(),
                                  response->registration_ids().end());
}

absl::StatusOr<Resumption> Client::ResumeRegistrations(const SuspensionTarget& target,
                                                       CallOptions options) {
  v1::ResumeRegistrationsRequest request;
  *request.mutable_target() = ToProto(target);
  auto response =
      channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::ResumeRegistrations,
                     request, options.timeout.value_or(kTokenCall));
  if (!response.ok()) return response.status();
  Resumption resumption;
  resumption.registration_ids.assign(response->registration_ids().begin(),
                                     response->registration_ids().end());
  resumption.still_suspended_ids.assign(response->still_suspended_ids().begin(),
                                        response->still_suspended_ids().end());
  return resumption;
}

absl::StatusOr<Registration> Client::RotateKey(const std::string& registration,
                                               const std::string& algorithm, CallOptions options) {
  v1::RotateKeyRequest request;
  request.set_registration(registration);
  request.set_algorithm(algorithm);
  auto response = channel_->Call(Service::NewStub(channel_->grpc()), &Service::Stub::RotateKey,
                                 request, options.timeout.value_or(kLongCall));
  if (!response.ok()) return response.status();
  return FromProto(response->registration());
}

struct RegistrationWatch::Rep {
  ServerStream<Service::Stub, v1::WatchRegistrationsResponse> stream;
};

RegistrationWatch::RegistrationWatch(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
RegistrationWatch::~RegistrationWatch() = default;

absl::StatusOr<absl::optional<RegistrationEvent>> RegistrationWatch::Next() {
  const auto response = rep_->stream.Next();
  if (!response.ok()) return response.status();
  if (!response->has_value()) return absl::nullopt;
  return FromProto(**response);
}

void RegistrationWatch::Cancel() {
  rep_->stream.Cancel();
}

absl::StatusOr<std::unique_ptr<RegistrationWatch>> Client::WatchRegistrations(
    const RegistrationFilter& filter, const std::string& registration, CallOptions options) {
  v1::WatchRegistrationsRequest request;
  *request.mutable_filter() = ToProto(filter);
  request.set_registration(registration);
  return std::make_unique<RegistrationWatch>(std::unique_ptr<RegistrationWatch::Rep>(
      new RegistrationWatch::Rep{{*channel_, Service::NewStub(channel_->grpc()),
                                  &Service::Stub::WatchRegistrations, request, options.timeout}}));
}

}  // namespace smartkey::client
