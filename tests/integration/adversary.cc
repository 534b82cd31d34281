// SPDX-License-Identifier: Apache-2.0
// A user without any right tries every method of the public socket on what is somebody else's;
// e2e/test_adversary.py starts it.
//
//   adversary attempts COUNT SOCKET KNOWN...
//     Until COUNT attempts were turned down for a reason other than their number: {"attempts": N,
//     "held_back": N, "successes": ["METHOD with NAME", ...], "answers": {"REASON": N, ...}}.
//     KNOWN: what he has learnt of ids and names.
//   adversary tokens SOCKET REGISTRATION
//     Asks for a token again and again until standard input ends, and prints a line for each one
//     that he is given: when the request was sent, in seconds of CLOCK_MONOTONIC.
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "google/protobuf/message.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"
#include "smartkey/v1/admin.grpc.pb.h"
#include "smartkey/v1/enrollment.grpc.pb.h"
#include "smartkey/v1/error.pb.h"
#include "smartkey/v1/registration.grpc.pb.h"
#include "smartkey/v1/server_info.grpc.pb.h"
#include "smartkey/v1/sharing.grpc.pb.h"
#include "smartkey/v1/signing.grpc.pb.h"
#include "smartkey/v1/token.grpc.pb.h"

namespace smartkey {
namespace {

constexpr int kThreads = 4;
constexpr int kCallsOfAConnection = 40;

struct Tally {
  std::mutex mu;
  int attempts = 0, held_back = 0;
  std::vector<std::string> successes;
  std::map<std::string, int> answers;
};

std::shared_ptr<grpc::Channel> Connect(const std::string& socket) {
  grpc::ChannelArguments settings;
  settings.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), settings);
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status wire;
  v1::ErrorDetail detail;
  if (wire.ParseFromString(status.error_details()) && wire.details_size() == 1 &&
      wire.details(0).UnpackTo(&detail)) {
    return v1::ErrorDetail::Reason_Name(detail.reason());
  }
  return "grpc " + std::to_string(status.error_code());
}

// What one try came to: the status, and whether an OK gave him anything.
struct Outcome {
  grpc::Status status;
  bool gained = true;
};

// One method, tried with a name that may be somebody's.
struct Method {
  const char* name;
  std::function<Outcome(const std::shared_ptr<grpc::Channel>&, const std::string&)> run;
};

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

template <class Service, class Request, class Response>
Outcome Unary(const std::shared_ptr<grpc::Channel>& channel,
              grpc::Status (Service::Stub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
              const Request& request, Response* response) {
  grpc::ClientContext context;
  SetDeadline(context);
  auto stub = Service::NewStub(channel);
  return {(stub.get()->*method)(&context, request, response)};
}

// The first message of a stream, or how it ended.
template <class Service, class Request, class Response>
Outcome First(const std::shared_ptr<grpc::Channel>& channel,
              std::unique_ptr<grpc::ClientReader<Response>> (Service::Stub::*method)(
                  grpc::ClientContext*, const Request&),
              const Request& request, Response* response) {
  grpc::ClientContext context;
  SetDeadline(context);
  auto stub = Service::NewStub(channel);
  auto reader = (stub.get()->*method)(&context, request);
  const bool told = reader->Read(response);
  if (told) context.TryCancel();
  const grpc::Status status = reader->Finish();
  return {told ? grpc::Status::OK : status};
}

// Whether an answer has somebody's id or name in it; the servers' own names are for all to see.
bool Mentions(const google::protobuf::Message& response, const std::string& what) {
  return what.size() > 12 && response.DebugString().find(what) != std::string::npos;
}

#define TRY_UNARY(SERVICE, METHOD, FILL)                                                 \
  {                                                                                      \
#METHOD, [](const std::shared_ptr<grpc::Channel>& channel, const std::string& what) {  \
      v1::METHOD##Request request;                                                         \
      v1::METHOD##Response response;                                                       \
      FILL;                                                                                \
      return Unary<v1::SERVICE>(channel, &v1::SERVICE::Stub::METHOD, request, &response);  \
    } \
  }

