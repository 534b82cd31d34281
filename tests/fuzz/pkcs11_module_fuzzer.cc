// SPDX-License-Identifier: Apache-2.0
// A module that lies: about lengths, counts and codes, as far as a module can lie without writing
// where it must not.
//
// Input: an octet for what is asked, then what the module answers, call after call: a code, a
// length, octets. When the input ends it answers that there is nothing. What must hold: no crash,
// no exception, and nothing is taken for protected, found or read that the answers do not say.
#include <p11-kit/pkcs11.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "hsm/pkcs11/pkcs11_capabilities.h"
#include "hsm/pkcs11/pkcs11_key_finder.h"
#include "hsm/pkcs11/pkcs11_key_template.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

// The interface's functions have no argument that could carry this.
FuzzInput* answers = nullptr;

constexpr CK_RV kCodes[] = {CKR_OK,
                            CKR_OK,
                            CKR_OK,
                            CKR_BUFFER_TOO_SMALL,
                            CKR_ATTRIBUTE_TYPE_INVALID,
                            CKR_ATTRIBUTE_SENSITIVE,
                            CKR_GENERAL_ERROR,
                            CKR_VENDOR_DEFINED};

CK_RV Code() {
  return kCodes[answers->Octet() % std::size(kCodes)];
}

// Mostly small, now and then as large as it gets.
CK_ULONG Length() {
  const uint8_t octet = answers->Octet();
  if (octet < 0xF0) return octet;
  if (octet < 0xF8) return (octet & 7) * 1000ul;
  return CK_UNAVAILABLE_INFORMATION - (octet & 7);
}

// Writes no more than there is room for, and says what it likes.
void Fill(void* room, CK_ULONG size, CK_ULONG length) {
  if (room == nullptr) return;
  const absl::string_view octets =
      answers->Octets(static_cast<size_t>(std::min({size, length, CK_ULONG{1} << 16})));
  std::memcpy(room, octets.data(), octets.size());
}

CK_RV GetSlotList(CK_BBOOL, CK_SLOT_ID* slots, CK_ULONG* count) {
  const CK_RV code = Code();
  const CK_ULONG length = Length();
  Fill(slots, *count * sizeof(*slots), length);
  *count = length;
  return code;
}

CK_RV GetTokenInfo(CK_SLOT_ID, CK_TOKEN_INFO* info) {
  const CK_RV code = Code();
  Fill(info, sizeof(*info), sizeof(*info));
  return code;
}

CK_RV GetMechanismInfo(CK_SLOT_ID, CK_MECHANISM_TYPE, CK_MECHANISM_INFO* info) {
  const CK_RV code = Code();
  Fill(info, sizeof(*info), sizeof(*info));
  return code;
}

CK_RV OpenSession(CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY, CK_SESSION_HANDLE* session) {
  *session = 1;
  return CKR_OK;
}

CK_RV CloseSession(CK_SESSION_HANDLE) {
  return CKR_OK;
}

CK_RV GetAttributeValue(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE* attributes,
                        CK_ULONG count) {
  const CK_RV code = Code();
  for (CK_ULONG i = 0; i < count; ++i) {
    const CK_ULONG length = Length();
    Fill(attributes[i].pValue, attributes[i].ulValueLen, length);
    attributes[i].ulValueLen = length;
  }
  return code;
}

CK_RV FindObjectsInit(CK_SESSION_HANDLE, CK_ATTRIBUTE*, CK_ULONG) {
  return Code();
}

CK_RV FindObjects(CK_SESSION_HANDLE, CK_OBJECT_HANDLE* handles, CK_ULONG most, CK_ULONG* count) {
  const CK_RV code = Code();
  *count = Length();
  Fill(handles, most * sizeof(*handles), *count);
  return code;
}

CK_RV FindObjectsFinal(CK_SESSION_HANDLE) {
  return Code();
}

CK_RV SignInit(CK_SESSION_HANDLE, CK_MECHANISM*, CK_OBJECT_HANDLE) {
  return Code();
}

CK_RV Sign(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE* signature, CK_ULONG* size) {
  const CK_RV code = Code();
  const CK_ULONG length = Length();
  Fill(signature, *size, length);
  *size = length;
  return code;
}

