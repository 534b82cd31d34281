// SPDX-License-Identifier: Apache-2.0
// A token tells public keys in several forms, and not every token is right about them.
//
// Input: an octet that chooses the form and the type of key, then CKA_EC_POINT, CKA_EC_PARAMS,
// CKA_PUBLIC_EXPONENT with its length in front and CKA_MODULUS, or CKA_PUBLIC_KEY_INFO.
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_public_key.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

constexpr KeyType kTypes[] = {KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa};

absl::string_view WithoutLeadingZeros(absl::string_view integer) {
  while (!integer.empty() && integer.front() == '\0') integer.remove_prefix(1);
  return integer;
}

std::string PointOf(const PublicKey& key) {
  return absl::StrCat("\x04", key.x, key.y);
}

std::string WrappedPointOf(const PublicKey& key) {
  const std::string point = PointOf(key);
  return absl::StrCat("\x04", std::string(1, static_cast<char>(point.size())), point);
}

// What holds of every key that was accepted, wherever it came from.
void CheckKey(const absl::StatusOr<PublicKey>& key, KeyType type) {
  if (!key.ok()) {
    Require(ReasonOf(key.status()) == Reason::kHardwareError, "refused with another reason");
    return;
  }
  Require(key->type == type, "a key of another type was accepted");
  if (type == KeyType::kRsa) {
    Require(key->x.empty() && key->y.empty(), "an RSA key has coordinates");
    Require(key->n.size() == 256 && (key->n[0] & 0x80) != 0, "an RSA modulus has not 2048 bits");
    Require(!key->e.empty() && key->e[0] != '\0' && (key->e.back() & 1) != 0,
            "an RSA exponent is not odd and as short as possible");
  } else {
    Require(key->n.empty() && key->e.empty(), "an EC key has a modulus");
    Require(key->x.size() == FieldSize(type) && key->y.size() == FieldSize(type),
            "a coordinate is not as long as the field");
  }
}

void CheckPoint(KeyType type, absl::string_view point) {
  const absl::StatusOr<PublicKey> key = EcPublicKey(type, point);
  CheckKey(key, type);
  if (!key.ok()) return;
  Require(type != KeyType::kRsa, "an RSA key was read from a point");
  Require(point == PointOf(*key) || point == WrappedPointOf(*key),
          "a point in a third form was accepted");
  for (const std::string& form : {PointOf(*key), WrappedPointOf(*key)}) {
    const absl::StatusOr<PublicKey> again = EcPublicKey(type, form);
    Require(again.ok() && *again == *key, "a point is another one in its other form");
  }
}

void CheckParameters(absl::string_view parameters) {
  const absl::optional<KeyType> type = KeyTypeOfEcParameters(parameters);
  if (type.has_value()) {
    Require(EcParameters(*type) == parameters, "a curve has two names");
  }
}

void CheckRsa(absl::string_view exponent, absl::string_view modulus) {
  const absl::StatusOr<PublicKey> key = RsaPublicKey(modulus, exponent);
  CheckKey(key, KeyType::kRsa);
  if (!key.ok()) return;
  Require(key->n == WithoutLeadingZeros(modulus) && key->e == WithoutLeadingZeros(exponent),
          "an RSA number is another one");
}

void Check(FuzzInput input) {
  const uint8_t choice = input.Octet();
  const KeyType type = kTypes[choice / 4 % 3];
  switch (choice % 4) {
    case 0:
      CheckPoint(type, input.Rest());
      return;
    case 1:
      CheckParameters(input.Rest());
      return;
    case 2: {
      const absl::string_view exponent = input.Field();
      CheckRsa(exponent, input.Rest());
      return;
    }
    default:
      CheckKey(PublicKeyFromInfo(type, input.Rest()), type);
      return;
  }
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
