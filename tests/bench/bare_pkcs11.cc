// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/bare_pkcs11.h"

#include <openssl/evp.h>

#include "absl/time/clock.h"
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

CK_BYTE* Bytes(std::string& text) {
  return reinterpret_cast<CK_BYTE*>(text.data());
}

// There is one token with keys; SoftHSM2 offers one more slot for the next.
absl::StatusOr<CK_SLOT_ID> FindSlot(CK_FUNCTION_LIST& functions) {
  CK_SLOT_ID slots[16];
  CK_ULONG count = 16;
  if (const CK_RV rv = functions.C_GetSlotList(CK_TRUE, slots, &count); rv != CKR_OK) {
    return Pkcs11Status(rv, "list slots");
  }
  for (CK_ULONG i = 0; i < count; ++i) {
    CK_TOKEN_INFO info = {};
    if (functions.C_GetTokenInfo(slots[i], &info) == CKR_OK &&
        (info.flags & CKF_TOKEN_INITIALIZED) != 0) {
      return slots[i];
    }
  }
  return MakeError(Reason::kHardwareAbsent, "no token");
}

}  // namespace

absl::StatusOr<std::unique_ptr<BarePkcs11>> BarePkcs11::Connect(
    std::unique_ptr<Pkcs11Module> module, const std::string& pin,
    const std::vector<DuelKey>& keys) {
  std::unique_ptr<BarePkcs11> bare(new BarePkcs11(std::move(module)));
  absl::StatusOr<CK_FUNCTION_LIST*> functions = bare->module_->Load();
  if (!functions.ok()) return functions.status();
  bare->functions_ = *functions;
  CK_FUNCTION_LIST& f = **functions;
  absl::StatusOr<CK_SLOT_ID> slot = FindSlot(f);
  if (!slot.ok()) return slot.status();
  CK_RV rv = f.C_OpenSession(*slot, CKF_SERIAL_SESSION, nullptr, nullptr, &bare->session_);
  if (rv != CKR_OK) return Pkcs11Status(rv, "open session");
  std::string pin_octets = pin;
  rv = f.C_Login(bare->session_, CKU_USER, Bytes(pin_octets), pin_octets.size());
  // The provider beside us is the same process, and a login is the process's.
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) return Pkcs11Status(rv, "login");

  absl::StatusOr<Pkcs11KeyReference> reference =
      ParsePkcs11KeyReference(keys.front().reference.blob);
  if (!reference.ok()) return reference.status();
  CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
  CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &private_key, sizeof(private_key)},
                           {CKA_ID, reference->id.data(), reference->id.size()}};
  CK_ULONG found = 0;
  rv = f.C_FindObjectsInit(bare->session_, wanted, 2);
  if (rv == CKR_OK) rv = f.C_FindObjects(bare->session_, &bare->key_, 1, &found);
  if (rv == CKR_OK) rv = f.C_FindObjectsFinal(bare->session_);
  if (rv != CKR_OK) return Pkcs11Status(rv, "find");
  if (found != 1) return MakeError(Reason::kKeyGone, "the key is not in the token");
  return bare;
}

BarePkcs11::~BarePkcs11() {
  if (session_ != CK_INVALID_HANDLE) functions_->C_CloseSession(session_);
}

absl::StatusOr<std::string> BarePkcs11::Sign() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(DuelMessage().data(), DuelMessage().size(), digest, &size, EVP_sha256(),
                 nullptr) != 1) {
    return MakeError(Reason::kInternal, "sha256 failed");
  }
  CK_MECHANISM mechanism = {CKM_ECDSA, nullptr, 0};
  std::string signature(64, '\0');  // r and s, each of 32 octets
  CK_ULONG length = signature.size();
  CK_RV rv = functions_->C_SignInit(session_, &mechanism, key_);
  if (rv == CKR_OK) rv = functions_->C_Sign(session_, digest, size, Bytes(signature), &length);
  if (rv != CKR_OK) return Pkcs11Status(rv, "sign");
  return signature;
}

absl::StatusOr<DuelRound> BarePkcs11::Run(int calls) {
  DuelRound round;
  round.latencies.reserve(static_cast<size_t>(calls));
  round.signatures.reserve(static_cast<size_t>(calls));
  const absl::Time begin = absl::Now();
  for (int call = 0; call < calls; ++call) {
    const absl::Time start = absl::Now();
    absl::StatusOr<std::string> signature = Sign();
    round.latencies.push_back(absl::Now() - start);
    if (!signature.ok()) return signature.status();
    round.signatures.push_back({0, *std::move(signature)});
  }
  round.elapsed = absl::Now() - begin;
  return round;
}

}  // namespace smartkey
