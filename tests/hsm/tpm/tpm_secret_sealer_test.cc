// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_secret_sealer.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "base/base64url.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/hsm/tpm/tpm_fixture.h"

namespace smartkey {
namespace {

class TpmSecretSealerTest : public TpmFixture {
 protected:
  static std::string Sealed(TpmKeyProvider& provider, absl::string_view secret) {
    const absl::StatusOr<std::string> sealed =
        provider.secret_sealer()->Seal(Secret::CopyOf(secret));
    EXPECT_TRUE(sealed.ok()) << sealed.status();
    return sealed.value_or("");
  }
  static Reason ReasonOfSealing(TpmKeyProvider& provider, absl::string_view secret) {
    return ReasonOf(provider.secret_sealer()->Seal(Secret::CopyOf(secret)).status());
  }
  // The failure's reason and not the secret: what a test prints is no place for it.
  static Reason Unseals(TpmKeyProvider& provider, absl::string_view sealed,
                        absl::string_view expected) {
    const absl::StatusOr<Secret> secret = provider.secret_sealer()->Unseal(sealed);
    if (!secret.ok()) return ReasonOf(secret.status());
    EXPECT_TRUE(Secret::Equal(*secret, expected));
    return Reason::kUnspecified;
  }
};

TEST_F(TpmSecretSealerTest, SecretsOfAllowedLengths_ComeBack) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  for (const std::string& secret : {std::string("x"), std::string(32, '\0'),
                                    std::string("a\0b\xFF", 4), std::string(128, 's')}) {
    EXPECT_EQ(Unseals(*provider, Sealed(*provider, secret), secret), Reason::kUnspecified);
  }
  EXPECT_EQ(ReasonOfSealing(*provider, std::string(129, 's')), Reason::kInvalidArgument);
  EXPECT_EQ(ReasonOfSealing(*provider, ""), Reason::kInvalidArgument);
}

TEST_F(TpmSecretSealerTest, SealedForm_HasVersionAndParentAndNotTheSecret) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const std::string secret = "a secret that is easy to find";
  const std::string sealed = Sealed(*provider, secret);
  EXPECT_EQ(sealed[0], '\x01');
  EXPECT_EQ(sealed.find(secret), std::string::npos);
  const absl::StatusOr<TpmKeyBlob> blob = ParseTpmSealedBlob(sealed);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(blob->parent_name, ParseTpmKeyBlob(MadeBy(*provider).reference.blob)->parent_name);
  EXPECT_EQ(blob->public_area.publicArea.objectAttributes,
            static_cast<TPMA_OBJECT>(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                     TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA));
}

TEST_F(TpmSecretSealerTest, RebootAndRestart_DoNotMatter) {
  const std::string sealed = Sealed(*Opened(), "secret");
  EXPECT_EQ(Unseals(*Opened(), sealed, "secret"), Reason::kUnspecified);
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  ASSERT_TRUE(tpm_->Restart().ok());
  EXPECT_EQ(Unseals(*provider, sealed, "secret"), Reason::kUnspecified) << "under an open provider";
  ASSERT_TRUE(tpm_->Restart().ok());
  EXPECT_EQ(Unseals(*provider, Sealed(*provider, "another"), "another"), Reason::kUnspecified);
}

TEST_F(TpmSecretSealerTest, AnotherTpm_SaysSo) {
  const std::string sealed = Sealed(*Opened(), "secret");
  ASSERT_TRUE(tpm_->Replace().ok());
  EXPECT_EQ(Unseals(*Opened(), sealed, "secret"), Reason::kKeyLostOtherMachine);
}

TEST_F(TpmSecretSealerTest, ClearedTpm_SaysSo) {
  const std::string sealed = Sealed(*Opened(), "secret");
  Clear();
  EXPECT_EQ(Unseals(*Opened(), sealed, "secret"), Reason::kKeyLostTpmCleared);
}

