// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/enrollment_service.h"

#include <utility>

#include "base/log.h"
#include "daemon/access/principal.h"
#include "daemon/rpc/registration_message.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

// Key creation alone may take three minutes on some hardware.
constexpr absl::Duration kLimit = absl::Minutes(5);
constexpr char kEnrollWithInitialToken[] = "EnrollmentService/EnrollWithInitialToken";
constexpr size_t kMaxRedirect = 32 * 1024;  // stands in enrollment.proto
constexpr size_t kMaxToken = 64 * 1024;
constexpr size_t kMaxRequestId = 64;

// What Begin and EnrollWithInitialToken have in common.
template <class Request>
absl::StatusOr<EnrollmentRequest> Translate(const Request& request) {
  if (request.request_id().size() > kMaxRequestId) {
    return MakeError(Reason::kInvalidArgument, "the request id is longer than 64 characters");
  }
  absl::StatusOr<ScopeSet> scopes = ScopesFromProto(request.scopes());
  if (!scopes.ok()) return scopes.status();
  absl::StatusOr<absl::optional<SignatureAlgorithm>> algorithm =
      AlgorithmFromProto(request.algorithm());
  if (!algorithm.ok()) return algorithm.status();

  EnrollmentRequest translated;
  translated.app_id = request.app();
  translated.server_name = request.server();
  translated.fhir_base = request.fhir_base();
  translated.scopes = *std::move(scopes);
  translated.name = Identifying(request.name());
  translated.label = Identifying(request.label());
  translated.renews = request.renews();
  translated.new_patient = request.new_patient();
  translated.request_id = request.request_id();
  translated.algorithm = *algorithm;
  translated.context_varies = request.context_varies();
  if (request.has_access_for()) {
    absl::StatusOr<absl::Duration> access_for = FromProto(request.access_for());
    if (!access_for.ok()) return access_for.status();
    translated.access_for = *access_for;
  }
  return translated;
}

void Fill(const BegunEnrollment& begun, const Registration* registration,
          v1::BeginEnrollmentResponse& response) {
  response.set_enrollment_id(begun.enrollment_id);
  response.set_registration_id(begun.registration_id);
  response.set_authorization_url(begun.authorization_url);
  response.set_redirect_uri(begun.redirect_uri);
  response.set_client_id(begun.initial_client_id);
  response.set_server(begun.server_name);
  response.set_authorization_host(begun.authorization_host);
  response.set_token_host(begun.token_host);
  SetTime(begun.expires_at, &response, &v1::BeginEnrollmentResponse::mutable_expires_at);
  for (const RegistrationWarning warning : begun.warnings) {
    response.add_warnings(ToProto(warning));
  }
  if (registration != nullptr) {
    response.set_app(registration->app_id);
    response.set_fhir_base(registration->fhir_base);
  }
}

v1::WatchEnrollmentResponse ToProto(const EnrollmentProgress& progress,
                                    const std::string& enrollment_id, const ServiceParts& parts,
                                    const Caller& caller) {
  v1::WatchEnrollmentResponse message;
  message.set_enrollment_id(enrollment_id);
  message.set_step(static_cast<v1::WatchEnrollmentResponse::Step>(progress.step));
  message.set_key_ready(progress.key_ready);
  if (!progress.error.ok()) {
    *message.mutable_error() = ToErrorDetail(progress.error);
    message.set_message(ToGrpcStatus(progress.error).error_message());
  }
  const RegistrationStore::Snapshot registration =
      progress.step == EnrollmentStep::kVerifying || progress.step == EnrollmentStep::kDone
          ? parts.store.Find(progress.registration_id)
          : nullptr;
  if (registration != nullptr) {
    FillRegistration(*registration, caller, parts.access, parts.standings,
                     message.mutable_registration());
  }
  return message;
}

AuditFacts EnrollmentFacts(absl::string_view enrollment_id, const Caller& caller,
                           const Caller& owner) {
  AuditFacts facts;
  if (!enrollment_id.empty()) facts.emplace_back("enrollment", enrollment_id);
  if (owner.uid != caller.uid) facts.emplace_back("owner", owner.user_name);
  return facts;
}

}  // namespace

absl::Status EnrollmentService::CheckOwner(const std::string& owner) const {
  return parts_.access.Noted(CheckOwnerUnnoted(owner), caller_, "enroll", "");
}

absl::Status EnrollmentService::CheckOwnerUnnoted(const std::string& owner) const {
  if (!caller_.admin) {
    if (owner.empty()) return absl::OkStatus();
    return WithRemedy(MakeError(Reason::kNotPermitted, "only root enrolls for another user"),
                      "as root, on the admin socket: 'smartkeyctl enroll SERVER --owner USER'");
  }
  if (caller_.uid != 0) {
    return MakeError(Reason::kNotPermitted, "only root enrolls for another user");
  }
  if (!owner.empty()) return absl::OkStatus();
  return WithRemedy(
      MakeError(Reason::kNotPermitted, "a registration belongs to a person: say to whom"),
      "'smartkeyctl enroll SERVER --owner USER', or enroll as that user");
}

