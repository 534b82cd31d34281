// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>

#include "absl/status/statusor.h"
#include "hsm/pkcs11/pkcs11_uri.h"

namespace smartkey {

// A token that was found, and where it is now.
struct Pkcs11Token {
  CK_SLOT_ID slot = 0;  // good until the token or the module is gone
  Pkcs11TokenIdentity identity;
  CK_TOKEN_INFO info = {};  // as of when it was found: flags change with each login

  bool login_required() const { return (info.flags & CKF_LOGIN_REQUIRED) != 0; }
  bool write_protected() const { return (info.flags & CKF_WRITE_PROTECTED) != 0; }
};

// What a token says of itself, without its padding: by the standard blanks, by some makers NULs.
Pkcs11TokenIdentity IdentityOf(const CK_TOKEN_INFO& info);

// The one initialized token that `uri` means.
// Errors: kHardwareAbsent (there is none; says what was looked for and what is there),
// kConfigInvalid (there are several; names them), and what the module answers.
absl::StatusOr<Pkcs11Token> FindToken(CK_FUNCTION_LIST& functions, const Pkcs11Uri& uri);

// What the token in `slot` says now.
absl::StatusOr<CK_TOKEN_INFO> ReadTokenInfo(CK_FUNCTION_LIST& functions, CK_SLOT_ID slot);

}  // namespace smartkey
