// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <memory>
#include <string>
#include <vector>

namespace smartkey {

// Something that goes wrong in a PKCS#11 module, or on the way to its token.
struct Pkcs11Fault {
  enum class Kind {
    kInstead,     // The module is not called; the caller is answered `code`.
    kAfterwards,  // The module does it, and the caller is answered `code` all the same.
    kHang,        // The call blocks until Release(), then goes on as if nothing had been.
  };
  Kind kind = Kind::kInstead;
  CK_RV code = CKR_OK;
};

// A PKCS#11 module that wraps a real one and does what a test tells it. It is a shared library of
// its own: a program under test loads it by path() as any vendor's module; the test is linked with
// the same library, and the two meet in here. PKCS#11 functions have no context, so there is one
// in a process. Thread-safe.
class ChaosPkcs11 {
 public:
  // `inner`: the path of the module that is wrapped, loaded once and for good.
  static ChaosPkcs11& Around(const std::string& inner);

  // For who loads it.
  static std::string path();

  // Lets `fault` happen to the `nth` call from now on (1: the next), and to the `times` - 1 after
  // it. Takes back what was armed before.
  void Arm(int nth, Pkcs11Fault fault, int times = 1);
  // To the next call of this function: "C_Sign".
  void ArmNext(const std::string& function, Pkcs11Fault fault);
  void Disarm();
  // How often what was armed last has happened.
  int happened() const;
  // The function that it happened to last. Empty: none.
  std::string last_faulty() const;

  // Waits until a call hangs. False after 30 seconds.
  bool AwaitHanging() const;
  void Release();

  // The functions that were called since the last time, or tried to be: "C_Sign".
  std::vector<std::string> TakeCalls();
  // Sessions that the module opened and nobody closed.
  int open_sessions() const;

  struct State;

 private:
  explicit ChaosPkcs11(State& state) : state_(state) {}

  State& state_;
};

}  // namespace smartkey
