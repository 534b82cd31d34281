// SPDX-License-Identifier: Apache-2.0
// The key provider contract on SoftHSM2 in a process of its own.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/isolated_pkcs11_hardware.h"
#include "tests/contract/pkcs11_hardware.h"
#include "tests/support/softhsm.h"

namespace smartkey {
namespace {

class IsolatedSoftHsm : public Pkcs11HardwareUnderTest {
 public:
  explicit IsolatedSoftHsm(std::unique_ptr<SoftHsm> hsm) : hsm_(std::move(hsm)) {}

  absl::Status Reboot() override {
    KillModuleProcesses();
    return absl::OkStatus();
  }
  void Unplug() override {
    // The files alone would not be missed: an initialized SoftHSM2 has them open.
    KillModuleProcesses();
    EXPECT_TRUE(hsm_->Unplug().ok());
  }
  absl::Status PlugIn() override { return hsm_->PlugIn(); }
  absl::Status Replace() override { return hsm_->Replace(); }

  std::vector<KeyAttribute> required_attributes() const override {
    std::vector<KeyAttribute> attributes = Pkcs11HardwareUnderTest::required_attributes();
    for (const char* never : {"CKA_DECRYPT", "CKA_UNWRAP", "CKA_SIGN_RECOVER", "CKA_DERIVE"}) {
      attributes.push_back({never, false});
    }
    attributes.push_back({"CKA_LOCAL", true});
    return attributes;
  }
  Pkcs11KeyProvider::Options options() override {
    return {.uri = hsm_->uri(),
            .pin_file = hsm_->pin_file(),
            .rejected_pin_file = hsm_->rejected_pin_file()};
  }
  std::string pin() override { return SoftHsm::pin(); }

 protected:
  std::unique_ptr<Pkcs11Module> NewModule() override {
    return std::make_unique<IsolatedPkcs11Module>(IsolatedPkcs11Module::Options{
        .path = SoftHsm::module_path(), .environment = hsm_->environment()});
  }

 private:
  const std::unique_ptr<SoftHsm> hsm_;
};

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeIsolatedSoftHsm() {
  IsolateModules();
  absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
  if (!hsm.ok()) return hsm.status();
  return std::make_unique<IsolatedSoftHsm>(*std::move(hsm));
}

const auto kMakers = testing::Values(HardwareMaker{"IsolatedSoftHsm", &MakeIsolatedSoftHsm});
INSTANTIATE_TEST_SUITE_P(Pkcs11, KeyProviderContract, kMakers, NameOfHardware);
INSTANTIATE_TEST_SUITE_P(Pkcs11, Pkcs11ProviderContract, kMakers, NameOfHardware);

}  // namespace
}  // namespace smartkey
