// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_pkcs11_module.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/error.h"

namespace smartkey {
namespace {

constexpr CK_SLOT_ID kFirstSlot = 10;

FakePkcs11* current = nullptr;

FakePkcs11Token::Attributes Read(const CK_ATTRIBUTE* attributes, CK_ULONG count) {
  FakePkcs11Token::Attributes read;
  for (CK_ULONG i = 0; i < count; ++i) {
    read[attributes[i].type] =
        std::string(static_cast<const char*>(attributes[i].pValue), attributes[i].ulValueLen);
  }
  return read;
}

absl::string_view Octets(const CK_BYTE* data, CK_ULONG size) {
  return absl::string_view(reinterpret_cast<const char*>(data), size);
}

// The session and, where an object is meant, the object; else the code to answer.
struct Place {
  CK_RV rv = CKR_OK;
  FakePkcs11::Session* session = nullptr;
  FakePkcs11Token* token = nullptr;
  FakePkcs11Token::Object* object = nullptr;
};

Place Enter(const char* function, CK_SESSION_HANDLE handle,
            CK_OBJECT_HANDLE object = CK_INVALID_HANDLE,
            CK_RV no_object = CKR_OBJECT_HANDLE_INVALID) {
  FakePkcs11& module = FakePkcs11::Current();
  Place place;
  place.rv = module.Begin(function);
  if (place.rv != CKR_OK) return place;
  place.session = module.FindSession(handle);
  if (place.session == nullptr) {
    place.rv = CKR_SESSION_HANDLE_INVALID;
    return place;
  }
  place.token = place.session->token;
  if (!place.token->present) place.rv = CKR_DEVICE_REMOVED;
  if (object == CK_INVALID_HANDLE || place.rv != CKR_OK) return place;
  const auto found = place.token->objects.find(object);
  if (found == place.token->objects.end()) {
    place.rv = no_object;
  } else {
    place.object = &found->second;
  }
  return place;
}

CK_RV Initialize(void*) {
  FakePkcs11& module = FakePkcs11::Current();
  if (module.initialized) return CKR_CRYPTOKI_ALREADY_INITIALIZED;
  module.initialized = true;  // before the faults are asked: those are of an initialized module
  const CK_RV rv = module.Begin("C_Initialize");
  module.initialized = rv == CKR_OK;
  return rv;
}

CK_RV Finalize(void*) {
  FakePkcs11& module = FakePkcs11::Current();
  if (CK_RV rv = module.Begin("C_Finalize"); rv != CKR_OK) return rv;
  module.LoseSessions();
  module.initialized = false;
  return CKR_OK;
}

CK_RV GetSlotList(CK_BBOOL, CK_SLOT_ID* slots, CK_ULONG* count) {
  FakePkcs11& module = FakePkcs11::Current();
  if (CK_RV rv = module.Begin("C_GetSlotList"); rv != CKR_OK) return rv;
  std::vector<CK_SLOT_ID> present;
  for (size_t i = 0; i < module.tokens.size(); ++i) {
    if (module.tokens[i]->present) present.push_back(kFirstSlot + i);
  }
  const CK_ULONG room = *count;
  *count = present.size();
  if (slots == nullptr) return CKR_OK;
  if (room < present.size()) return CKR_BUFFER_TOO_SMALL;
  std::copy(present.begin(), present.end(), slots);
  return CKR_OK;
}

CK_RV GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO* info) {
  FakePkcs11& module = FakePkcs11::Current();
  if (CK_RV rv = module.Begin("C_GetTokenInfo"); rv != CKR_OK) return rv;
  const FakePkcs11Token* token = module.TokenIn(slot);
  if (token == nullptr) return CKR_SLOT_ID_INVALID;
  if (!token->present) return CKR_TOKEN_NOT_PRESENT;
  *info = token->Info();
  return CKR_OK;
}

CK_RV GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO* info) {
  FakePkcs11& module = FakePkcs11::Current();
  if (CK_RV rv = module.Begin("C_GetMechanismInfo"); rv != CKR_OK) return rv;
  const FakePkcs11Token* token = module.TokenIn(slot);
  return token == nullptr ? CKR_SLOT_ID_INVALID : token->GetMechanism(type, *info);
}

