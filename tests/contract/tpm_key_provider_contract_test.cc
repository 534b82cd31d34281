// SPDX-License-Identifier: Apache-2.0
// The key provider contract on a real swtpm.
#include <memory>
#include <utility>

#include "tests/contract/tpm_hardware.h"

namespace smartkey {
namespace {

class OwnTpmUnderTest : public TpmUnderTest {
 public:
  explicit OwnTpmUnderTest(std::unique_ptr<Swtpm> tpm)
      : TpmUnderTest(*tpm, tpm->tcti()), owned_(std::move(tpm)) {}

 private:
  const std::unique_ptr<Swtpm> owned_;
};

absl::StatusOr<std::unique_ptr<HardwareUnderTest>> MakeTpm() {
  absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
  if (!tpm.ok()) return tpm.status();
  return std::make_unique<OwnTpmUnderTest>(*std::move(tpm));
}

INSTANTIATE_TEST_SUITE_P(Tpm, KeyProviderContract,
                         testing::Values(HardwareMaker{"Swtpm", &MakeTpm}), NameOfHardware);

}  // namespace
}  // namespace smartkey
