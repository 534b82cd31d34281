// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/pkcs11/pkcs11_module.h"
#include "tests/contract/key_provider_contract.h"

namespace smartkey {

// What all PKCS#11 tokens under test have in common. A subclass says how its module is loaded, how
// its token is named, and what happens to it.
class Pkcs11HardwareUnderTest : public HardwareUnderTest {
 public:
  std::unique_ptr<KeyProvider> NewProvider(const std::string& instance) override;

  // Looks at the token through a module of its own: objects that belong to no private key, and
  // private keys with labels that are not smartkeyd's.
  absl::StatusOr<std::string> Leftovers() override;

  std::vector<SignatureAlgorithm> algorithms() const override;
  bool stores_keys() const override { return true; }
  std::vector<KeyAttribute> required_attributes() const override;

 protected:
  virtual std::unique_ptr<Pkcs11Module> NewModule() = 0;
  // All but the instance.
  virtual Pkcs11KeyProvider::Options options() = 0;
  virtual std::string pin() = 0;
};

// Takes a module that is loaded into this process away from everybody in it, as if it had crashed
// and come back empty: C_Finalize, behind the back of whoever uses it.
void FinalizeModuleInThisProcess(const std::string& path);

}  // namespace smartkey
