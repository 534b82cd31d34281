// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_pkcs11_token.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace smartkey {
namespace {

constexpr absl::string_view kP384("\x06\x05\x2b\x81\x04\x00\x22", 7);

template <typename T>
std::string OctetsOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Flag(bool value) {
  return OctetsOf<CK_BBOOL>(value ? CK_TRUE : CK_FALSE);
}

template <size_t kSize>
void Fill(unsigned char (&field)[kSize], absl::string_view text, char padding) {
  std::memset(field, padding, kSize);
  std::memcpy(field, text.data(), std::min(kSize, text.size()));
}

// Padded to `size` octets; as short as possible for 0.
std::string Number(const EVP_PKEY* key, const char* name, int size) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &number) != 1) return "";
  if (size == 0) size = BN_num_bytes(number);
  std::string octets(static_cast<size_t>(size), '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(octets.data()), size);
  BN_free(number);
  return octets;
}

std::string PointOf(const EVP_PKEY* key, bool p384, bool wrapped) {
  const int field = p384 ? 48 : 32;
  const std::string point = absl::StrCat("\x04", Number(key, OSSL_PKEY_PARAM_EC_PUB_X, field),
                                         Number(key, OSSL_PKEY_PARAM_EC_PUB_Y, field));
  if (!wrapped) return point;
  return absl::StrCat("\x04", std::string(1, static_cast<char>(point.size())), point);
}

std::string Integers(const std::string& der, size_t field) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* parsed = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  std::string result(2 * field, '\0');
  auto* out = reinterpret_cast<unsigned char*>(result.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(parsed), out, static_cast<int>(field));
  BN_bn2binpad(ECDSA_SIG_get0_s(parsed), out + field, static_cast<int>(field));
  ECDSA_SIG_free(parsed);
  return result;
}

// Making an RSA key takes long, so there are three for a process, handed out in turn.
std::shared_ptr<EVP_PKEY> NextRsaKey() {
  static auto* const keys = new std::vector<std::shared_ptr<EVP_PKEY>>();
  static size_t next = 0;
  if (keys->size() < 3) keys->emplace_back(EVP_RSA_gen(2048), &EVP_PKEY_free);
  return (*keys)[next++ % keys->size()];
}

struct Mechanism {
  CK_MECHANISM_TYPE type;
  bool rsa;
  const EVP_MD* (*digest)();  // null: signs what it is given
};

constexpr Mechanism kSigning[] = {
    {CKM_ECDSA, false, nullptr},
    {CKM_RSA_PKCS, true, nullptr},
    {CKM_ECDSA_SHA256, false, &EVP_sha256},
    {CKM_ECDSA_SHA384, false, &EVP_sha384},
    {CKM_SHA256_RSA_PKCS, true, &EVP_sha256},
    {CKM_SHA384_RSA_PKCS, true, &EVP_sha384},
};

const Mechanism* FindMechanism(CK_MECHANISM_TYPE type) {
  for (const Mechanism& mechanism : kSigning) {
    if (mechanism.type == type) return &mechanism;
  }
  return nullptr;
}

}  // namespace

CK_OBJECT_HANDLE FakePkcs11Token::AddObject(Object object) {
  CK_OBJECT_HANDLE handle = reuses_handles ? 1 : next_handle_;
  while (objects.count(handle) > 0) ++handle;
  next_handle_ = std::max(next_handle_, handle + 1);
  objects[handle] = std::move(object);
  return handle;
}

int FakePkcs11Token::Count(CK_OBJECT_CLASS object_class) const {
  return static_cast<int>(std::count_if(objects.begin(), objects.end(), [&](const auto& entry) {
    return entry.second.attributes.at(CKA_CLASS) == OctetsOf(object_class);
  }));
}

bool FakePkcs11Token::Shows(const Object& object) const {
  const auto is_private = object.attributes.find(CKA_PRIVATE);
  return logged_in || (flags & CKF_LOGIN_REQUIRED) == 0 || is_private == object.attributes.end() ||
         is_private->second == Flag(false);
}

CK_TOKEN_INFO FakePkcs11Token::Info() const {
  CK_TOKEN_INFO info = {};
  Fill(info.label, label, padding);
  Fill(info.serialNumber, serial, padding);
  Fill(info.manufacturerID, "Fakes Inc", padding);
  Fill(info.model, "F1", padding);
  info.flags = flags;
  info.ulMaxSessionCount = max_sessions;
  info.ulMaxRwSessionCount = max_sessions;
  return info;
}

CK_RV FakePkcs11Token::Login(CK_USER_TYPE user, absl::string_view text) {
  if (user == CKU_USER && logged_in) return CKR_USER_ALREADY_LOGGED_IN;
  pins_tried.push_back(absl::StrCat(user == CKU_CONTEXT_SPECIFIC ? "+" : "", text));
  if (text != pin) {
    if (counts_wrong_pins) flags |= CKF_USER_PIN_COUNT_LOW;
    return CKR_PIN_INCORRECT;
  }
  flags &= ~CKF_USER_PIN_COUNT_LOW;
  logged_in = true;
  return CKR_OK;
}

CK_RV FakePkcs11Token::GetMechanism(CK_MECHANISM_TYPE type, CK_MECHANISM_INFO& info) const {
  const bool generates = type == CKM_EC_KEY_PAIR_GEN || type == CKM_RSA_PKCS_KEY_PAIR_GEN;
  const Mechanism* signing = FindMechanism(type);
  const bool has =
      generates || (signing != nullptr &&
                    (signing->digest == nullptr ? has_raw_mechanisms : has_hashing_mechanisms));
  if (!has) return CKR_MECHANISM_INVALID;
  const bool rsa = type == CKM_RSA_PKCS_KEY_PAIR_GEN || (signing != nullptr && signing->rsa);
  info.ulMinKeySize = rsa ? 1024 : 192;
  info.ulMaxKeySize = rsa ? 4096 : most_ec_bits;
  info.flags = generates ? CKF_GENERATE_KEY_PAIR : CKF_SIGN;
  return CKR_OK;
}