TEST_F(TpmSecretSealerTest, AnyOctetChanged_NeverGivesAnotherSecret) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const std::string sealed = Sealed(*provider, "secret");
  int refused = 0;
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string tampered = sealed;
    tampered[i] = static_cast<char>(tampered[i] ^ 0x40);
    // Where it is a hint only, the same secret may come out.
    if (Unseals(*provider, tampered, "secret") != Reason::kUnspecified) ++refused;
  }
  EXPECT_GT(refused, static_cast<int>(sealed.size()) - 60) << "all but kind and identities";
  for (const size_t size : {size_t{0}, size_t{1}, sealed.size() / 2, sealed.size() - 1}) {
    EXPECT_EQ(Unseals(*provider, sealed.substr(0, size), ""), Reason::kKeyDamaged);
  }
  EXPECT_EQ(Unseals(*provider, sealed + "x", ""), Reason::kKeyDamaged);
  EXPECT_EQ(Unseals(*provider, sealed, "secret"), Reason::kUnspecified);
}

TEST_F(TpmSecretSealerTest, KeysAndSecrets_AreNotTakenForEachOther) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  EXPECT_EQ(Unseals(*provider, key.reference.blob, ""), Reason::kKeyDamaged);
  CreatedKey sealed = key;
  sealed.reference.blob = Sealed(*provider, "secret");
  EXPECT_EQ(ReasonOf(Signs(*provider, sealed)), Reason::kKeyDamaged);
  EXPECT_EQ(ReasonOf(provider->CheckKey(sealed.reference, key.public_key)), Reason::kKeyDamaged);
}

TEST_F(TpmSecretSealerTest, NothingStaysLoadedAndKeysGoOn) {
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  const CreatedKey key = MadeBy(*provider);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Signs(*provider, key).ok());
    const std::string sealed = Sealed(*provider, "secret");
    EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
    ASSERT_TRUE(Signs(*provider, key).ok());
    EXPECT_EQ(Unseals(*provider, sealed, "secret"), Reason::kUnspecified);
    EXPECT_EQ(Handles(TPM2_TRANSIENT_FIRST), 0u);
  }
  EXPECT_EQ(Handles(TPM2_LOADED_SESSION_FIRST), 0u);
  EXPECT_EQ(Handles(TPM2_PERSISTENT_FIRST), 0u);
}

TEST_F(TpmSecretSealerTest, LockedOut_SealsAndUnseals) {
  const std::string before = Sealed(*Opened(), "secret");
  LockOut();
  std::unique_ptr<TpmKeyProvider> provider = Opened();
  EXPECT_EQ(Unseals(*provider, before, "secret"), Reason::kUnspecified);
  EXPECT_EQ(Unseals(*provider, Sealed(*provider, "another"), "another"), Reason::kUnspecified);
}

// What was sealed by released versions (make_golden_tpm_keys) can be unsealed for ever.
TEST_F(TpmSecretSealerTest, SecretsOfEveryFormat_Unseal) {
  std::set<int> formats;
  for (const auto& release : std::filesystem::directory_iterator(SMARTKEY_FIXTURES)) {
    std::ifstream file(release.path() / "sealed_secret.json");
    if (!file) continue;
    SCOPED_TRACE(release.path().filename().string());
    const nlohmann::json golden = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(golden.is_object());
    const std::string sealed = Base64UrlDecode(golden.value("sealed", "")).value_or("");
    const std::string secret = Base64UrlDecode(golden.value("secret", "")).value_or("");
    ASSERT_FALSE(sealed.empty());
    EXPECT_EQ(sealed.front(), golden.value("format_version", 0));
    formats.insert(sealed.front());
    absl::StatusOr<std::unique_ptr<Swtpm>> tpm =
        Swtpm::StartFrom((release.path() / "swtpm").string());
    ASSERT_TRUE(tpm.ok()) << tpm.status();
    tpm_ = *std::move(tpm);
    EXPECT_EQ(Unseals(*Opened(), sealed, secret), Reason::kUnspecified);
  }
  EXPECT_EQ(formats, std::set<int>{1}) << "a new format wants a fixture";
}

TEST_F(TpmSecretSealerTest, NotOpen_ThereIsNone) {
  EXPECT_EQ(NewProvider()->secret_sealer(), nullptr);
}

}  // namespace
}  // namespace smartkey