std::vector<Method> Methods() {
  using Registrations = v1::RegistrationService;
  return {
    TRY_UNARY(TokenService, GetAccessToken, request.set_registration(what)),
        {"GetAccessToken by app",
         [](const auto& channel, const std::string&) {
           v1::GetAccessTokenRequest request;
           v1::GetAccessTokenResponse response;
           request.mutable_context()->set_app("org.example.growth-chart");
           return Unary<v1::TokenService>(channel, &v1::TokenService::Stub::GetAccessToken, request,
                                          &response);
         }},
        {"WatchAccessToken",
         [](const auto& channel, const std::string& what) {
           v1::WatchAccessTokenRequest request;
           v1::WatchAccessTokenResponse response;
           request.mutable_token()->set_registration(what);
           return First<v1::TokenService>(channel, &v1::TokenService::Stub::WatchAccessToken,
                                          request, &response);
         }},
        TRY_UNARY(TokenService, ReportRejectedToken, request.set_registration(what);
                  request.set_access_token("guessed")),
        TRY_UNARY(SigningService, SignClientAssertion, request.set_registration(what)),
        TRY_UNARY(SigningService, GetJwks, request.set_registration(what)),
        TRY_UNARY(SigningService, SignJwt, request.set_registration(what)),
        TRY_UNARY(SigningService, SignDpopProof, request.set_registration(what)),
        TRY_UNARY(RegistrationService, GetKeyAttestation, request.set_registration(what)),
        // What only the admin socket has.
        TRY_UNARY(AdminService, GetStatus, (void)what),
        TRY_UNARY(AdminService, ListStoredKeys, (void)what),
        TRY_UNARY(AdminService, RemoveStrayKeys, request.set_all(true); (void)what),
        TRY_UNARY(AdminService, ReloadConfiguration, (void)what),
        TRY_UNARY(AdminService, SetLogLevel, (void)what),
        TRY_UNARY(AdminService, ProvisionTpm, (void)what),
        TRY_UNARY(AdminService, RecoverStore, (void)what),
        TRY_UNARY(AdminService, ResetStore, (void)what),
        TRY_UNARY(AdminService, AdoptStore, (void)what),
        TRY_UNARY(RegistrationService, GetRegistration, request.set_registration(what)),
        TRY_UNARY(AdminService, GetMetrics, (void)what),
        {"RunDiagnostics",
         [](const auto& channel, const std::string&) {
           v1::RunDiagnosticsRequest request;
           v1::RunDiagnosticsResponse response;
           return First<v1::AdminService>(channel, &v1::AdminService::Stub::RunDiagnostics, request,
                                          &response);
         }},
        {"ReadAuditLog of the administrator",
         [](const auto& channel, const std::string&) {
           v1::ReadAuditLogRequest request;
           v1::ReadAuditLogResponse response;
           return First<v1::AdminService>(channel, &v1::AdminService::Stub::ReadAuditLog, request,
                                          &response);
         }},
        {"ReadAuditLog of one",
         [](const auto& channel, const std::string& what) {
           v1::ReadAuditLogRequest request;
           v1::ReadAuditLogResponse response;
           request.set_registration_id(what);
           Outcome outcome = First<Registrations>(channel, &Registrations::Stub::ReadAuditLog,
                                                  request, &response);
           outcome.gained = response.has_entry();
           return outcome;
         }},
        {"ReadAuditLog of all",
         [](const auto& channel, const std::string&) {
           v1::ReadAuditLogRequest request;
           v1::ReadAuditLogResponse response;
           Outcome outcome = First<Registrations>(channel, &Registrations::Stub::ReadAuditLog,
                                                  request, &response);
           outcome.gained = response.has_entry();
           return outcome;
         }},
        // What everybody may ask tells of servers and apps, and of nobody's registrations.
        {"GetServerInfo",
         [](const auto& channel, const std::string& what) {
           v1::GetServerInfoRequest request;
           v1::GetServerInfoResponse response;
           Outcome outcome = Unary<v1::ServerInfoService>(
               channel, &v1::ServerInfoService::Stub::GetServerInfo, request, &response);
           outcome.gained = Mentions(response, what);
           return outcome;
         }},
        {"ListServers",
         [](const auto& channel, const std::string& what) {
           v1::ListServersRequest request;
           v1::ListServersResponse response;
           Outcome outcome = Unary<v1::ServerInfoService>(
               channel, &v1::ServerInfoService::Stub::ListServers, request, &response);
           outcome.gained = Mentions(response, what);
           return outcome;
         }},
        {"ListApps",
         [](const auto& channel, const std::string& what) {
           v1::ListAppsRequest request;
           v1::ListAppsResponse response;
           Outcome outcome = Unary<v1::ServerInfoService>(
               channel, &v1::ServerInfoService::Stub::ListApps, request, &response);
           outcome.gained = Mentions(response, what);
           return outcome;
         }},
        {"ListRegistrations",
         [](const auto& channel, const std::string&) {
           v1::ListRegistrationsRequest request;
           v1::ListRegistrationsResponse response;
           Outcome outcome = Unary<Registrations>(channel, &Registrations::Stub::ListRegistrations,
                                                  request, &response);
           outcome.gained = response.registrations_size() > 0;
           return outcome;
         }},
        {"WatchRegistrations of one",
         [](const auto& channel, const std::string& what) {
           v1::WatchRegistrationsRequest request;
           v1::WatchRegistrationsResponse response;
           request.set_registration(what);
           Outcome outcome = First<Registrations>(channel, &Registrations::Stub::WatchRegistrations,
                                                  request, &response);
           outcome.gained = response.event() != v1::WatchRegistrationsResponse::SYNCED;
           return outcome;
         }},
        {"WatchRegistrations",
         [](const auto& channel, const std::string&) {
           v1::WatchRegistrationsRequest request;
           v1::WatchRegistrationsResponse response;
           Outcome outcome = First<Registrations>(channel, &Registrations::Stub::WatchRegistrations,
                                                  request, &response);
           outcome.gained = response.event() != v1::WatchRegistrationsResponse::SYNCED;
           return outcome;
         }},
        TRY_UNARY(RegistrationService, UpdateRegistration, request.set_registration(what);
                  request.set_label("mine")),
        {"UpdateRegistration with owner",
         [](const auto& channel, const std::string& what) {
           v1::UpdateRegistrationRequest request;
           v1::UpdateRegistrationResponse response;
           request.set_registration(what);
           request.set_owner("news");
           return Unary<Registrations>(channel, &Registrations::Stub::UpdateRegistration, request,
                                       &response);
         }},
        TRY_UNARY(RegistrationService, DeleteRegistration, request.set_registration(what)),
        TRY_UNARY(RegistrationService, RotateKey, request.set_registration(what)),
        TRY_UNARY(RegistrationService, SuspendRegistrations,
                  request.mutable_target()->set_registration(what)),
        TRY_UNARY(RegistrationService, ResumeRegistrations,
                  request.mutable_target()->set_registration(what)),
        {"SuspendRegistrations of the owner",
         [](const auto& channel, const std::string&) {
           v1::SuspendRegistrationsRequest request;
           v1::SuspendRegistrationsResponse response;
           request.mutable_target()->set_owner("games");
           return Unary<Registrations>(channel, &Registrations::Stub::SuspendRegistrations, request,
                                       &response);
         }},
        TRY_UNARY(SharingService, ShareRegistration, request.set_registration(what);
                  request.set_principal("uid:9")),
        TRY_UNARY(SharingService, UnshareRegistration, request.set_registration(what);
                  request.set_principal("uid:8")),
        TRY_UNARY(SharingService, ExplainAccess, request.set_registration(what)),
        {"RequestAccess",
         [](const auto& channel, const std::string& what) {
           v1::RequestAccessRequest request;
           v1::RequestAccessResponse response;
           request.set_owner("games");
           request.set_registration(what);
           Outcome outcome = First<v1::SharingService>(
               channel, &v1::SharingService::Stub::RequestAccess, request, &response);
           outcome.gained = response.state() == v1::AccessRequest::APPROVED;
           return outcome;
         }},
        {"ListAccessRequests",
         [](const auto& channel, const std::string&) {
           v1::ListAccessRequestsRequest request;
           v1::ListAccessRequestsResponse response;
           Outcome outcome = Unary<v1::SharingService>(
               channel, &v1::SharingService::Stub::ListAccessRequests, request, &response);
           outcome.gained = response.requests_size() > 0;
           return outcome;
         }},
        TRY_UNARY(SharingService, ResolveAccessRequest, request.set_request_id(what);
                  request.set_decision(v1::ResolveAccessRequestRequest::APPROVE)),
        {"BeginEnrollment renewing",
         [](const auto& channel, const std::string& what) {
           v1::BeginEnrollmentRequest request;
           v1::BeginEnrollmentResponse response;
           request.set_renews(what);
           request.set_redirect_uri("http://127.0.0.1:4711/callback");
           return Unary<v1::EnrollmentService>(
               channel, &v1::EnrollmentService::Stub::BeginEnrollment, request, &response);
         }},
        {"BeginEnrollment for the owner",
         [](const auto& channel, const std::string&) {
           v1::BeginEnrollmentRequest request;
           v1::BeginEnrollmentResponse response;
           request.set_server("sandbox");
           request.set_owner("games");
           return Unary<v1::EnrollmentService>(
               channel, &v1::EnrollmentService::Stub::BeginEnrollment, request, &response);
         }},
        TRY_UNARY(EnrollmentService, CompleteEnrollment, request.set_enrollment_id(what);
                  request.set_redirect_query("code=stolen&state=stolen")),
        TRY_UNARY(EnrollmentService, CancelEnrollment, request.set_enrollment_id(what)),
        {"WatchEnrollment",
         [](const auto& channel, const std::string& what) {
           v1::WatchEnrollmentRequest request;
           v1::WatchEnrollmentResponse response;
           request.set_enrollment_id(what);
           return First<v1::EnrollmentService>(
               channel, &v1::EnrollmentService::Stub::WatchEnrollment, request, &response);
         }},
        {"EnrollWithInitialToken renewing", [](const auto& channel, const std::string& what) {
           v1::EnrollWithInitialTokenRequest request;
           v1::EnrollWithInitialTokenResponse response;
           request.set_renews(what);
           request.set_initial_access_token("guessed");
           return Unary<v1::EnrollmentService>(
               channel, &v1::EnrollmentService::Stub::EnrollWithInitialToken, request, &response);
         }},
  };
}

