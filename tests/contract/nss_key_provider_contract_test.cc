// SPDX-License-Identifier: Apache-2.0
// The key provider contract on NSS's software token, in this process and in one of its own.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "tests/contract/isolated_pkcs11_hardware.h"
#include "tests/contract/pkcs11_hardware.h"
#include "tests/support/nss_token.h"

namespace smartkey {
namespace {

class NssUnderTest : public Pkcs11HardwareUnderTest {
 public:
  NssUnderTest(std::unique_ptr<NssToken> token, bool isolated)
      : token_(std::move(token)), isolated_(isolated) {}

  absl::Status Reboot() override {
    Disturb();
    return absl::OkStatus();
  }
  void Unplug() override {
    // The file alone would not be missed: an initialized module has it open.
    Disturb();
    EXPECT_TRUE(token_->Unplug().ok());
  }
  absl::Status PlugIn() override { return token_->PlugIn(); }
  absl::Status Replace() override {
    Disturb();
    return token_->Replace();
  }

  // A database that cannot be opened is a code of NSS's own.
  Reason reason_if_unplugged() const override { return Reason::kHardwareDegraded; }
  // All its tokens have one serial.
  Reason reason_if_replaced() const override { return Reason::kKeyGone; }
  // It says so of keys that it has made itself.
  std::vector<std::string> refused_if_strict() const override { return {"CKA_LOCAL=0"}; }

  Pkcs11KeyProvider::Options options() override {
    return {.uri = NssToken::uri(),
            .pin_file = token_->pin_file(),
            .strict_attributes = false,
            .rejected_pin_file = token_->rejected_pin_file()};
  }
  std::string pin() override { return NssToken::pin(); }

 protected:
  std::unique_ptr<Pkcs11Module> NewModule() override {
    if (isolated_) {
      return std::make_unique<IsolatedPkcs11Module>(
          IsolatedPkcs11Module::Options{.path = NssToken::module_path(),
                                        .init_args = token_->init_args(),
                                        .environment = NssToken::environment()});
    }
    return std::make_unique<InProcessPkcs11Module>(
        InProcessPkcs11Module::Options{.path = NssToken::module_path(),
                                       .init_args = token_->init_args(),
                                       .environment = NssToken::environment()});
  }

 private:
  void Disturb() {
    if (isolated_) {
      KillModuleProcesses();
    } else {
      FinalizeModuleInThisProcess(NssToken::module_path());
    }
  }

  const std::unique_ptr<NssToken> token_;
  const bool isolated_;
};

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeNss(bool isolated) {
  if (isolated) IsolateModules();
  absl::StatusOr<std::unique_ptr<NssToken>> token = NssToken::Create();
  if (!token.ok()) return token.status();
  return std::make_unique<NssUnderTest>(*std::move(token), isolated);
}

const auto kMakers = testing::Values(HardwareMaker{"Nss", [] { return MakeNss(false); }},
                                     HardwareMaker{"IsolatedNss", [] { return MakeNss(true); }});
INSTANTIATE_TEST_SUITE_P(Pkcs11, KeyProviderContract, kMakers, NameOfHardware);
INSTANTIATE_TEST_SUITE_P(Pkcs11, Pkcs11ProviderContract, kMakers, NameOfHardware);

}  // namespace
}  // namespace smartkey
