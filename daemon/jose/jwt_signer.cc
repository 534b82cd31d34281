// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/jwt_signer.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/json.h"

namespace smartkey {
namespace {

// RFC 8725 sections 3.1 and 3.11: one explicit alg, an explicit typ. Nothing that points a verifier
// at another key (jku, jwk, x5u, x5c) ever goes in.
std::string SigningInput(const SigningKey& key, const std::string& typ,
                         const nlohmann::json& claims) {
  const nlohmann::json header = {
      {"alg", std::string(AlgorithmName(key.algorithm))},
      {"typ", typ},
      {"kid", key.kid},
  };
  // RFC 7515 section 5.1, step 5.
  return absl::StrCat(Base64UrlEncode(ToJsonText(header)), ".",
                      Base64UrlEncode(ToJsonText(claims)));
}

absl::StatusOr<Secret> Assemble(const KeyService::SignRequest& request,
                                absl::StatusOr<std::string> signature) {
  if (!signature.ok()) return signature.status();
  if (!VerifySignature(request.public_key, request.algorithm, request.message, *signature)) {
    WipeString(*signature);
    return MakeError(Reason::kSignatureWrong,
                     "the hardware's signature does not verify with the key's public half");
  }
  Secret jws(absl::StrCat(request.message, ".", Base64UrlEncode(*signature)));
  WipeString(*signature);
  return jws;
}

}  // namespace

KeyService::OperationId JwtSigner::Sign(
    const SigningKey& key, const std::string& typ, const nlohmann::json& claims,
    KeyService::CallerKey caller, BootTime deadline,
    absl::AnyInvocable<void(absl::StatusOr<Secret>)> done) const {
  KeyService::SignRequest request;
  request.caller = caller;
  request.key = key.reference;
  request.public_key = key.public_key;
  request.algorithm = key.algorithm;
  request.message = SigningInput(key, typ, claims);
  request.deadline = deadline;
  // Kept beside the request, which the key service takes: what is verified is what was asked for.
  auto asked = std::make_unique<KeyService::SignRequest>(request);
  return keys_.Sign(std::move(request),
                    [&keys = keys_, asked = std::move(asked),
                     done = std::move(done)](absl::StatusOr<std::string> signature) mutable {
                      const bool signed_something = signature.ok();
                      absl::StatusOr<Secret> jws = Assemble(*asked, std::move(signature));
                      // A key that went bad while it was loaded would sign wrongly for ever.
                      if (signed_something && !jws.ok()) keys.Reopen();
                      done(std::move(jws));
                    });
}

}  // namespace smartkey
