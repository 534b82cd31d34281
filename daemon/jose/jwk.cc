// SPDX-License-Identifier: Apache-2.0
#include "daemon/jose/jwk.h"

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/json.h"
#include "hsm/thumbprint.h"

namespace smartkey {
namespace {

struct Curve {
  KeyType type;
  const char* name;     // RFC 7518 section 6.2.1.1
  size_t field_octets;  // of a coordinate, always written in full (section 6.2.1.2)
};

constexpr Curve kCurves[] = {
    {KeyType::kEcP256, "P-256", 32},
    {KeyType::kEcP384, "P-384", 48},
};

const Curve* FindCurve(KeyType type) {
  for (const Curve& curve : kCurves) {
    if (curve.type == type) return &curve;
  }
  return nullptr;
}

const Curve* FindCurve(const std::string& name) {
  for (const Curve& curve : kCurves) {
    if (curve.name == name) return &curve;
  }
  return nullptr;
}

// The required members of RFC 7638 section 3.2, and nothing else.
nlohmann::json RequiredMembers(const PublicKey& key) {
  if (const Curve* curve = FindCurve(key.type)) {
    return {{"kty", "EC"},
            {"crv", curve->name},
            {"x", Base64UrlEncode(key.x)},
            {"y", Base64UrlEncode(key.y)}};
  }
  return {{"kty", "RSA"}, {"n", Base64UrlEncode(key.n)}, {"e", Base64UrlEncode(key.e)}};
}

absl::StatusOr<std::string> GetBytes(const nlohmann::json& jwk, absl::string_view member) {
  const absl::optional<std::string> text = FindString(jwk, member);
  if (!text) return absl::InvalidArgumentError(absl::StrCat("jwk without \"", member, "\""));
  absl::StatusOr<std::string> bytes = Base64UrlDecode(*text);
  if (!bytes.ok() || bytes->empty()) {
    return absl::InvalidArgumentError(absl::StrCat("jwk member \"", member, "\" is not base64url"));
  }
  return bytes;
}

absl::StatusOr<PublicKey> ParseEcJwk(const nlohmann::json& jwk) {
  const Curve* curve = FindCurve(FindString(jwk, "crv").value_or(""));
  if (curve == nullptr) return absl::InvalidArgumentError("jwk with an unknown curve");
  absl::StatusOr<std::string> x = GetBytes(jwk, "x");
  if (!x.ok()) return x.status();
  absl::StatusOr<std::string> y = GetBytes(jwk, "y");
  if (!y.ok()) return y.status();
  if (x->size() != curve->field_octets || y->size() != curve->field_octets) {
    return absl::InvalidArgumentError("jwk coordinate of the wrong length");
  }
  PublicKey key;
  key.type = curve->type;
  key.x = *std::move(x);
  key.y = *std::move(y);
  return key;
}

// RFC 7518 section 6.3.1.1 forbids a leading zero octet, yet notes that implementations write one.
// The number is the same, so it is taken off: the key is compared by its material.
absl::StatusOr<std::string> GetInteger(const nlohmann::json& jwk, absl::string_view member) {
  absl::StatusOr<std::string> bytes = GetBytes(jwk, member);
  if (!bytes.ok()) return bytes;
  bytes->erase(0, bytes->find_first_not_of('\0'));
  if (bytes->empty()) {
    return absl::InvalidArgumentError(absl::StrCat("jwk member \"", member, "\" is zero"));
  }
  return bytes;
}

absl::StatusOr<PublicKey> ParseRsaJwk(const nlohmann::json& jwk) {
  absl::StatusOr<std::string> n = GetInteger(jwk, "n");
  if (!n.ok()) return n.status();
  absl::StatusOr<std::string> e = GetInteger(jwk, "e");
  if (!e.ok()) return e.status();
  PublicKey key;
  key.type = KeyType::kRsa;
  key.n = *std::move(n);
  key.e = *std::move(e);
  return key;
}

}  // namespace

std::string JwkThumbprint(const PublicKey& key) {
  return Base64UrlEncode(Thumbprint(key));
}

nlohmann::json ToJwk(const PublicKey& key, SignatureAlgorithm algorithm) {
  nlohmann::json jwk = RequiredMembers(key);
  jwk["kid"] = JwkThumbprint(key);
  jwk["use"] = "sig";
  jwk["alg"] = std::string(AlgorithmName(algorithm));
  return jwk;
}

absl::StatusOr<PublicKey> ParseJwk(const nlohmann::json& jwk) {
  if (!jwk.is_object()) return absl::InvalidArgumentError("jwk is not an object");
  if (jwk.contains("d")) return absl::InvalidArgumentError("jwk with a private member");
  const std::string kty = FindString(jwk, "kty").value_or("");
  if (kty == "EC") return ParseEcJwk(jwk);
  if (kty == "RSA") return ParseRsaJwk(jwk);
  return absl::InvalidArgumentError("jwk with an unknown kty");
}

}  // namespace smartkey
