// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_session.h"

#include <cstring>

#include "base/error.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

// No attribute or signature of ours comes near; a broken token shall not make us allocate more.
constexpr CK_ULONG kMostOctets = 64 * 1024;

// Longer than any signature we ask for: RSA-4096 is 512.
constexpr size_t kUsualSignatureOctets = 1024;

constexpr CK_ULONG kHandlesAtOnce = 64;

// A token that never comes to an end shall not make us allocate for ever.
constexpr size_t kMostObjects = 1'000'000;

CK_BYTE* Bytes(absl::string_view text) {
  // The interface of 1995 knows no const; input buffers are not written to.
  return reinterpret_cast<CK_BYTE*>(const_cast<char*>(text.data()));
}

template <typename T>
absl::string_view OctetsOf(const T& value) {
  return absl::string_view(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The token's way to say that it has no such attribute for us.
bool SaysAbsent(CK_RV rv, CK_ULONG size) {
  return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
         (rv == CKR_OK && size == CK_UNAVAILABLE_INFORMATION);
}

}  // namespace

Pkcs11Template& Pkcs11Template::AddFlag(CK_ATTRIBUTE_TYPE type, bool value) {
  const CK_BBOOL flag = value ? CK_TRUE : CK_FALSE;
  return AddOctets(type, OctetsOf(flag));
}

Pkcs11Template& Pkcs11Template::AddNumber(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  return AddOctets(type, OctetsOf(value));
}

Pkcs11Template& Pkcs11Template::AddOctets(CK_ATTRIBUTE_TYPE type, absl::string_view value) {
  values_.emplace_back(type, std::string(value));
  return *this;
}

std::vector<CK_ATTRIBUTE> Pkcs11Template::attributes() const {
  std::vector<CK_ATTRIBUTE> attributes;
  for (const auto& [type, value] : values_) {
    attributes.push_back({type, Bytes(value), static_cast<CK_ULONG>(value.size())});
  }
  return attributes;
}

absl::StatusOr<Pkcs11Session> Pkcs11Session::Open(CK_FUNCTION_LIST& functions, CK_SLOT_ID slot,
                                                  bool read_only) {
  const CK_FLAGS flags = CKF_SERIAL_SESSION | (read_only ? 0 : CKF_RW_SESSION);
  CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
  const CK_RV rv = functions.C_OpenSession(slot, flags, nullptr, nullptr, &handle);
  if (rv != CKR_OK) return Pkcs11Status(rv, "open session");
  return Pkcs11Session(functions, handle);
}

Pkcs11Session& Pkcs11Session::operator=(Pkcs11Session&& other) noexcept {
  if (this != &other) {
    Close();
    functions_ = other.functions_;
    handle_ = std::exchange(other.handle_, CK_INVALID_HANDLE);
  }
  return *this;
}

void Pkcs11Session::Close() {
  // A session that is gone already cannot be closed, which is as good.
  if (handle_ != CK_INVALID_HANDLE) functions_->C_CloseSession(handle_);
  handle_ = CK_INVALID_HANDLE;
}

absl::StatusOr<CK_SESSION_INFO> Pkcs11Session::Info() const {
  CK_SESSION_INFO info = {};
  const CK_RV rv = functions_->C_GetSessionInfo(handle_, &info);
  if (rv != CKR_OK) return Pkcs11Status(rv, "read session information");
  return info;
}

absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> Pkcs11Session::FindObjects(
    const Pkcs11Template& wanted) {
  std::vector<CK_ATTRIBUTE> attributes = wanted.attributes();
  CK_RV rv = functions_->C_FindObjectsInit(handle_, attributes.data(), attributes.size());
  if (rv != CKR_OK) return Pkcs11Status(rv, "find");
  std::vector<CK_OBJECT_HANDLE> found;
  for (;;) {
    CK_OBJECT_HANDLE handles[kHandlesAtOnce];
    CK_ULONG count = 0;
    rv = functions_->C_FindObjects(handle_, handles, kHandlesAtOnce, &count);
    // Fewer than asked for is no end: only none is.
    if (rv != CKR_OK || count == 0) break;
    if (count > kHandlesAtOnce || found.size() > kMostObjects) rv = CKR_GENERAL_ERROR;
    if (rv != CKR_OK) break;
    found.insert(found.end(), handles, handles + count);
  }
  const CK_RV end = functions_->C_FindObjectsFinal(handle_);
  if (rv != CKR_OK) return Pkcs11Status(rv, "find");
  if (end != CKR_OK) return Pkcs11Status(end, "find");
  return found;
}

absl::StatusOr<absl::optional<std::string>> Pkcs11Session::ReadOctets(CK_OBJECT_HANDLE object,
                                                                      CK_ATTRIBUTE_TYPE type) {
  CK_ATTRIBUTE attribute = {type, nullptr, 0};
  CK_RV rv = functions_->C_GetAttributeValue(handle_, object, &attribute, 1);
  if (SaysAbsent(rv, attribute.ulValueLen)) return absl::optional<std::string>();
  if (rv != CKR_OK) return Pkcs11Status(rv, "read attribute");
  if (attribute.ulValueLen > kMostOctets) {
    return MakeError(Reason::kHardwareError, "pkcs11 read attribute: too long to be one");
  }
  std::string value(attribute.ulValueLen, '\0');
  if (value.empty()) return absl::optional<std::string>(std::move(value));
  attribute.pValue = value.data();
  rv = functions_->C_GetAttributeValue(handle_, object, &attribute, 1);
  if (SaysAbsent(rv, attribute.ulValueLen)) return absl::optional<std::string>();
  if (rv != CKR_OK) return Pkcs11Status(rv, "read attribute");
  if (attribute.ulValueLen > value.size()) {
    return MakeError(Reason::kHardwareError, "pkcs11 read attribute: longer than announced");
  }
  value.resize(attribute.ulValueLen);
  return absl::optional<std::string>(std::move(value));
}

absl::StatusOr<absl::optional<bool>> Pkcs11Session::ReadFlag(CK_OBJECT_HANDLE object,
                                                             CK_ATTRIBUTE_TYPE type) {
  absl::StatusOr<absl::optional<std::string>> octets = ReadOctets(object, type);
  if (!octets.ok()) return octets.status();
  if (!octets->has_value() || (*octets)->size() != sizeof(CK_BBOOL)) return absl::optional<bool>();
  return absl::optional<bool>((**octets)[0] != CK_FALSE);
}

absl::StatusOr<absl::optional<CK_ULONG>> Pkcs11Session::ReadNumber(CK_OBJECT_HANDLE object,
                                                                   CK_ATTRIBUTE_TYPE type) {
  absl::StatusOr<absl::optional<std::string>> octets = ReadOctets(object, type);
  if (!octets.ok()) return octets.status();
  if (!octets->has_value() || (*octets)->size() != sizeof(CK_ULONG)) {
    return absl::optional<CK_ULONG>();
  }
  CK_ULONG number = 0;
  std::memcpy(&number, (*octets)->data(), sizeof(number));
  return absl::optional<CK_ULONG>(number);
}

absl::Status Pkcs11Session::WriteOctets(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
                                        absl::string_view value) {
  CK_ATTRIBUTE attribute = {type, Bytes(value), static_cast<CK_ULONG>(value.size())};
  return Pkcs11Status(functions_->C_SetAttributeValue(handle_, object, &attribute, 1),
                      "write attribute");
}

absl::StatusOr<Pkcs11Session::KeyPair> Pkcs11Session::GenerateKeyPair(
    CK_MECHANISM_TYPE mechanism, const Pkcs11Template& public_half,
    const Pkcs11Template& private_half) {
  CK_MECHANISM how = {mechanism, nullptr, 0};
  std::vector<CK_ATTRIBUTE> of_public = public_half.attributes();
  std::vector<CK_ATTRIBUTE> of_private = private_half.attributes();
  KeyPair pair;
  const CK_RV rv = functions_->C_GenerateKeyPair(handle_, &how, of_public.data(), of_public.size(),
                                                 of_private.data(), of_private.size(),
                                                 &pair.public_half, &pair.private_half);
  if (rv != CKR_OK) return Pkcs11Status(rv, "generate key pair");
  return pair;
}

absl::Status Pkcs11Session::DestroyObject(CK_OBJECT_HANDLE object) {
  const CK_RV rv = functions_->C_DestroyObject(handle_, object);
  return Pkcs11Status(rv, "destroy");
}

absl::StatusOr<std::string> Pkcs11Session::Sign(CK_MECHANISM_TYPE mechanism, CK_OBJECT_HANDLE key,
                                                absl::string_view data,
                                                absl::FunctionRef<absl::Status()> authenticate) {
  CK_MECHANISM how = {mechanism, nullptr, 0};
  CK_RV rv = functions_->C_SignInit(handle_, &how, key);
  if (rv != CKR_OK) return Pkcs11Status(rv, "sign");
  if (absl::Status status = authenticate(); !status.ok()) return status;
  std::string signature(kUsualSignatureOctets, '\0');
  CK_ULONG size = signature.size();
  rv = functions_->C_Sign(handle_, Bytes(data), data.size(), Bytes(signature), &size);
  if (rv == CKR_BUFFER_TOO_SMALL && size <= kMostOctets) {
    // The one failure that leaves the operation as it was (section 5.2).
    signature.resize(size);
    rv = functions_->C_Sign(handle_, Bytes(data), data.size(), Bytes(signature), &size);
  }
  if (rv != CKR_OK) return Pkcs11Status(rv, "sign");
  if (size > signature.size()) {
    return MakeError(Reason::kSignatureWrong, "pkcs11 sign: longer than the buffer");
  }
  signature.resize(size);
  return signature;
}

}  // namespace smartkey