CK_RV FakePkcs11Token::GenerateKeyPair(CK_MECHANISM_TYPE mechanism, CK_SESSION_HANDLE session,
                                       const Attributes& of_public, const Attributes& of_private,
                                       CK_OBJECT_HANDLE& public_half,
                                       CK_OBJECT_HANDLE& private_half) {
  for (const CK_ATTRIBUTE_TYPE type : refused_if_false) {
    if (of_private.count(type) > 0 && of_private.at(type) == Flag(false)) return refusal;
  }
  const bool stored = of_public.at(CKA_TOKEN) == Flag(true);
  if (stored && !stores_public_halves) return CKR_TEMPLATE_INCONSISTENT;
  const bool rsa = mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN;
  const bool p384 = !rsa && of_public.at(CKA_EC_PARAMS) == kP384;
  const std::shared_ptr<EVP_PKEY> key =
      rsa ? NextRsaKey()
          : std::shared_ptr<EVP_PKEY>(EVP_EC_gen(p384 ? "P-384" : "P-256"), &EVP_PKEY_free);

  Attributes told;
  if (rsa) {
    // Some tokens put a zero octet in front.
    told[CKA_MODULUS] = std::string(1, '\0') + Number(key.get(), OSSL_PKEY_PARAM_RSA_N, 0);
    told[CKA_PUBLIC_EXPONENT] = Number(key.get(), OSSL_PKEY_PARAM_RSA_E, 0);
  } else {
    told[CKA_EC_POINT] = PointOf(key.get(), p384, wraps_points);
  }
  Attributes common;
  common[CKA_KEY_TYPE] = OctetsOf<CK_KEY_TYPE>(rsa ? CKK_RSA : CKK_EC);
  if (!rsa) common[CKA_EC_PARAMS] = of_public.at(CKA_EC_PARAMS);

  Object public_object{.attributes = of_public, .key = nullptr};
  public_object.attributes.insert(common.begin(), common.end());
  public_object.attributes[CKA_CLASS] = OctetsOf<CK_OBJECT_CLASS>(CKO_PUBLIC_KEY);
  if (tells_public_halves) public_object.attributes.insert(told.begin(), told.end());
  if (!stored) public_object.session = session;

  Object private_object{.attributes = of_private, .key = key};
  private_object.attributes.insert(common.begin(), common.end());
  private_object.attributes[CKA_CLASS] = OctetsOf<CK_OBJECT_CLASS>(CKO_PRIVATE_KEY);
  private_object.attributes[CKA_LOCAL] = Flag(true);
  private_object.attributes[CKA_ALWAYS_SENSITIVE] = of_private.at(CKA_SENSITIVE);
  private_object.attributes[CKA_NEVER_EXTRACTABLE] =
      Flag(of_private.at(CKA_EXTRACTABLE) == Flag(false));
  private_object.attributes[CKA_ALWAYS_AUTHENTICATE] = Flag(always_authenticate);
  for (const CK_ATTRIBUTE_TYPE type : refused_if_false) {
    private_object.attributes[type] = Flag(true);  // such a token's default
  }
  if (private_half_tells_public) private_object.attributes.insert(told.begin(), told.end());
  for (const auto& [type, value] : forced) private_object.attributes[type] = value;
  for (const CK_ATTRIBUTE_TYPE type : untold) private_object.attributes.erase(type);
  public_half = AddObject(std::move(public_object));
  private_half = AddObject(std::move(private_object));
  return answer_after_generating;
}

CK_RV FakePkcs11Token::Sign(const Object& object, CK_MECHANISM_TYPE type, absl::string_view data,
                            std::string& result) const {
  const Mechanism* mechanism = FindMechanism(type);
  const bool rsa = EVP_PKEY_get_base_id(object.key.get()) == EVP_PKEY_RSA;
  if (mechanism == nullptr || mechanism->rsa != rsa) return CKR_KEY_TYPE_INCONSISTENT;
  if (signature.has_value()) {
    result = *signature;
    return CKR_OK;
  }
  std::string input(data);
  if (mechanism->digest != nullptr) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_Digest(data.data(), data.size(), digest, &size, mechanism->digest(), nullptr);
    input.assign(reinterpret_cast<const char*>(digest), size);
  }
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(object.key.get(), nullptr), &EVP_PKEY_CTX_free);
  size_t size = 1024;
  std::string raw(size, '\0');
  if (EVP_PKEY_sign_init(context.get()) != 1 ||
      (rsa && EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) != 1) ||
      (rsa && mechanism->digest != nullptr &&
       EVP_PKEY_CTX_set_signature_md(context.get(), mechanism->digest()) != 1) ||
      EVP_PKEY_sign(context.get(), reinterpret_cast<unsigned char*>(raw.data()), &size,
                    reinterpret_cast<const unsigned char*>(input.data()), input.size()) != 1) {
    return CKR_DATA_INVALID;
  }
  raw.resize(size);
  const bool p384 = EVP_PKEY_get_bits(object.key.get()) == 384;
  result = rsa ? raw : Integers(raw, p384 ? 48 : 32);
  return CKR_OK;
}

}  // namespace smartkey