void EnrollmentService::AsOwner(const std::string& owner,
                                absl::AnyInvocable<void(absl::StatusOr<Caller>)> then) const {
  if (!caller_.admin) return then(caller_);
  parts_.name_lookups.Run(
      caller_, [&users = parts_.users, owner, then = std::move(then)]() mutable {
        absl::StatusOr<Caller> named = CallerNamed(owner, users);
        if (named.ok()) {
          Log(LogLevel::kInfo, "root enrolls for another user", {{"owner_uid", named->uid}});
        }
        then(std::move(named));
      });
}

Caller EnrollmentService::Acting(const std::string& enrollment_id) const {
  if (!caller_.admin || caller_.uid != 0) return caller_;
  return parts_.enrollments.BegunBy(enrollment_id).value_or(caller_);
}

grpc::ServerUnaryReactor* EnrollmentService::BeginEnrollment(
    grpc::CallbackServerContext* context, const v1::BeginEnrollmentRequest* request,
    v1::BeginEnrollmentResponse* response) {
  if (absl::Status status = CheckOwner(request->owner()); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::StatusOr<EnrollmentRequest> translated = Translate(*request);
  if (!translated.ok()) return FinishNow(context, translated.status());
  translated->redirect_uri = request->redirect_uri();
  absl::StatusOr<CallLimiter::Slot> slot = limits_->TakeWrite(caller_);
  if (!slot.ok()) return FinishNow(context, slot.status());

  auto call = PendingUnaryCall<v1::BeginEnrollmentResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  AsOwner(request->owner(),
          [call, caller = caller_, &parts = parts_, slot = *std::move(slot),
           request = *std::move(translated)](absl::StatusOr<Caller> owner) mutable {
            if (!owner.ok()) {
              slot.Release();
              return call->Finish(owner.status(), [](v1::BeginEnrollmentResponse&) {});
            }
            parts.enrollments.Begin(
                *owner, std::move(request),
                [call, caller, owner = *owner, &parts,
                 slot = std::move(slot)](absl::StatusOr<BegunEnrollment> begun) mutable {
                  slot.Release();
                  if (begun.ok()) {
                    parts.audit.Note(&caller, "EnrollmentService/BeginEnrollment",
                                     begun->registration_id, absl::OkStatus(),
                                     EnrollmentFacts(begun->enrollment_id, caller, owner));
                  }
                  call->Finish(begun.status(), [&](v1::BeginEnrollmentResponse& answer) {
                    Fill(*begun, parts.store.Find(begun->registration_id).get(), answer);
                  });
                });
          });
  return call->reactor();
}

grpc::ServerUnaryReactor* EnrollmentService::CompleteEnrollment(
    grpc::CallbackServerContext* context, const v1::CompleteEnrollmentRequest* request,
    v1::CompleteEnrollmentResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  if (request->redirect_query().size() > kMaxRedirect) {
    return FinishNow(context,
                     MakeError(Reason::kInvalidArgument, "the redirect is longer than 32 KiB"));
  }
  auto call = PendingUnaryCall<v1::CompleteEnrollmentResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  const Caller acting = Acting(request->enrollment_id());
  // What is no enrollment of his may be any text of any length: it is not written down.
  const absl::optional<Caller> begun = parts_.enrollments.BegunBy(request->enrollment_id());
  const bool his = begun.has_value() && begun->uid == acting.uid;
  parts_.enrollments.Complete(
      acting, request->enrollment_id(), Secret::CopyOf(request->redirect_query()),
      [call, caller = caller_, id = request->enrollment_id(), his,
       &parts = parts_](absl::StatusOr<RegistrationStore::Snapshot> enrolled) {
        // A refusal was noted, and counted, where it was decided.
        const Reason reason = ReasonOf(enrolled.status());
        if (reason == Reason::kRateLimited) {
          (void)NotedIfTooMany(enrolled.status(), caller, parts.audit);
        } else if (enrolled.ok() || (his && !IsRefusal(reason))) {
          parts.audit.Note(&caller, "EnrollmentService/CompleteEnrollment",
                           enrolled.ok() ? (*enrolled)->id : "", enrolled.status(),
                           EnrollmentFacts(id, caller, caller));
        }
        call->Finish(enrolled.status(), [&](v1::CompleteEnrollmentResponse& answer) {
          FillRegistration(**enrolled, caller, parts.access, parts.standings,
                           answer.mutable_registration());
        });
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* EnrollmentService::CancelEnrollment(
    grpc::CallbackServerContext* context, const v1::CancelEnrollmentRequest* request,
    v1::CancelEnrollmentResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  auto call = PendingUnaryCall<v1::CancelEnrollmentResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  parts_.enrollments.Cancel(Acting(request->enrollment_id()), request->enrollment_id(),
                            [call, caller = caller_, &audit = parts_.audit,
                             id = request->enrollment_id()](absl::Status status) {
                              if (status.ok()) {
                                audit.Note(&caller, "EnrollmentService/CancelEnrollment", "",
                                           status, EnrollmentFacts(id, caller, caller));
                              }
                              call->Finish(status, [](v1::CancelEnrollmentResponse&) {});
                            });
  return call->reactor();
}

grpc::ServerWriteReactor<v1::WatchEnrollmentResponse>* EnrollmentService::WatchEnrollment(
    grpc::CallbackServerContext*, const v1::WatchEnrollmentRequest* request) {
  auto call = PendingStreamCall<v1::WatchEnrollmentResponse>::Start();
  if (const absl::Status kept = CheckKeptRequest(*request); !kept.ok()) {
    call->Finish(kept);
    return call->reactor();
  }
  absl::StatusOr<EnrollmentManager::WatchId> watch = parts_.enrollments.Watch(
      Acting(request->enrollment_id()), request->enrollment_id(),
      [call, &parts = parts_, caller = caller_,
       id = request->enrollment_id()](const EnrollmentProgress& progress) {
        call->Write(ToProto(progress, id, parts, caller));
        if (progress.step == EnrollmentStep::kDone || progress.step == EnrollmentStep::kFailed) {
          call->Finish(absl::OkStatus());
        }
      });
  if (!watch.ok()) {
    call->Finish(NotedIfTooMany(watch.status(), caller_, parts_.audit));
  } else {
    // Later: gRPC may report a broken stream from within the write that a step makes, and a step
    // must not call the manager.
    call->OnAbandon(
        [&enrollments = parts_.enrollments, &scheduler = parts_.scheduler, id = *watch] {
          scheduler.RunAfter(absl::ZeroDuration(), [&enrollments, id] { enrollments.Unwatch(id); });
        });
  }
  return call->reactor();
}

grpc::ServerUnaryReactor* EnrollmentService::EnrollWithInitialToken(
    grpc::CallbackServerContext* context, const v1::EnrollWithInitialTokenRequest* request,
    v1::EnrollWithInitialTokenResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  if (absl::Status status = CheckOwner(request->owner()); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::StatusOr<EnrollmentRequest> translated = Translate(*request);
  if (!translated.ok()) return FinishNow(context, translated.status());
  if (request->initial_access_token().empty() ||
      request->initial_access_token().size() > kMaxToken) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                        "the initial access token is missing or too long"));
  }
  absl::optional<absl::Duration> expires_in;
  if (request->has_expires_in()) {
    absl::StatusOr<absl::Duration> duration = FromProto(request->expires_in());
    if (!duration.ok()) return FinishNow(context, duration.status());
    expires_in = *duration;
  }
  auto call = PendingUnaryCall<v1::EnrollWithInitialTokenResponse>::Start(
      context, response, parts_.scheduler, TimeLeft(*context, kLimit));
  AsOwner(request->owner(),
          [call, caller = caller_, &parts = parts_, expires_in, translated = *std::move(translated),
           token = Secret::CopyOf(request->initial_access_token())](
              absl::StatusOr<Caller> owner) mutable {
            if (!owner.ok()) {
              return call->Finish(owner.status(), [](v1::EnrollWithInitialTokenResponse&) {});
            }
            const bool renewal = !translated.renews.empty();
            auto id = std::make_shared<std::string>();
            parts.enrollments.EnrollWithInitialToken(
                *owner, std::move(translated), std::move(token), expires_in,
                [call, caller, owner = *owner, &parts, renewal,
                 id](absl::StatusOr<RegistrationStore::Snapshot> enrolled) {
                  if (!IsRefusal(ReasonOf(enrolled.status()))) {
                    parts.audit.Note(&caller, kEnrollWithInitialToken,
                                     enrolled.ok() ? (*enrolled)->id : *id, enrolled.status(),
                                     EnrollmentFacts("", caller, owner));
                  }
                  call->Finish(enrolled.status(), [&](v1::EnrollWithInitialTokenResponse& answer) {
                    FillRegistration(**enrolled, caller, parts.access, parts.standings,
                                     answer.mutable_registration());
                    if (!renewal && parts.standings.HasSibling(**enrolled)) {
                      answer.add_warnings(v1::SAME_APP_SAME_SERVER);
                    }
                  });
                },
                // It may become usable after all, by itself, when nobody waits any more.
                [id, caller, owner = *owner, &parts](const std::string& recorded) {
                  *id = recorded;
                  AuditFacts facts = EnrollmentFacts("", caller, owner);
                  facts.emplace_back("step", "begun");
                  parts.audit.Note(&caller, kEnrollWithInitialToken, recorded, absl::OkStatus(),
                                   std::move(facts));
                });
          });
  return call->reactor();
}

}  // namespace smartkey
