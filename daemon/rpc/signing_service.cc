// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/signing_service.h"

#include <utility>

#include "base/log.h"
#include "daemon/jose/jwk.h"
#include "daemon/rpc/service_support.h"
#include "daemon/token/token_outcome.h"
#include "nlohmann/json.hpp"

namespace smartkey {
namespace {

constexpr absl::Duration kLimit = absl::Seconds(60);

// A signature may take seconds: whoever suspended or deleted the registration meanwhile, or took
// the share back, meant this assertion too.
absl::Status StillServes(const AccessPolicy& access, const Caller& caller, const std::string& id) {
  const absl::StatusOr<RegistrationStore::Snapshot> registration =
      access.Find(caller, id, Operation::kAssertion);
  if (!registration.ok()) return registration.status();
  return ServingGeneration(**registration).status();
}

}  // namespace

grpc::ServerUnaryReactor* SigningService::SignClientAssertion(
    grpc::CallbackServerContext* context, const v1::SignClientAssertionRequest* request,
    v1::SignClientAssertionResponse* response) {
  if (absl::Status status = limits_->Admit(caller_); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::StatusOr<RegistrationStore::Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kAssertion);
  if (!registration.ok()) return FinishNow(context, registration.status());

  const absl::Duration limit = TimeLeft(*context, kLimit);
  auto call = PendingUnaryCall<v1::SignClientAssertionResponse>::Start(context, response,
                                                                       parts_.scheduler, limit);
  const KeyService::OperationId id = parts_.assertions.Issue(
      **registration, caller_.account(), parts_.clock.Boot() + limit,
      [call, caller = caller_, &access = parts_.access, &audit = parts_.audit,
       registration_id = (*registration)->id](absl::StatusOr<IssuedAssertion> issued) {
        absl::Status status = issued.status();
        if (status.ok()) status = StillServes(access, caller, registration_id);
        call->Finish(status, [&](v1::SignClientAssertionResponse& answer) {
          // A credential has left the daemon: that is always written down, with what names it at
          // the server.
          audit.Note(&caller, "SigningService/SignClientAssertion", registration_id,
                     absl::OkStatus(), {{"jti", issued->jti}});
          Log(LogLevel::kInfo, "client assertion handed out",
              {{"registration", registration_id}, {"uid", caller.uid}, {"jti", issued->jti}});
          const absl::string_view assertion = issued->assertion.RevealSecret();
          answer.set_assertion(assertion.data(), assertion.size());
          SetTime(issued->expires_at, &answer,
                  &v1::SignClientAssertionResponse::mutable_expires_at);
          answer.set_client_id(issued->client_id);
          answer.set_token_endpoint(issued->token_endpoint);
          answer.set_jti(issued->jti);
        });
      });
  call->OnAbandon([&assertions = parts_.assertions, id] { assertions.Cancel(id); });
  return call->reactor();
}

grpc::ServerUnaryReactor* SigningService::GetJwks(grpc::CallbackServerContext* context,
                                                  const v1::GetJwksRequest* request,
                                                  v1::GetJwksResponse* response) {
  absl::StatusOr<RegistrationStore::Snapshot> registration =
      parts_.access.Find(caller_, request->registration(), Operation::kJwks);
  if (!registration.ok()) return FinishNow(context, registration.status());
  nlohmann::json keys = nlohmann::json::array();
  for (const Generation& generation : (*registration)->generations) {
    // Still being made, or destroyed.
    if (generation.key.blob.empty() || generation.state == GenerationState::kDeleting) continue;
    keys.push_back(ToJwk(generation.public_key, generation.algorithm));
  }
  response->set_jwks(nlohmann::json{{"keys", std::move(keys)}}.dump());
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* SigningService::SignJwt(grpc::CallbackServerContext* context,
                                                  const v1::SignJwtRequest*, v1::SignJwtResponse*) {
  return FailNotImplemented(context, "SignJwt");
}

grpc::ServerUnaryReactor* SigningService::SignDpopProof(grpc::CallbackServerContext* context,
                                                        const v1::SignDpopProofRequest*,
                                                        v1::SignDpopProofResponse*) {
  return FailNotImplemented(context, "SignDpopProof");
}

}  // namespace smartkey
