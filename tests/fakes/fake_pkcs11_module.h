// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "hsm/pkcs11/pkcs11_module.h"
#include "tests/fakes/fake_pkcs11_token.h"

namespace smartkey {

// The module behind FakePkcs11Modules: tokens in slots 10, 11, ..., sessions, and the faults that a
// test plants. It outlives every FakePkcs11Module made on it. PKCS#11 functions have no context, so
// there is one at a time in a process: the one made last. Not thread-safe.
class FakePkcs11 {
 public:
  FakePkcs11();
  ~FakePkcs11();
  FakePkcs11(const FakePkcs11&) = delete;
  FakePkcs11& operator=(const FakePkcs11&) = delete;

  std::vector<std::unique_ptr<FakePkcs11Token>> tokens;
  FakePkcs11Token& AddToken();

  // The next `times` calls of "C_Sign", after `passing` more that work, answer `code` and do
  // nothing.
  void FailNext(const std::string& function, CK_RV code, int times = 1, int passing = 0);
  // Forgets the faults that no call has met.
  void ClearFaults() { faults_.clear(); }
  // Runs at the beginning of the next call of this function.
  void OnNext(const std::string& function, std::function<void()> action);
  int calls(const std::string& function) const;

  // All sessions are void from now on, and with them the login: as after a token was away.
  void LoseSessions();
  size_t open_sessions() const { return sessions_.size(); }

  // What the C functions call.
  struct Session {
    FakePkcs11Token* token = nullptr;
    CK_SLOT_ID slot = 0;
    bool read_only = false;
    absl::optional<std::vector<CK_OBJECT_HANDLE>> found;  // a search is under way
    CK_MECHANISM_TYPE mechanism = 0;
    CK_OBJECT_HANDLE signing = CK_INVALID_HANDLE;  // a signature is under way
    bool authenticated = false;
  };
  static FakePkcs11& Current();
  static CK_FUNCTION_LIST* Functions();
  CK_RV Begin(const char* function);
  FakePkcs11Token* TokenIn(CK_SLOT_ID slot);
  Session* FindSession(CK_SESSION_HANDLE handle);
  CK_SESSION_HANDLE AddSession(Session session);
  void RemoveSession(CK_SESSION_HANDLE handle);

  bool initialized = false;

 private:
  struct Fault {
    CK_RV code;
    int times;
    int passing;
  };

  std::map<std::string, std::vector<Fault>> faults_;
  std::map<std::string, std::function<void()>> actions_;
  std::map<std::string, int> calls_;
  std::map<CK_SESSION_HANDLE, Session> sessions_;
  CK_SESSION_HANDLE next_session_ = 1;
};

class FakePkcs11Module : public Pkcs11Module {
 public:
  explicit FakePkcs11Module(FakePkcs11& module) : module_(module) {}
  ~FakePkcs11Module() override { Unload(); }

  absl::StatusOr<CK_FUNCTION_LIST*> Load() override;
  void Unload() override;

 private:
  FakePkcs11& module_;
};

}  // namespace smartkey