// One of those he knows, or one like it.
std::string Name(const std::vector<std::string>& known, std::mt19937& random) {
  std::string name = known[random() % known.size()];
  if (random() % 2 == 0 || name.empty()) return name;
  static constexpr char kLetters[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.%*";
  const size_t at = random() % name.size();
  switch (random() % 4) {
    case 0:
      name[at] = kLetters[random() % (sizeof kLetters - 1)];
      break;
    case 1:
      name.erase(at, 1);
      break;
    case 2:
      name += '\0';
      break;
    default:
      name = "../" + name;
  }
  return name;
}

bool IsAboutNumbers(const std::string& reason) {
  return reason == "RATE_LIMITED" || reason == "TOO_MANY_CONNECTIONS" ||
         reason == "TOO_MANY_ENROLLMENTS";
}

void Attack(const std::string& socket, const std::vector<std::string>& known, int count,
            unsigned seed, Tally& tally) {
  const std::vector<Method> methods = Methods();
  std::mt19937 random(seed);
  std::shared_ptr<grpc::Channel> channel;
  for (int calls = 0;; ++calls) {
    if (calls % kCallsOfAConnection == 0) channel = Connect(socket);
    const Method& method = methods[random() % methods.size()];
    const std::string name = Name(known, random);
    const Outcome outcome = method.run(channel, name);
    const std::string reason = outcome.status.ok() ? "nothing" : ReasonOf(outcome.status);
    const std::lock_guard<std::mutex> lock(tally.mu);
    if (outcome.status.ok() && outcome.gained) {
      tally.successes.push_back(std::string(method.name) + " with " + name);
    } else if (IsAboutNumbers(reason)) {
      ++tally.held_back;
    } else {
      ++tally.attempts;
    }
    ++tally.answers[reason];
    if (tally.attempts >= count || tally.successes.size() > 20) return;
  }
}

int Attempts(int count, const std::string& socket, const std::vector<std::string>& known) {
  Tally tally;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Attack(socket, known, count, static_cast<unsigned>(getpid() * kThreads + i), tally);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%s\n", nlohmann::json({{"attempts", tally.attempts},
                                      {"held_back", tally.held_back},
                                      {"successes", tally.successes},
                                      {"answers", tally.answers}})
                          .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)
                          .c_str());
  return 0;
}

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

int Tokens(const std::string& socket, const std::string& registration) {
  const std::shared_ptr<grpc::Channel> channel = Connect(socket);
  while (true) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (poll(&input, 1, 0) > 0) return 0;
    v1::GetAccessTokenRequest request;
    v1::GetAccessTokenResponse response;
    request.set_registration(registration);
    const double sent = Now();
    const Outcome outcome = Unary<v1::TokenService>(
        channel, &v1::TokenService::Stub::GetAccessToken, request, &response);
    if (outcome.status.ok()) {
      std::printf("%.9f\n", sent);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() >= 4 && arguments[0] == "attempts") {
    return smartkey::Attempts(std::atoi(arguments[1].c_str()), arguments[2],
                              {arguments.begin() + 3, arguments.end()});
  }
  if (arguments.size() == 3 && arguments[0] == "tokens") {
    return smartkey::Tokens(arguments[1], arguments[2]);
  }
  std::fprintf(stderr, "usage: see the head of adversary.cc\n");
  return 2;
}