CK_FUNCTION_LIST LyingModule() {
  CK_FUNCTION_LIST functions = {};
  functions.C_GetSlotList = &GetSlotList;
  functions.C_GetTokenInfo = &GetTokenInfo;
  functions.C_GetMechanismInfo = &GetMechanismInfo;
  functions.C_OpenSession = &OpenSession;
  functions.C_CloseSession = &CloseSession;
  functions.C_GetAttributeValue = &GetAttributeValue;
  functions.C_FindObjectsInit = &FindObjectsInit;
  functions.C_FindObjects = &FindObjects;
  functions.C_FindObjectsFinal = &FindObjectsFinal;
  functions.C_SignInit = &SignInit;
  functions.C_Sign = &Sign;
  return functions;
}

void CheckSignature(Pkcs11Session& session) {
  const absl::StatusOr<std::string> signature =
      session.Sign(CKM_ECDSA, 1, "data", [] { return absl::OkStatus(); });
  if (!signature.ok()) return;
  // Longer than any room that was given: then part of it is not the module's.
  Require(signature->size() <= 64 * 1024, "a signature is longer than any buffer");
}

void CheckAttributes(Pkcs11Session& session) {
  const absl::StatusOr<std::vector<KeyAttribute>> attributes = ReadKeyAttributes(session, 1);
  if (!attributes.ok() || !CheckKeyAttributes(*attributes, /*strict=*/false).ok()) return;
  // The rule itself, said once more: what passes is sensitive and cannot be taken out.
  for (const char* const needed :
       {"CKA_SENSITIVE", "CKA_ALWAYS_SENSITIVE", "CKA_NEVER_EXTRACTABLE", "CKA_SIGN"}) {
    Require(
        std::any_of(attributes->begin(), attributes->end(),
                    [needed](const KeyAttribute& one) { return one.name == needed && one.value; }),
        "a key was taken for protected that is not");
  }
  for (const KeyAttribute& one : *attributes) {
    Require(one.name != "CKA_EXTRACTABLE" || !one.value, "an extractable key was accepted");
  }
}

void CheckToken(CK_FUNCTION_LIST& functions) {
  Pkcs11Uri any;
  const absl::StatusOr<Pkcs11Token> token = FindToken(functions, any);
  if (!token.ok()) return;
  Require((token->info.flags & CKF_TOKEN_INITIALIZED) != 0, "a token without keys was found");
  Require(token->identity == IdentityOf(token->info), "a token's name is another's");
  for (const char octet : HardwareName(*token) + Describe(token->identity)) {
    Require(static_cast<unsigned char>(octet) >= 0x20 && octet != 0x7F,
            "a token's name has a control character");
  }
}

void Ask(uint8_t question, CK_FUNCTION_LIST& functions, Pkcs11Session& session) {
  switch (question % 10) {
    case 0: {
      const auto octets = session.ReadOctets(1, CKA_ID);
      Require(!octets.ok() || !octets->has_value() || (*octets)->size() <= 64 * 1024,
              "an attribute is longer than any buffer");
      return;
    }
    case 1:
      (void)session.ReadFlag(1, CKA_SIGN);
      return;
    case 2:
      (void)session.ReadNumber(1, CKA_KEY_TYPE);
      return;
    case 3:
      (void)session.FindObjects(Pkcs11Template().AddOctets(CKA_ID, "id"));
      return;
    case 4:
      CheckSignature(session);
      return;
    case 5:
      CheckAttributes(session);
      return;
    case 6:
      CheckToken(functions);
      return;
    case 7:
      (void)ProbeSignings(functions, 0);
      return;
    default: {
      const KeyType type = question % 10 == 8 ? KeyType::kEcP256 : KeyType::kRsa;
      const auto key = Pkcs11KeyFinder::ReadPublicKey(session, 1, type);
      Require(!key.ok() || !key->has_value() || (*key)->type == type,
              "a public key of another type was read");
      return;
    }
  }
}

void Check(FuzzInput input) {
  answers = &input;
  CK_FUNCTION_LIST functions = LyingModule();
  absl::StatusOr<Pkcs11Session> session = Pkcs11Session::Open(functions, 0, /*read_only=*/true);
  Require(session.ok(), "no session was opened");
  Ask(input.Octet(), functions, *session);
  answers = nullptr;
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
