// SPDX-License-Identifier: Apache-2.0
// TokenService.WatchAccessToken: a stream that takes one state of a token after the other, at its
// reader's pace.
#include <memory>
#include <utility>

#include "daemon/rpc/pulled_stream_call.h"
#include "daemon/rpc/rpc_status.h"
#include "daemon/rpc/service_support.h"
#include "daemon/rpc/token_message.h"
#include "daemon/rpc/token_service.h"
#include "daemon/token/token_watch.h"

namespace smartkey {
namespace {

using Response = v1::WatchAccessTokenResponse;

Response ToProto(const TokenState& state, const ScopeSet& requested) {
  Response response;
  if (state.token.has_value()) FillAccessToken(*state.token, requested, *response.mutable_token());
  if (!state.error.ok()) *response.mutable_error() = ToErrorDetail(state.error);
  return response;
}

}  // namespace

grpc::ServerWriteReactor<Response>* TokenService::WatchAccessToken(
    grpc::CallbackServerContext*, const v1::WatchAccessTokenRequest* request) {
  auto call = PulledStreamCall<Response>::Make();
  absl::StatusOr<TokenRequest> translated = Translate(request->token());
  if (const absl::Status kept = CheckKeptRequest(*request); !kept.ok()) translated = kept;
  if (!translated.ok()) {
    call->Finish(translated.status());
    return call->reactor();
  }
  const ScopeSet scopes = translated->scopes;
  // Weak: the call holds the watch.
  absl::StatusOr<std::shared_ptr<TokenWatch>> watch = TokenWatch::Start(
      {parts_.access, parts_.feed, parts_.tokens, parts_.watch_scheduler, parts_.clock}, caller_,
      *std::move(translated), [weak = std::weak_ptr<PulledStreamCall<Response>>(call)] {
        if (const auto live = weak.lock()) live->Wake();
      });
  if (!watch.ok()) {
    call->Finish(NotedIfTooMany(watch.status(), caller_, parts_.audit));
    return call->reactor();
  }
  call->OnAbandon([watch = *watch] { watch->Stop(); });
  call->Start([watch = *watch, scopes, caller = caller_,
               &audit = parts_.audit]() -> absl::StatusOr<absl::optional<Response>> {
    absl::StatusOr<absl::optional<TokenState>> state = watch->Next();
    if (!state.ok()) return state.status();
    if (!state->has_value()) return absl::nullopt;
    if (const absl::optional<TokenResult>& token = (*state)->token; token.has_value()) {
      audit.NoteDelivery(caller, token->registration->id, token->token->value_hash);
    }
    return ToProto(**state, scopes);
  });
  return call->reactor();
}

}  // namespace smartkey
