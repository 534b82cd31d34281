// SPDX-License-Identifier: Apache-2.0
#include "tests/support/chaos_pkcs11.h"

#include <dlfcn.h>

#include <cstddef>
#include <mutex>
#include <set>
#include <type_traits>
#include <utility>

#include "tests/support/hang_point.h"

namespace smartkey {

// The C++ library's lock, and no library of ours: this one stands alone.
struct ChaosPkcs11::State {
  std::mutex mu;
  HangPoint hang;
  CK_FUNCTION_LIST* inner = nullptr;
  CK_FUNCTION_LIST outer = {};
  int to_go = 0;     // calls before the fault; 0: none is armed
  std::string only;  // calls of this function; empty: all
  int times = 0;
  int happened = 0;
  std::string last_faulty;
  Pkcs11Fault fault;
  std::vector<std::string> calls;
  std::set<CK_SESSION_HANDLE> sessions;

  static State& Get() {
    static auto* state = new State;
    return *state;
  }

  // What is to happen to this call: nothing is kAfterwards with CKR_OK.
  Pkcs11Fault Next(const char* function) {
    const Pkcs11Fault nothing = {.kind = Pkcs11Fault::Kind::kAfterwards, .code = CKR_OK};
    const std::lock_guard<std::mutex> lock(mu);
    calls.push_back(function);
    if (to_go == 0 || (!only.empty() && only != function)) return nothing;
    if (to_go > 1) {
      --to_go;
      return nothing;
    }
    if (--times == 0) to_go = 0;
    ++happened;
    last_faulty = function;
    return fault;
  }
};

namespace {

using State = ChaosPkcs11::State;

// Keeps the books of sessions. Called with what the module itself answered.
void Note(State& state, CK_RV rv, CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY,
          CK_SESSION_HANDLE* opened) {
  if (rv == CKR_OK) state.sessions.insert(*opened);
}
void NoteClosed(State& state, CK_RV rv, CK_SESSION_HANDLE closed) {
  if (rv == CKR_OK) state.sessions.erase(closed);
}

// One function of the list, by its place in it.
template <auto kMember>
struct Through;

template <typename... Arguments, CK_RV (*CK_FUNCTION_LIST::*kMember)(Arguments...)>
struct Through<kMember> {
  static inline const char* name = "";

  static CK_RV Call(Arguments... arguments) {
    State& state = State::Get();
    const Pkcs11Fault fault = state.Next(name);
    if (fault.kind == Pkcs11Fault::Kind::kInstead) return fault.code;
    if (fault.kind == Pkcs11Fault::Kind::kHang) state.hang.Hang();
    const CK_RV rv = (state.inner->*kMember)(arguments...);
    const std::lock_guard<std::mutex> lock(state.mu);
    if constexpr (std::is_same_v<decltype(kMember), decltype(&CK_FUNCTION_LIST::C_OpenSession)>) {
      Note(state, rv, arguments...);
    }
    // Of one type with C_FindObjectsFinal and others: told apart by their place.
    if constexpr (std::is_same_v<decltype(kMember), decltype(&CK_FUNCTION_LIST::C_CloseSession)>) {
      if (kMember == &CK_FUNCTION_LIST::C_CloseSession) NoteClosed(state, rv, arguments...);
    }
    if constexpr (std::is_same_v<decltype(kMember), decltype(&CK_FUNCTION_LIST::C_Finalize)>) {
      if (kMember == &CK_FUNCTION_LIST::C_Finalize && rv == CKR_OK) state.sessions.clear();
    }
    return rv == CKR_OK && fault.kind == Pkcs11Fault::Kind::kAfterwards ? fault.code : rv;
  }

