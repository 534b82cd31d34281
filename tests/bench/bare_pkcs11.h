// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <memory>
#include <string>
#include <vector>

#include "hsm/pkcs11/pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "tests/bench/duel.h"

namespace smartkey {

// What a program without any of our code around PKCS#11 would do with the same key: hash with
// OpenSSL, C_SignInit and C_Sign (CKM_ECDSA), one thread, one session that stays open and logged
// in, handles found before.
class BarePkcs11 : public Contestant {
 public:
  // Signs with the first key. Errors: what the module answers, and kKeyGone.
  static absl::StatusOr<std::unique_ptr<BarePkcs11>> Connect(std::unique_ptr<Pkcs11Module> module,
                                                             const std::string& pin,
                                                             const std::vector<DuelKey>& keys);
  ~BarePkcs11() override;

  absl::StatusOr<DuelRound> Run(int calls) override;

 private:
  explicit BarePkcs11(std::unique_ptr<Pkcs11Module> module) : module_(std::move(module)) {}

  absl::StatusOr<std::string> Sign();

  const std::unique_ptr<Pkcs11Module> module_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE key_ = CK_INVALID_HANDLE;
};

}  // namespace smartkey
