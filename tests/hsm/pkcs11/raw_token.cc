// SPDX-License-Identifier: Apache-2.0
#include "tests/hsm/pkcs11/raw_token.h"

namespace smartkey {

CK_RV RawToken::Open(std::string pin) {
  CK_SLOT_ID slot = 0;
  CK_ULONG count = 1;
  CK_RV rv = functions_->C_GetSlotList(CK_TRUE, nullptr, &count);
  if (rv != CKR_OK) return rv;
  std::string slots(count * sizeof(CK_SLOT_ID), '\0');
  rv = functions_->C_GetSlotList(CK_TRUE, reinterpret_cast<CK_SLOT_ID*>(slots.data()), &count);
  if (rv != CKR_OK) return rv;
  if (count == 0) return CKR_TOKEN_NOT_PRESENT;
  slot = *reinterpret_cast<CK_SLOT_ID*>(slots.data());
  rv = functions_->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                                 &session_);
  if (rv != CKR_OK) return rv;
  rv = functions_->C_Login(session_, CKU_USER, reinterpret_cast<CK_BYTE*>(pin.data()), pin.size());
  if (rv != CKR_OK) return rv;

  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE of_public[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_VERIFY, &yes, 1}};
  CK_ATTRIBUTE of_private[] = {{CKA_TOKEN, &no, 1}, {CKA_SIGN, &yes, 1}};
  CK_MECHANISM mechanism = {CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  return functions_->C_GenerateKeyPair(session_, &mechanism, of_public, 2, of_private, 2,
                                       &public_key_, &private_key_);
}

CK_RV RawToken::Sign() {
  CK_BYTE digest[32] = {1, 2, 3};
  CK_BYTE signature[64];
  CK_ULONG size = sizeof(signature);
  CK_MECHANISM mechanism = {CKM_ECDSA, nullptr, 0};
  CK_RV rv = functions_->C_SignInit(session_, &mechanism, private_key_);
  if (rv == CKR_OK) rv = functions_->C_Sign(session_, digest, sizeof(digest), signature, &size);
  if (rv == CKR_OK) rv = functions_->C_VerifyInit(session_, &mechanism, public_key_);
  if (rv == CKR_OK) rv = functions_->C_Verify(session_, digest, sizeof(digest), signature, size);
  return rv;
}

}  // namespace smartkey
