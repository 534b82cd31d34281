// SPDX-License-Identifier: Apache-2.0
// The key provider contract on tpm2-pkcs11, over a real swtpm behind tpm2-abrmd. In a process of
// its own: it is configured by environment variables, and GLib's connection to a bus is for ever.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/isolated_pkcs11_hardware.h"
#include "tests/contract/pkcs11_hardware.h"
#include "tests/support/tpm2_pkcs11_token.h"

namespace smartkey {
namespace {

class Tpm2Pkcs11UnderTest : public Pkcs11HardwareUnderTest {
 public:
  explicit Tpm2Pkcs11UnderTest(std::unique_ptr<Tpm2Pkcs11Token> token) : token_(std::move(token)) {}

  absl::Status Reboot() override {
    Unplug();
    return PlugIn();
  }
  void Unplug() override {
    KillModuleProcesses();
    token_->Unplug();
  }
  absl::Status PlugIn() override { return token_->PlugIn(); }
  absl::Status Replace() override {
    KillModuleProcesses();
    return token_->Replace();
  }

  Pkcs11KeyProvider::Options options() override {
    return {.uri = Tpm2Pkcs11Token::uri(),
            .pin_file = token_->pin_file(),
            .strict_attributes = false,
            .rejected_pin_file = token_->rejected_pin_file()};
  }
  std::string pin() override { return Tpm2Pkcs11Token::pin(); }

 protected:
  std::unique_ptr<Pkcs11Module> NewModule() override {
    return std::make_unique<IsolatedPkcs11Module>(IsolatedPkcs11Module::Options{
        .path = Tpm2Pkcs11Token::module_path(), .environment = token_->environment()});
  }

 private:
  const std::unique_ptr<Tpm2Pkcs11Token> token_;
};

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeTpm2Pkcs11() {
  IsolateModules();
  absl::StatusOr<std::unique_ptr<Tpm2Pkcs11Token>> token = Tpm2Pkcs11Token::Create();
  if (!token.ok()) return token.status();
  return std::make_unique<Tpm2Pkcs11UnderTest>(*std::move(token));
}

const auto kMakers = testing::Values(HardwareMaker{"Tpm2Pkcs11", &MakeTpm2Pkcs11});
INSTANTIATE_TEST_SUITE_P(Pkcs11, KeyProviderContract, kMakers, NameOfHardware);
INSTANTIATE_TEST_SUITE_P(Pkcs11, Pkcs11ProviderContract, kMakers, NameOfHardware);

}  // namespace
}  // namespace smartkey
