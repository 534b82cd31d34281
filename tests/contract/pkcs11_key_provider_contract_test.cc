// SPDX-License-Identifier: Apache-2.0
// The key provider contract on SoftHSM2, loaded into this process.
#include <memory>
#include <string>
#include <utility>

#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "tests/contract/pkcs11_hardware.h"
#include "tests/support/softhsm.h"

namespace smartkey {
namespace {

class SoftHsmUnderTest : public Pkcs11HardwareUnderTest {
 public:
  explicit SoftHsmUnderTest(std::unique_ptr<SoftHsm> hsm) : hsm_(std::move(hsm)) {}

  absl::Status Reboot() override {
    FinalizeModuleInThisProcess(SoftHsm::module_path());
    return absl::OkStatus();
  }
  void Unplug() override {
    // The files alone would not be missed: an initialized SoftHSM2 has them open.
    FinalizeModuleInThisProcess(SoftHsm::module_path());
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
    return std::make_unique<InProcessPkcs11Module>(InProcessPkcs11Module::Options{
        .path = SoftHsm::module_path(), .environment = hsm_->environment()});
  }

 private:
  std::unique_ptr<SoftHsm> hsm_;
};

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeSoftHsm() {
  absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
  if (!hsm.ok()) return hsm.status();
  return std::make_unique<SoftHsmUnderTest>(*std::move(hsm));
}

INSTANTIATE_TEST_SUITE_P(Pkcs11, KeyProviderContract,
                         testing::Values(HardwareMaker{"SoftHsm", &MakeSoftHsm}), NameOfHardware);
INSTANTIATE_TEST_SUITE_P(Pkcs11, Pkcs11ProviderContract,
                         testing::Values(HardwareMaker{"SoftHsm", &MakeSoftHsm}), NameOfHardware);

}  // namespace
}  // namespace smartkey
