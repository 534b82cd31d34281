// SPDX-License-Identifier: Apache-2.0
// The key provider contract on tpm2-pkcs11, over a real swtpm behind tpm2-abrmd. In a process of
// its own: it is configured by environment variables, and GLib's connection to a bus is for ever.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

  // The module's C_Initialize says "general error" without a TPM.
  Reason reason_if_unplugged() const override { return Reason::kHardwareDegraded; }
  // All its tokens have one serial.
  Reason reason_if_replaced() const override { return Reason::kKeyGone; }
  // It refuses to be told otherwise.
  std::vector<std::string> refused_if_strict() const override { return {"CKA_DECRYPT=1"}; }
  int most_creations() const override { return 3; }

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

// It never unloads what it has loaded, and a resource manager has room for so much (27 objects).
TEST(Tpm2Pkcs11, MoreKeysThanTheResourceManagerHasRoomFor_NeedOnlyANewOpening) {
  const absl::StatusOr<std::unique_ptr<HardwareUnderTest>> token = MakeTpm2Pkcs11();
  ASSERT_TRUE(token.ok()) << token.status();
  const std::unique_ptr<KeyProvider> provider = (*token)->NewProvider("contract");
  ASSERT_TRUE(provider->Open().ok());
  int made = 0;
  absl::Status status;
  while (status.ok() && made < 28) {
    status = provider
                 ->CreateKey(SignatureAlgorithm::kEs256,
                             absl::StrCat("smartkeyd:contract:registration", made, ":1"))
                 .status();
    if (status.ok()) ++made;
  }
  EXPECT_GE(made, (*token)->most_creations());
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded) << status;
  ASSERT_TRUE(provider->Open().ok());
  const absl::StatusOr<CreatedKey> key =
      provider->CreateKey(SignatureAlgorithm::kEs256, "smartkeyd:contract:another:1");
  ASSERT_TRUE(key.ok()) << key.status();
  const absl::StatusOr<std::string> signature =
      provider->Sign(key->reference, key->public_key, key->algorithm, "message");
  ASSERT_TRUE(signature.ok()) << signature.status();
  EXPECT_TRUE(VerifySignature(key->public_key, key->algorithm, "message", *signature));
}

}  // namespace
}  // namespace smartkey