CK_RV OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void*, CK_NOTIFY, CK_SESSION_HANDLE* handle) {
  FakePkcs11& module = FakePkcs11::Current();
  if (CK_RV rv = module.Begin("C_OpenSession"); rv != CKR_OK) return rv;
  FakePkcs11Token* token = module.TokenIn(slot);
  if (token == nullptr) return CKR_SLOT_ID_INVALID;
  if (!token->present) return CKR_TOKEN_NOT_PRESENT;
  if (token->max_sessions != CK_EFFECTIVELY_INFINITE &&
      token->max_sessions != CK_UNAVAILABLE_INFORMATION &&
      module.open_sessions() >= token->max_sessions) {
    return CKR_SESSION_COUNT;
  }
  const bool read_only = (flags & CKF_RW_SESSION) == 0;
  if (!read_only && (token->flags & CKF_WRITE_PROTECTED)) return CKR_TOKEN_WRITE_PROTECTED;
  ++token->sessions_opened;
  *handle = module.AddSession({.token = token, .slot = slot, .read_only = read_only});
  return CKR_OK;
}

CK_RV CloseSession(CK_SESSION_HANDLE handle) {
  const Place place = Enter("C_CloseSession", handle);
  if (place.session != nullptr) FakePkcs11::Current().RemoveSession(handle);
  return place.rv;
}

CK_RV GetSessionInfo(CK_SESSION_HANDLE handle, CK_SESSION_INFO* info) {
  const Place place = Enter("C_GetSessionInfo", handle);
  if (place.rv != CKR_OK) return place.rv;
  info->slotID = place.session->slot;
  const bool user = place.token->logged_in;
  info->state = place.session->read_only ? (user ? CKS_RO_USER_FUNCTIONS : CKS_RO_PUBLIC_SESSION)
                                         : (user ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION);
  return CKR_OK;
}

CK_RV Login(CK_SESSION_HANDLE handle, CK_USER_TYPE user, CK_BYTE* pin, CK_ULONG size) {
  const Place place = Enter("C_Login", handle);
  if (place.rv != CKR_OK) return place.rv;
  if (user == CKU_CONTEXT_SPECIFIC && place.session->signing == CK_INVALID_HANDLE) {
    return CKR_OPERATION_NOT_INITIALIZED;
  }
  const CK_RV rv = place.token->Login(user, Octets(pin, size));
  if (rv == CKR_OK && user == CKU_CONTEXT_SPECIFIC) place.session->authenticated = true;
  return rv;
}

CK_RV Logout(CK_SESSION_HANDLE handle) {
  return Enter("C_Logout", handle).rv;
}

