// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>

namespace smartkey {

// A session with the first token of a module, logged in, and an EC key made in it: the shortest way
// to see whether a module works. Ends nothing: the module's end does. Not thread-safe.
class RawToken {
 public:
  explicit RawToken(CK_FUNCTION_LIST* functions) : functions_(functions) {}

  // Opens, logs in, makes a session key.
  CK_RV Open(std::string pin);
  // Signs and has the token verify.
  CK_RV Sign();

 private:
  CK_FUNCTION_LIST* const functions_;
  CK_SESSION_HANDLE session_ = 0;
  CK_OBJECT_HANDLE public_key_ = 0;
  CK_OBJECT_HANDLE private_key_ = 0;
};

}  // namespace smartkey
