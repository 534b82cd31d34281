// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/key_provider.h"

namespace smartkey {

// A piece of hardware that a test may do anything to. What every key provider's tests say of
// theirs, so that one suite can be run on all.
class HardwareUnderTest {
 public:
  virtual ~HardwareUnderTest() = default;

  // A new provider object on this hardware, not opened: what a restarted daemon has. `instance` is
  // whose keys it makes, for hardware that stores labels.
  virtual std::unique_ptr<KeyProvider> NewProvider(const std::string& instance) = 0;

  // Power off and on: what is written down stays, what was loaded does not.
  virtual absl::Status Reboot() = 0;
  // Takes it away, and brings it back.
  virtual void Unplug() = 0;
  virtual absl::Status PlugIn() = 0;
  // Puts another, new piece of the same make in its place.
  virtual absl::Status Replace() = 0;

  // What is inside beside keys that it stores by design: objects, sessions. Must be the same before
  // and after, while no provider is open. For people when it differs.
  virtual absl::StatusOr<std::string> Leftovers() = 0;

  // Algorithms it is known to have.
  virtual std::vector<SignatureAlgorithm> algorithms() const = 0;
  // What Open says while it is unplugged: kHardwareDegraded where the driver cannot tell what is
  // wrong.
  virtual Reason reason_if_unplugged() const { return Reason::kHardwareAbsent; }
  // What a key is after Replace(). A token is told from another by its serial; a TPM that is
  // another one is not put back as easily.
  virtual Reason reason_if_replaced() const {
    return stores_keys() ? Reason::kKeyUnavailable : Reason::kKeyLostOtherMachine;
  }
  // How many keys can be made before its driver has to be opened anew.
  virtual int most_creations() const { return std::numeric_limits<int>::max(); }
  // Whether it stores keys itself (PKCS#11) or hands them out wrapped (TPM).
  virtual bool stores_keys() const = 0;
  // The attributes that CreatedKey must show, by name.
  virtual std::vector<KeyAttribute> required_attributes() const = 0;
};

// Makes new hardware for one test, ready for a first Open. Name and maker of each are the
// parameter.
struct HardwareMaker {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<HardwareUnderTest>>()> make;
};

// Names a test in ctest.
inline void PrintTo(const HardwareMaker& maker, std::ostream* out) {
  *out << maker.name;
}

// What every key provider must do. Instantiate it in a file of the provider's own and compile
// key_provider_contract.cc into the same program:
//
//   INSTANTIATE_TEST_SUITE_P(Tpm, KeyProviderContract, testing::Values(HardwareMaker{...}),
//                            NameOfHardware);
class KeyProviderContract : public testing::TestWithParam<HardwareMaker> {
 protected:
  void SetUp() override;
  // Also checks that nothing was left inside the hardware.
  void TearDown() override;

  static constexpr char kInstance[] = "contract";

  std::unique_ptr<KeyProvider> NewProvider() { return hardware_->NewProvider(kInstance); }
  // A provider that is open. Fails the test otherwise.
  std::unique_ptr<KeyProvider> Opened(const std::string& instance = kInstance);
  // A label for a new key: another each time, as the daemon's are.
  std::string Label(const std::string& instance = kInstance);

  std::unique_ptr<HardwareUnderTest> hardware_;
  std::string leftovers_before_;
  bool hardware_is_there_ = true;  // false: TearDown cannot look inside
  int labels_ = 0;
};

std::string NameOfHardware(const testing::TestParamInfo<HardwareMaker>& info);

}  // namespace smartkey