CK_RV GetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* wanted,
                        CK_ULONG count) {
  const Place place = Enter("C_GetAttributeValue", handle, object);
  if (place.rv != CKR_OK) return place.rv;
  CK_RV rv = CKR_OK;
  for (CK_ULONG i = 0; i < count; ++i) {
    const auto found = place.object->attributes.find(wanted[i].type);
    if (found == place.object->attributes.end()) {
      wanted[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
      rv = CKR_ATTRIBUTE_TYPE_INVALID;
    } else if (wanted[i].pValue == nullptr) {
      wanted[i].ulValueLen = found->second.size();
    } else if (wanted[i].ulValueLen < found->second.size()) {
      wanted[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
      rv = CKR_BUFFER_TOO_SMALL;
    } else {
      std::memcpy(wanted[i].pValue, found->second.data(), found->second.size());
      wanted[i].ulValueLen = found->second.size();
    }
  }
  return rv;
}

CK_RV SetAttributeValue(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object, CK_ATTRIBUTE* given,
                        CK_ULONG count) {
  const Place place = Enter("C_SetAttributeValue", handle, object);
  if (place.rv != CKR_OK) return place.rv;
  if (place.token->ids_that_can_be_changed-- <= 0) return CKR_ATTRIBUTE_READ_ONLY;
  for (const auto& [type, value] : Read(given, count)) place.object->attributes[type] = value;
  return CKR_OK;
}

CK_RV DestroyObject(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE object) {
  const Place place = Enter("C_DestroyObject", handle, object);
  if (place.rv == CKR_OK) place.token->objects.erase(object);
  return place.rv;
}

CK_RV FindObjectsInit(CK_SESSION_HANDLE handle, CK_ATTRIBUTE* wanted, CK_ULONG count) {
  const Place place = Enter("C_FindObjectsInit", handle);
  if (place.rv != CKR_OK) return place.rv;
  if (place.session->found.has_value()) return CKR_OPERATION_ACTIVE;
  place.session->found.emplace();
  for (const auto& [object, content] : place.token->objects) {
    bool fits = place.token->Shows(content);
    for (const auto& [type, value] : Read(wanted, count)) {
      const auto found = content.attributes.find(type);
      fits = fits && found != content.attributes.end() && found->second == value;
    }
    if (fits) place.session->found->push_back(object);
  }
  return CKR_OK;
}

CK_RV FindObjects(CK_SESSION_HANDLE handle, CK_OBJECT_HANDLE* objects, CK_ULONG, CK_ULONG* count) {
  const Place place = Enter("C_FindObjects", handle);
  if (place.rv != CKR_OK) return place.rv;
  if (!place.session->found.has_value()) return CKR_OPERATION_NOT_INITIALIZED;
  std::vector<CK_OBJECT_HANDLE>& found = *place.session->found;
  // One at a time, which is allowed.
  *count = found.empty() ? 0 : 1;
  if (found.empty()) return CKR_OK;
  *objects = found.back();
  found.pop_back();
  return CKR_OK;
}

CK_RV FindObjectsFinal(CK_SESSION_HANDLE handle) {
  const Place place = Enter("C_FindObjectsFinal", handle);
  if (place.session != nullptr) place.session->found.reset();
  return place.rv;
}

CK_RV GenerateKeyPair(CK_SESSION_HANDLE handle, CK_MECHANISM* mechanism, CK_ATTRIBUTE* of_public,
                      CK_ULONG public_count, CK_ATTRIBUTE* of_private, CK_ULONG private_count,
                      CK_OBJECT_HANDLE* public_half, CK_OBJECT_HANDLE* private_half) {
  const Place place = Enter("C_GenerateKeyPair", handle);
  if (place.rv != CKR_OK) return place.rv;
  if (place.session->read_only) return CKR_SESSION_READ_ONLY;
  return place.token->GenerateKeyPair(mechanism->mechanism, handle, Read(of_public, public_count),
                                      Read(of_private, private_count), *public_half, *private_half);
}

CK_RV SignInit(CK_SESSION_HANDLE handle, CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key) {
  const Place place = Enter("C_SignInit", handle, key, CKR_KEY_HANDLE_INVALID);
  if (place.rv != CKR_OK) return place.rv;
  if (place.session->signing != CK_INVALID_HANDLE) return CKR_OPERATION_ACTIVE;
  if (!place.token->Shows(*place.object)) return CKR_USER_NOT_LOGGED_IN;
  place.session->signing = key;
  place.session->mechanism = mechanism->mechanism;
  place.session->authenticated = false;
  return CKR_OK;
}

CK_RV Sign(CK_SESSION_HANDLE handle, CK_BYTE* data, CK_ULONG size, CK_BYTE* signature,
           CK_ULONG* signature_size) {
  const Place place = Enter("C_Sign", handle);
  if (place.rv != CKR_OK) return place.rv;
  const CK_OBJECT_HANDLE key = std::exchange(place.session->signing, CK_INVALID_HANDLE);
  if (key == CK_INVALID_HANDLE) return CKR_OPERATION_NOT_INITIALIZED;
  const auto found = place.token->objects.find(key);
  if (found == place.token->objects.end()) return CKR_KEY_HANDLE_INVALID;
  if (place.token->always_authenticate && !place.session->authenticated) {
    return CKR_USER_NOT_LOGGED_IN;
  }
  std::string result;
  const CK_RV rv =
      place.token->Sign(found->second, place.session->mechanism, Octets(data, size), result);
  if (rv != CKR_OK) return rv;
  if (result.size() > *signature_size) {
    *signature_size = result.size();
    place.session->signing = key;
    return CKR_BUFFER_TOO_SMALL;
  }
  std::memcpy(signature, result.data(), result.size());
  *signature_size = result.size();
  return CKR_OK;
}

}  // namespace

FakePkcs11::FakePkcs11() {
  current = this;
}

FakePkcs11::~FakePkcs11() {
  current = nullptr;
}

FakePkcs11& FakePkcs11::Current() {
  if (current == nullptr) std::abort();
  return *current;
}

CK_FUNCTION_LIST* FakePkcs11::Functions() {
  static CK_FUNCTION_LIST* const functions = [] {
    auto* list = new CK_FUNCTION_LIST();
    list->version = {2, 40};
    list->C_Initialize = &Initialize;
    list->C_Finalize = &Finalize;
    list->C_GetSlotList = &GetSlotList;
    list->C_GetTokenInfo = &GetTokenInfo;
    list->C_GetMechanismInfo = &GetMechanismInfo;
    list->C_OpenSession = &OpenSession;
    list->C_CloseSession = &CloseSession;
    list->C_GetSessionInfo = &GetSessionInfo;
    list->C_Login = &Login;
    list->C_Logout = &Logout;
    list->C_GetAttributeValue = &GetAttributeValue;
    list->C_SetAttributeValue = &SetAttributeValue;
    list->C_DestroyObject = &DestroyObject;
    list->C_FindObjectsInit = &FindObjectsInit;
    list->C_FindObjects = &FindObjects;
    list->C_FindObjectsFinal = &FindObjectsFinal;
    list->C_GenerateKeyPair = &GenerateKeyPair;
    list->C_SignInit = &SignInit;
    list->C_Sign = &Sign;
    return list;
  }();
  return functions;
}

FakePkcs11Token& FakePkcs11::AddToken() {
  tokens.push_back(std::make_unique<FakePkcs11Token>());
  return *tokens.back();
}

void FakePkcs11::FailNext(const std::string& function, CK_RV code, int times, int passing) {
  faults_[function].push_back({code, times, passing});
}

void FakePkcs11::OnNext(const std::string& function, std::function<void()> action) {
  actions_[function] = std::move(action);
}

int FakePkcs11::calls(const std::string& function) const {
  const auto found = calls_.find(function);
  return found == calls_.end() ? 0 : found->second;
}

CK_RV FakePkcs11::Begin(const char* function) {
  ++calls_[function];
  if (!initialized) return CKR_CRYPTOKI_NOT_INITIALIZED;
  if (const auto action = actions_.find(function); action != actions_.end()) {
    const std::function<void()> run = std::move(action->second);
    actions_.erase(action);
    run();
  }
  std::vector<Fault>& faults = faults_[function];
  while (!faults.empty() && faults.front().times == 0) faults.erase(faults.begin());
  if (faults.empty()) return CKR_OK;
  if (faults.front().passing-- > 0) return CKR_OK;
  --faults.front().times;
  return faults.front().code;
}

FakePkcs11Token* FakePkcs11::TokenIn(CK_SLOT_ID slot) {
  if (slot < kFirstSlot || slot - kFirstSlot >= tokens.size()) return nullptr;
  return tokens[slot - kFirstSlot].get();
}

FakePkcs11::Session* FakePkcs11::FindSession(CK_SESSION_HANDLE handle) {
  const auto found = sessions_.find(handle);
  return found == sessions_.end() ? nullptr : &found->second;
}

CK_SESSION_HANDLE FakePkcs11::AddSession(Session session) {
  sessions_[next_session_] = std::move(session);
  return next_session_++;
}

void FakePkcs11::RemoveSession(CK_SESSION_HANDLE handle) {
  FakePkcs11Token* token = sessions_.at(handle).token;
  sessions_.erase(handle);
  for (auto object = token->objects.begin(); object != token->objects.end();) {
    object = object->second.session == handle ? token->objects.erase(object) : std::next(object);
  }
  // PKCS#11 v2.40 section 5.6: with its last session a process is logged out.
  const bool last = std::none_of(sessions_.begin(), sessions_.end(), [token](const auto& entry) {
    return entry.second.token == token;
  });
  if (last) token->logged_in = false;
}

void FakePkcs11::LoseSessions() {
  while (!sessions_.empty()) RemoveSession(sessions_.begin()->first);
}

absl::StatusOr<CK_FUNCTION_LIST*> FakePkcs11Module::Load() {
  Unload();
  if (FakePkcs11::Functions()->C_Initialize(nullptr) != CKR_OK) {
    return MakeError(Reason::kHardwareDegraded, "the fake module does not initialize");
  }
  return FakePkcs11::Functions();
}

void FakePkcs11Module::Unload() {
  if (module_.initialized) FakePkcs11::Functions()->C_Finalize(nullptr);
}

}  // namespace smartkey