  static void PutInto(CK_FUNCTION_LIST& list, const char* its_name) {
    name = its_name;
    list.*kMember = &Call;
  }
};

CK_RV GetFunctionList(CK_FUNCTION_LIST** list) {
  *list = &State::Get().outer;
  return CKR_OK;
}

// What a key provider calls; the rest of the list goes straight to the module.
void Interpose(CK_FUNCTION_LIST& list) {
#define THROUGH(function) Through<&CK_FUNCTION_LIST::function>::PutInto(list, #function)
  THROUGH(C_Initialize);
  THROUGH(C_Finalize);
  THROUGH(C_GetInfo);
  THROUGH(C_GetSlotList);
  THROUGH(C_GetSlotInfo);
  THROUGH(C_GetTokenInfo);
  THROUGH(C_GetMechanismList);
  THROUGH(C_GetMechanismInfo);
  THROUGH(C_OpenSession);
  THROUGH(C_CloseSession);
  THROUGH(C_CloseAllSessions);
  THROUGH(C_GetSessionInfo);
  THROUGH(C_Login);
  THROUGH(C_Logout);
  THROUGH(C_CreateObject);
  THROUGH(C_CopyObject);
  THROUGH(C_DestroyObject);
  THROUGH(C_GetObjectSize);
  THROUGH(C_GetAttributeValue);
  THROUGH(C_SetAttributeValue);
  THROUGH(C_FindObjectsInit);
  THROUGH(C_FindObjects);
  THROUGH(C_FindObjectsFinal);
  THROUGH(C_SignInit);
  THROUGH(C_Sign);
  THROUGH(C_GenerateKeyPair);
  THROUGH(C_GenerateRandom);
#undef THROUGH
  list.C_GetFunctionList = &GetFunctionList;
}

}  // namespace

ChaosPkcs11& ChaosPkcs11::Around(const std::string& inner) {
  static auto* chaos = [&] {
    State& state = State::Get();
    void* library = dlopen(inner.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const auto get =
        library == nullptr
            ? nullptr
            : reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
    // Without one there is no list to load either, and every test fails by that.
    if (get != nullptr && get(&state.inner) == CKR_OK) {
      state.outer = *state.inner;
      Interpose(state.outer);
    }
    return new ChaosPkcs11(state);
  }();
  return *chaos;
}

std::string ChaosPkcs11::path() {
  Dl_info info = {};
  return dladdr(reinterpret_cast<void*>(&GetFunctionList), &info) != 0 ? info.dli_fname : "";
}

void ChaosPkcs11::Arm(int nth, Pkcs11Fault fault, int times) {
  const std::lock_guard<std::mutex> lock(state_.mu);
  state_.to_go = nth;
  state_.only.clear();
  state_.times = times;
  state_.happened = 0;
  state_.last_faulty.clear();
  state_.fault = fault;
}

void ChaosPkcs11::ArmNext(const std::string& function, Pkcs11Fault fault) {
  Arm(1, fault);
  const std::lock_guard<std::mutex> lock(state_.mu);
  state_.only = function;
}

void ChaosPkcs11::Disarm() {
  const std::lock_guard<std::mutex> lock(state_.mu);
  state_.to_go = 0;
}

int ChaosPkcs11::happened() const {
  const std::lock_guard<std::mutex> lock(state_.mu);
  return state_.happened;
}

std::string ChaosPkcs11::last_faulty() const {
  const std::lock_guard<std::mutex> lock(state_.mu);
  return state_.last_faulty;
}

bool ChaosPkcs11::AwaitHanging() const {
  return state_.hang.AwaitHanging();
}

void ChaosPkcs11::Release() {
  state_.hang.Release();
}

std::vector<std::string> ChaosPkcs11::TakeCalls() {
  const std::lock_guard<std::mutex> lock(state_.mu);
  return std::exchange(state_.calls, {});
}

int ChaosPkcs11::open_sessions() const {
  const std::lock_guard<std::mutex> lock(state_.mu);
  return static_cast<int>(state_.sessions.size());
}

}  // namespace smartkey

// What a loader of modules asks for (PKCS#11 v2.40 section 2.1).
extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  if (smartkey::ChaosPkcs11::State::Get().inner == nullptr) return CKR_GENERAL_ERROR;
  return smartkey::GetFunctionList(list);
}
