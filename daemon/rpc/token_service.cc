// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/token_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/strip.h"
#include "base/log.h"
#include "daemon/oauth/challenge.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/token_message.h"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);  // stands in token.proto
constexpr absl::Duration kMaxMinValid = absl::Hours(24);
constexpr size_t kMaxChallenge = 4 * 1024;  // likewise

using Snapshot = RegistrationStore::Snapshot;

void KeepFitting(const v1::RegistrationContext& wanted, std::vector<Snapshot>& registrations) {
  const absl::string_view fhir_base = absl::StripSuffix(wanted.fhir_base(), "/");
  std::erase_if(registrations, [&](const Snapshot& one) {
    return one->app_id != wanted.app() || absl::StripSuffix(one->fhir_base, "/") != fhir_base ||
           (!wanted.patient().empty() && one->patient.RevealIdentifying() != wanted.patient());
  });
}

}  // namespace

// By name or id, or the only one that fits the context; of several, the only one that has ever
// worked. A share counts only for who has none himself: what somebody shares unasked must not
// change whose record an app reads.
absl::StatusOr<RegistrationStore::Snapshot> TokenService::Select(
    const v1::GetAccessTokenRequest& request) const {
  if (request.has_registration() && !request.registration().empty()) {
    return parts_.access.Find(caller_, request.registration(), Operation::kToken,
                              limits_->Admission(caller_));
  }
  const v1::RegistrationContext& wanted = request.context();
  if (wanted.app().empty() || wanted.fhir_base().empty()) {
    return MakeError(Reason::kInvalidArgument,
                     "name the registration, or the app and the FHIR base");
  }
  std::vector<Snapshot> fitting = parts_.access.ListOwn(caller_);
  KeepFitting(wanted, fitting);
  if (fitting.empty()) {
    if (absl::Status status = limits_->Admit(caller_); !status.ok()) return status;
    fitting = parts_.access.List(caller_);
    KeepFitting(wanted, fitting);
  }
  absl::Status lacks;
  std::string refused_for;
  std::erase_if(fitting, [&](const Snapshot& one) {
    const absl::Status status = parts_.access.Check(caller_, *one, Operation::kToken);
    if (lacks.ok() && !status.ok()) {
      lacks = status;
      refused_for = one->id;
    }
    return !status.ok();
  });
  if (fitting.size() > 1) {
    const auto works = [](const auto& one) { return one->serving() != nullptr; };
    if (std::any_of(fitting.begin(), fitting.end(), works)) {
      fitting.erase(std::remove_if(fitting.begin(), fitting.end(), std::not_fn(works)),
                    fitting.end());
    }
  }
  if (fitting.empty()) {
    const absl::string_view token = OperationName(Operation::kToken);
    if (lacks.ok()) {
      if (absl::Status status = parts_.access.WhyNone(caller_, token); !status.ok()) return status;
      lacks = RegistrationNotFound();
    }
    return parts_.access.Noted(lacks, caller_, token, refused_for);
  }
  if (fitting.size() > 1) {
    return MakeError(Reason::kRegistrationAmbiguous,
                     "several registrations fit: say which one, or the patient");
  }
  return fitting.front();
}

absl::StatusOr<TokenRequest> TokenService::Translate(
    const v1::GetAccessTokenRequest& request) const {
  if (absl::Status status = CheckKeptRequest(request); !status.ok()) return status;
  if (request.dpop()) return NotImplemented("a DPoP-bound token");
  absl::StatusOr<ScopeSet> scopes = ScopesFromProto(request.scopes());
  if (!scopes.ok()) return scopes.status();
  absl::StatusOr<absl::Duration> min_valid = FromProto(request.min_valid());
  if (!min_valid.ok()) return min_valid.status();
  absl::StatusOr<RegistrationStore::Snapshot> registration = Select(request);
  if (!registration.ok()) return registration.status();
  scopes = parts_.access.NarrowScopes(caller_, **registration, *scopes);
  if (!scopes.ok()) return scopes.status();

  TokenRequest translated;
  translated.registration_id = (*registration)->id;
  translated.scopes = *std::move(scopes);
  translated.min_valid = std::min(*min_valid, kMaxMinValid);
  translated.caller = caller_.account();
  return translated;
}

grpc::ServerUnaryReactor* TokenService::GetAccessToken(grpc::CallbackServerContext* context,
                                                       const v1::GetAccessTokenRequest* request,
                                                       v1::GetAccessTokenResponse* response) {
  absl::StatusOr<TokenRequest> translated = Translate(*request);
  if (!translated.ok()) return FinishNow(context, translated.status());

  const absl::Duration limit = TimeLeft(*context, kLimit);
  auto call = PendingUnaryCall<v1::GetAccessTokenResponse>::Start(context, response,
                                                                  parts_.scheduler, limit);
  const ScopeSet scopes = translated->scopes;
  const TokenManager::RequestId id = parts_.tokens.GetAccessToken(
      *std::move(translated), parts_.clock.Boot() + limit,
      [call, scopes, &access = parts_.access, &audit = parts_.audit,
       caller = caller_](absl::StatusOr<TokenResult> result) {
        // The right may have ended while the token was fetched.
        const absl::Status status =
            result.ok()
                ? access.CheckDelivery(caller, result->registration->id, scopes, *result->token)
                : result.status();
        call->Finish(status, [&](v1::GetAccessTokenResponse& answer) {
          audit.NoteDelivery(caller, result->registration->id, result->token->value_hash);
          FillAccessToken(*result, scopes, answer);
        });
      });
  if (id != 0) call->OnAbandon([&tokens = parts_.tokens, id] { tokens.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* TokenService::ReportRejectedToken(
    grpc::CallbackServerContext* context, const v1::ReportRejectedTokenRequest* request,
    v1::ReportRejectedTokenResponse* response) {
  // Counted for the owner too: what is no token of ours costs him nothing further down.
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::StatusOr<RegistrationStore::Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kToken);
  if (!registration.ok()) return FinishNow(context, registration.status());
  if (request->access_token().empty() || request->www_authenticate().size() > kMaxChallenge) {
    return FinishNow(context, MakeError(Reason::kInvalidArgument,
                                        "the token is missing, or the header too long"));
  }
  // The token is good, it only does not allow this request; a new one would not either.
  if (ChallengeErrorOf(request->www_authenticate()) == "insufficient_scope") {
    return FinishNow(
        context,
        WithRemedy(MakeError(Reason::kInvalidArgument,
                             "the FHIR server says insufficient_scope: it knows the token, which "
                             "does not allow this request; it stays in use"),
                   "ask for a token with the scope that the request needs, or have the "
                   "registration renewed with it"));
  }
  const absl::StatusOr<TokenManager::Rejection> rejection = parts_.tokens.ReportRejected(
      (*registration)->id, caller_.account(), Secret::CopyOf(request->access_token()));
  if (!rejection.ok()) return FinishNow(context, rejection.status());
  // Who says it of what is no token of ours, or of one that is gone already, has changed nothing.
  if (rejection->dropped) {
    Log(LogLevel::kInfo, "an app reported a token as rejected",
        {{"registration", (*registration)->id}, {"uid", caller_.uid}});
    parts_.audit.Note(&caller_, "TokenService/ReportRejectedToken", (*registration)->id,
                      absl::OkStatus(), {{"dropped", "yes"}});
  }
  response->set_dropped(rejection->dropped);
  response->set_refreshing(rejection->refreshing);
  return FinishNow(context, absl::OkStatus());
}

}  // namespace smartkey
