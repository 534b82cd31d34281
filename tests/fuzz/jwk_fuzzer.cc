// SPDX-License-Identifier: Apache-2.0
// A server sends back the JWK that it registered; whether it is our key is told from its material.
//
// Input: JSON text. What is accepted as a JWK is a key that is the same after being written and
// read again, with the same thumbprint; JSON that is accepted is the same after being written and
// read.
#include "base/json.h"
#include "daemon/jose/jwk.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

SignatureAlgorithm AlgorithmFor(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return SignatureAlgorithm::kEs256;
    case KeyType::kEcP384:
      return SignatureAlgorithm::kEs384;
    case KeyType::kRsa:
      break;
  }
  return SignatureAlgorithm::kRs256;
}

void Check(absl::string_view input) {
  const absl::StatusOr<nlohmann::json> json = ParseJson(input);
  if (!json.ok()) return;
  const absl::StatusOr<nlohmann::json> json_again = ParseJson(ToJsonText(*json));
  Require(json_again.ok(), "JSON that was accepted is refused after being written");
  Require(*json_again == *json, "JSON says something else after being written");

  const absl::StatusOr<PublicKey> key = ParseJwk(*json);
  if (!key.ok()) return;
  Require(!json->contains("d"), "a JWK with a private member was accepted");
  if (key->type == KeyType::kRsa) {
    Require(!key->n.empty() && key->n[0] != '\0' && !key->e.empty() && key->e[0] != '\0',
            "an RSA number is empty or has a zero octet in front");
  } else {
    Require(key->x.size() == FieldSize(key->type) && key->y.size() == FieldSize(key->type),
            "a coordinate is not as long as the field");
  }
  const absl::StatusOr<PublicKey> again = ParseJwk(ToJwk(*key, AlgorithmFor(key->type)));
  Require(again.ok() && *again == *key, "the key is another one after being written as a JWK");
  Require(JwkThumbprint(*again) == JwkThumbprint(*key), "one key has two thumbprints");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
