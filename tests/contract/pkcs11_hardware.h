// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/pkcs11/pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "tests/contract/key_provider_contract.h"

namespace smartkey {

// What all PKCS#11 tokens under test have in common. A subclass says how its module is loaded, how
// its token is named, what happens to it, and what it is known to do differently.
class Pkcs11HardwareUnderTest : public HardwareUnderTest {
 public:
  std::unique_ptr<KeyProvider> NewProvider(const std::string& instance) override;
  std::unique_ptr<Pkcs11KeyProvider> NewProvider(const Pkcs11KeyProvider::Options& options);

  // Objects that belong to no private key, and objects with labels that are not smartkeyd's.
  absl::StatusOr<std::string> Leftovers() override;

  std::vector<SignatureAlgorithm> algorithms() const override;
  bool stores_keys() const override { return true; }
  std::vector<KeyAttribute> required_attributes() const override;

  // All but the instance.
  virtual Pkcs11KeyProvider::Options options() = 0;
  virtual std::string pin() = 0;
  // For which attributes it is refused under strict_attributes: "CKA_LOCAL=0". Empty: it is not.
  virtual std::vector<std::string> refused_if_strict() const { return {}; }
  // Whether a key's CKA_ID can be changed after it was made; else it is not the thumbprint.
  virtual bool changes_ids() const { return true; }

  // Looks into the token as another program would: with a module object of its own, logged in.
  absl::Status Look(absl::FunctionRef<absl::Status(Pkcs11Session&)> look);

 protected:
  virtual std::unique_ptr<Pkcs11Module> NewModule() = 0;
};

// What the provider does with every PKCS#11 token beside KeyProviderContract. Instantiate both,
// with makers of a Pkcs11HardwareUnderTest, and compile pkcs11_hardware.cc into the program.
class Pkcs11ProviderContract : public KeyProviderContract {
 protected:
  Pkcs11HardwareUnderTest& token() { return dynamic_cast<Pkcs11HardwareUnderTest&>(*hardware_); }
};

// Takes a module that is loaded into this process away from everybody in it, as if it had crashed
// and come back empty: C_Finalize, behind the back of whoever uses it.
void FinalizeModuleInThisProcess(const std::string& path);

}  // namespace smartkey
