// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/evp.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "hsm/pkcs11/pkcs11_module.h"

namespace smartkey {

// A PKCS#11 token on OpenSSL keys that has whatever peculiarity a test wants to see handled: what
// real tokens do and SoftHSM2 cannot be brought to. Knows what the key provider uses of PKCS#11, no
// more. Not thread-safe.
class FakePkcs11Token {
 public:
  using Attributes = std::map<CK_ATTRIBUTE_TYPE, std::string>;

  struct Object {
    Attributes attributes;
    std::shared_ptr<EVP_PKEY> key;
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;  // of a session object: ends with it
  };

  // Set at any time.
  std::string label = "fake";
  std::string serial = "0001";
  char padding = ' ';
  CK_FLAGS flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
  std::string pin = "1234";
  CK_ULONG max_sessions = CK_EFFECTIVELY_INFINITE;
  bool present = true;
  bool counts_wrong_pins = true;       // shows CKF_USER_PIN_COUNT_LOW
  bool has_raw_mechanisms = true;      // CKM_ECDSA, CKM_RSA_PKCS
  bool has_hashing_mechanisms = true;  // CKM_ECDSA_SHA256, ...
  CK_ULONG most_ec_bits = 521;
  bool wraps_points = true;  // CKA_EC_POINT in an OCTET STRING
  bool private_half_tells_public = false;
  bool stores_public_halves = true;       // else refuses CKA_TOKEN in their template
  bool tells_public_halves = true;        // else C_GenerateKeyPair's public object has no numbers
  int ids_that_can_be_changed = 1 << 30;  // counted down
  bool always_authenticate = false;
  bool reuses_handles = false;
  std::set<CK_ATTRIBUTE_TYPE> refused_if_false;  // in a private key's template
  CK_RV refusal = CKR_ATTRIBUTE_TYPE_INVALID;
  CK_RV answer_after_generating = CKR_OK;  // else: the key pair is made, and a failure reported
  Attributes forced;                       // what a new private key gets, whatever was asked
  std::set<CK_ATTRIBUTE_TYPE> untold;      // attributes that it does not know
  absl::optional<std::string> signature;   // what C_Sign gives instead

  // What happened to it.
  std::vector<std::string>
      pins_tried;  // CKU_USER's, and CKU_CONTEXT_SPECIFIC's with a '+' in front
  int sessions_opened = 0;

  // The objects inside, for looking and meddling.
  std::map<CK_OBJECT_HANDLE, Object> objects;
  bool logged_in = false;

  CK_OBJECT_HANDLE AddObject(Object object);
  int Count(CK_OBJECT_CLASS object_class) const;
  // Private objects are there only for who is logged in.
  bool Shows(const Object& object) const;
  CK_TOKEN_INFO Info() const;

  CK_RV Login(CK_USER_TYPE user, absl::string_view pin);
  CK_RV GetMechanism(CK_MECHANISM_TYPE mechanism, CK_MECHANISM_INFO& info) const;
  CK_RV GenerateKeyPair(CK_MECHANISM_TYPE mechanism, CK_SESSION_HANDLE session,
                        const Attributes& of_public, const Attributes& of_private,
                        CK_OBJECT_HANDLE& public_half, CK_OBJECT_HANDLE& private_half);
  CK_RV Sign(const Object& object, CK_MECHANISM_TYPE mechanism, absl::string_view data,
             std::string& result) const;

 private:
  CK_OBJECT_HANDLE next_handle_ = 1;
};

}  // namespace smartkey
