// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace smartkey {

// Attributes with their values, for templates and searches. The order is kept.
class Pkcs11Template {
 public:
  Pkcs11Template& AddFlag(CK_ATTRIBUTE_TYPE type, bool value);
  Pkcs11Template& AddNumber(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  Pkcs11Template& AddOctets(CK_ATTRIBUTE_TYPE type, absl::string_view value);

  // Points into this: good until it changes or ends.
  std::vector<CK_ATTRIBUTE> attributes() const;

 private:
  std::vector<std::pair<CK_ATTRIBUTE_TYPE, std::string>> values_;
};

// A session with a token, and what may be done in one: the calls of PKCS#11 v2.40 sections 5.6 to
// 5.13 with strings for buffers. Closed when this ends; closing the last session of a process logs
// it out. Move-only. Not thread-safe.
//
// Errors of all calls: what the token answers, as Pkcs11Status.
class Pkcs11Session {
 public:
  struct KeyPair {
    CK_OBJECT_HANDLE public_half = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE private_half = CK_INVALID_HANDLE;
  };

  static absl::StatusOr<Pkcs11Session> Open(CK_FUNCTION_LIST& functions, CK_SLOT_ID slot,
                                            bool read_only);
  Pkcs11Session(Pkcs11Session&& other) noexcept
      : functions_(other.functions_), handle_(std::exchange(other.handle_, CK_INVALID_HANDLE)) {}
  Pkcs11Session& operator=(Pkcs11Session&& other) noexcept;
  ~Pkcs11Session() { Close(); }

  CK_FUNCTION_LIST& functions() const { return *functions_; }
  CK_SESSION_HANDLE handle() const { return handle_; }

  absl::StatusOr<CK_SESSION_INFO> Info() const;

  // Every object that has all of these attributes.
  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> FindObjects(const Pkcs11Template& wanted);

  // Absent where the token does not know the attribute of this object, or does not tell it.
  absl::StatusOr<absl::optional<std::string>> ReadOctets(CK_OBJECT_HANDLE object,
                                                         CK_ATTRIBUTE_TYPE type);
  absl::StatusOr<absl::optional<bool>> ReadFlag(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
  absl::StatusOr<absl::optional<CK_ULONG>> ReadNumber(CK_OBJECT_HANDLE object,
                                                      CK_ATTRIBUTE_TYPE type);
  absl::Status WriteOctets(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                           absl::string_view value);

  absl::StatusOr<KeyPair> GenerateKeyPair(CK_MECHANISM_TYPE mechanism,
                                          const Pkcs11Template& public_half,
                                          const Pkcs11Template& private_half);
  // An object that is gone already is a success.
  absl::Status DestroyObject(CK_OBJECT_HANDLE object);

  // C_SignInit, `authenticate`, C_Sign. If `authenticate` fails, its error is returned and the
  // operation stays under way: such a session is of no use any more.
  absl::StatusOr<std::string> Sign(CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key,
                                   absl::string_view data,
                                   absl::FunctionRef<absl::Status()> authenticate);

 private:
  Pkcs11Session(CK_FUNCTION_LIST& functions, CK_SESSION_HANDLE handle)
      : functions_(&functions), handle_(handle) {}
  void Close();

  CK_FUNCTION_LIST* functions_;
  CK_SESSION_HANDLE handle_;
};

}  // namespace smartkey
