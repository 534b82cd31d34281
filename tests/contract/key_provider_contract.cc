// SPDX-License-Identifier: Apache-2.0
#include "tests/contract/key_provider_contract.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "hsm/thumbprint.h"

namespace smartkey {

void KeyProviderContract::SetUp() {
  absl::StatusOr<std::unique_ptr<HardwareUnderTest>> hardware = GetParam().make();
  ASSERT_TRUE(hardware.ok()) << hardware.status();
  hardware_ = *std::move(hardware);
  absl::StatusOr<std::string> leftovers = hardware_->Leftovers();
  ASSERT_TRUE(leftovers.ok()) << leftovers.status();
  leftovers_before_ = *leftovers;
}

void KeyProviderContract::TearDown() {
  if (hardware_ == nullptr || !hardware_is_there_) return;
  absl::StatusOr<std::string> leftovers = hardware_->Leftovers();
  ASSERT_TRUE(leftovers.ok()) << leftovers.status();
  EXPECT_EQ(*leftovers, leftovers_before_);
}

std::unique_ptr<KeyProvider> KeyProviderContract::Opened(const std::string& instance) {
  std::unique_ptr<KeyProvider> provider = hardware_->NewProvider(instance);
  const absl::StatusOr<ProviderCapabilities> capabilities = provider->Open();
  EXPECT_TRUE(capabilities.ok()) << capabilities.status();
  return provider;
}

std::string KeyProviderContract::Label(const std::string& instance) {
  return absl::StrCat("smartkeyd:", instance, ":registration", ++labels_, ":1");
}

std::string NameOfHardware(const testing::TestParamInfo<HardwareMaker>& info) {
  return info.param.name;
}

namespace {

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;

size_t SignatureSize(const PublicKey& key) {
  return key.type == KeyType::kRsa ? key.n.size() : 2 * FieldSize(key.type);
}

// Signs and lets OpenSSL judge.
testing::AssertionResult Signs(KeyProvider& provider, const CreatedKey& key,
                               absl::string_view message) {
  const absl::StatusOr<std::string> signature =
      provider.Sign(key.reference, key.public_key, key.algorithm, message);
  if (!signature.ok()) return testing::AssertionFailure() << signature.status();
  if (signature->size() != SignatureSize(key.public_key)) {
    return testing::AssertionFailure() << "signature of " << signature->size() << " octets";
  }
  if (!VerifySignature(key.public_key, key.algorithm, message, *signature)) {
    return testing::AssertionFailure() << "wrong signature";
  }
  return testing::AssertionSuccess();
}

Reason ReasonOfSigning(KeyProvider& provider, const CreatedKey& key) {
  return ReasonOf(provider.Sign(key.reference, key.public_key, key.algorithm, "message").status());
}

TEST_P(KeyProviderContract, Opened_NamesHardwareAndAlgorithms) {
  std::unique_ptr<KeyProvider> provider = NewProvider();
  const absl::StatusOr<ProviderCapabilities> capabilities = provider->Open();
  ASSERT_TRUE(capabilities.ok()) << capabilities.status();
  EXPECT_FALSE(capabilities->hardware.empty());
  EXPECT_EQ(capabilities->algorithms, hardware_->algorithms());
}

TEST_P(KeyProviderContract, NotOpened_EveryCallSaysAbsent) {
  std::unique_ptr<KeyProvider> provider = NewProvider();
  const KeyReference reference;
  EXPECT_EQ(ReasonOf(provider->CreateKey(kEs256, Label()).status()), Reason::kHardwareAbsent);
  EXPECT_EQ(ReasonOf(provider->CheckKey(reference, {})), Reason::kHardwareAbsent);
  EXPECT_EQ(ReasonOf(provider->Sign(reference, {}, kEs256, "").status()), Reason::kHardwareAbsent);
  EXPECT_EQ(ReasonOf(provider->DestroyKey(reference)), Reason::kHardwareAbsent);
  EXPECT_EQ(ReasonOf(provider->ListKeys().status()), Reason::kHardwareAbsent);
}

TEST_P(KeyProviderContract, CreatedKey_ShowsWhatTheHardwareSaysOfIt) {
  std::unique_ptr<KeyProvider> provider = Opened();
  for (const SignatureAlgorithm algorithm : hardware_->algorithms()) {
    SCOPED_TRACE(AlgorithmName(algorithm));
    const absl::StatusOr<CreatedKey> key = provider->CreateKey(algorithm, Label());
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ(key->algorithm, algorithm);
    EXPECT_EQ(key->public_key.type, KeyTypeFor(algorithm));
    EXPECT_EQ(key->public_key.x.size(), FieldSize(key->public_key.type));
    EXPECT_EQ(key->public_key.y.size(), FieldSize(key->public_key.type));
    if (key->public_key.type == KeyType::kRsa) {
      EXPECT_EQ(key->public_key.n.size(), 256u);
      EXPECT_EQ(key->public_key.e, std::string("\x01\x00\x01", 3));
    }
    for (const KeyAttribute& required : hardware_->required_attributes()) {
      bool found = false;
      for (const KeyAttribute& attribute : key->attributes) {
        if (attribute.name != required.name) continue;
        found = true;
        EXPECT_EQ(attribute.value, required.value) << required.name;
      }
      EXPECT_TRUE(found) << required.name;
    }
  }
}

TEST_P(KeyProviderContract, KeyMadeBeforeRestart_SignsAfterIt) {
  for (const SignatureAlgorithm algorithm : hardware_->algorithms()) {
    SCOPED_TRACE(AlgorithmName(algorithm));
    absl::StatusOr<CreatedKey> key = Opened()->CreateKey(algorithm, Label());
    ASSERT_TRUE(key.ok()) << key.status();
    std::unique_ptr<KeyProvider> restarted = Opened();
    EXPECT_TRUE(restarted->CheckKey(key->reference, key->public_key).ok());
    EXPECT_TRUE(Signs(*restarted, *key, "after the restart"));
  }
}

TEST_P(KeyProviderContract, KeyMadeBeforeReboot_SignsAfterIt) {
  absl::StatusOr<CreatedKey> key = Opened()->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  ASSERT_TRUE(hardware_->Reboot().ok());
  EXPECT_TRUE(Signs(*Opened(), *key, "after the reboot"));
}

TEST_P(KeyProviderContract, HardwareResetUnderAnOpenProvider_SignsAgainAfterAtMostOneReopening) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  ASSERT_TRUE(Signs(*provider, *key, "before"));
  ASSERT_TRUE(hardware_->Reboot().ok());
  const absl::StatusOr<std::string> signature =
      provider->Sign(key->reference, key->public_key, key->algorithm, "after");
  if (!signature.ok()) {
    const Reason reason = ReasonOf(signature.status());
    EXPECT_TRUE(reason == Reason::kHardwareDegraded || reason == Reason::kHardwareAbsent)
        << signature.status();
    ASSERT_TRUE(provider->Open().ok());
  }
  EXPECT_TRUE(Signs(*provider, *key, "after"));
}

TEST_P(KeyProviderContract, FiveHundredSignatures_AreOfFixedWidthAndRight) {
  // Each r and s of an ECDSA signature begins with a zero octet once in 256 times: 500 signatures
  // without one are less likely than one in fifty, so short integers are met.
  std::unique_ptr<KeyProvider> provider = Opened();
  for (const SignatureAlgorithm algorithm : hardware_->algorithms()) {
    SCOPED_TRACE(AlgorithmName(algorithm));
    absl::StatusOr<CreatedKey> key = provider->CreateKey(algorithm, Label());
    ASSERT_TRUE(key.ok()) << key.status();
    for (int i = 0; i < 500; ++i) ASSERT_TRUE(Signs(*provider, *key, absl::StrCat("message ", i)));
  }
}

TEST_P(KeyProviderContract, MessagesOfAnyLength_AreHashedInside) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_TRUE(Signs(*provider, *key, ""));
  EXPECT_TRUE(Signs(*provider, *key, std::string(32, '\0')));  // as long as a digest
  EXPECT_TRUE(Signs(*provider, *key, std::string(100'000, 'x')));
}

TEST_P(KeyProviderContract, TenKeysInTurn_AllSign) {
  std::unique_ptr<KeyProvider> provider = Opened();
  int creations = 0;
  const auto create = [&] {
    if (creations++ == hardware_->most_creations()) {
      EXPECT_TRUE(provider->Open().ok());
      creations = 1;
    }
    return provider->CreateKey(kEs256, Label());
  };
  std::vector<CreatedKey> keys;
  for (int i = 0; i < 10; ++i) {
    absl::StatusOr<CreatedKey> key = create();
    ASSERT_TRUE(key.ok()) << key.status();
    keys.push_back(*std::move(key));
  }
  for (int round = 0; round < 3; ++round) {
    for (const CreatedKey& key : keys) ASSERT_TRUE(Signs(*provider, key, "in turn"));
    // Making and checking keys between signatures takes room, too.
    ASSERT_TRUE(create().ok());
    ASSERT_TRUE(provider->CheckKey(keys[3].reference, keys[3].public_key).ok());
  }
}

TEST_P(KeyProviderContract, AnotherPublicKeyExpected_IsRefused) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  absl::StatusOr<CreatedKey> other = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok() && other.ok());
  ASSERT_TRUE(Signs(*provider, *key, "loaded, if the provider keeps keys loaded"));
  CreatedKey mixed = *key;
  mixed.public_key = other->public_key;
  EXPECT_EQ(ReasonOfSigning(*provider, mixed), Reason::kKeyDamaged);
  EXPECT_EQ(ReasonOf(provider->CheckKey(mixed.reference, mixed.public_key)), Reason::kKeyDamaged);
  EXPECT_TRUE(Signs(*provider, *key, "still there"));
}

TEST_P(KeyProviderContract, AnotherAlgorithmThanTheKeys_IsRefused) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  const auto signature =
      provider->Sign(key->reference, key->public_key, SignatureAlgorithm::kEs384, "message");
  EXPECT_EQ(ReasonOf(signature.status()), Reason::kAlgorithmUnsupported) << signature.status();
}

TEST_P(KeyProviderContract, ReferenceOfAnotherProvider_IsUnavailableNotLost) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  key->reference.provider = "another";
  EXPECT_EQ(ReasonOfSigning(*provider, *key), Reason::kKeyUnavailable);
}

TEST_P(KeyProviderContract, TamperedReference_IsRefused) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  // Every octet would take long: the ends, and a walk through all parts with a step that fits none.
  const size_t size = key->reference.blob.size();
  for (size_t i = 0; i < size; i += (i < 4 || i + 4 >= size) ? 1 : 7) {
    CreatedKey tampered = *key;
    tampered.reference.blob[i] = static_cast<char>(tampered.reference.blob[i] ^ 0x40);
    const auto signature = provider->Sign(tampered.reference, key->public_key, kEs256, "message");
    // Where it holds hints only, the same key may be found; never another, and never by crashing.
    if (signature.ok()) {
      EXPECT_TRUE(VerifySignature(key->public_key, kEs256, "message", *signature)) << "octet " << i;
    }
  }
  CreatedKey cut = *key;
  cut.reference.blob.resize(size / 2);
  EXPECT_NE(ReasonOfSigning(*provider, cut), Reason::kUnspecified);
  cut.reference.blob.clear();
  EXPECT_NE(ReasonOfSigning(*provider, cut), Reason::kUnspecified);
  EXPECT_TRUE(Signs(*provider, *key, "untouched"));
}

TEST_P(KeyProviderContract, KeyOfReplacedHardware_IsSaidToBeElsewhere) {
  absl::StatusOr<CreatedKey> key = Opened()->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  ASSERT_TRUE(hardware_->Replace().ok());
  std::unique_ptr<KeyProvider> provider = Opened();
  const Reason wanted = hardware_->reason_if_replaced();
  EXPECT_EQ(ReasonOf(provider->CheckKey(key->reference, key->public_key)), wanted);
  EXPECT_EQ(ReasonOfSigning(*provider, *key), wanted);
  // Where a replacement can be told, the key is still in what was taken out.
  const bool told = wanted == Reason::kKeyUnavailable;
  EXPECT_EQ(ReasonOf(provider->DestroyKey(key->reference)), told ? wanted : Reason::kUnspecified);
}

TEST_P(KeyProviderContract, DestroyedKey_IsNowhereInTheHardware) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  ASSERT_TRUE(Signs(*provider, *key, "before"));
  EXPECT_TRUE(provider->DestroyKey(key->reference).ok());
  EXPECT_TRUE(provider->DestroyKey(key->reference).ok()) << "absent is success";
  const absl::StatusOr<KeyInventory> listed = provider->ListKeys();
  ASSERT_TRUE(listed.ok());
  EXPECT_TRUE(listed->keys.empty());
  if (hardware_->stores_keys()) {
    EXPECT_EQ(ReasonOf(provider->CheckKey(key->reference, key->public_key)), Reason::kKeyGone);
  }
  // Wrapped keys end with their blob; TearDown sees that the hardware keeps nothing of it.
}

TEST_P(KeyProviderContract, DestroyedKey_LeavesTheOthersAlone) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  absl::StatusOr<CreatedKey> other = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok() && other.ok());
  ASSERT_TRUE(Signs(*provider, *key, "before") && Signs(*provider, *other, "before"));
  EXPECT_TRUE(provider->DestroyKey(key->reference).ok());
  EXPECT_TRUE(Signs(*provider, *other, "after"));
  EXPECT_TRUE(Signs(*Opened(), *other, "after a restart"));
}

TEST_P(KeyProviderContract, KeyOfAnotherProvider_IsNotCalledDestroyed) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  KeyReference elsewhere = key->reference;
  elsewhere.provider = "another";
  EXPECT_EQ(ReasonOf(provider->DestroyKey(elsewhere)), Reason::kKeyUnavailable);
  EXPECT_TRUE(Signs(*provider, *key, "still there"));
}

TEST_P(KeyProviderContract, StoredKeys_AreListedAndCanBeDestroyedByTheList) {
  std::unique_ptr<KeyProvider> provider = Opened();
  std::map<std::string, CreatedKey> made;  // by label
  for (const SignatureAlgorithm algorithm : hardware_->algorithms()) {
    const std::string label = Label();
    absl::StatusOr<CreatedKey> key = provider->CreateKey(algorithm, label);
    ASSERT_TRUE(key.ok()) << key.status();
    made[label] = *std::move(key);
  }
  const absl::StatusOr<KeyInventory> listed = Opened()->ListKeys();
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_EQ(listed->keys.size(), hardware_->stores_keys() ? made.size() : 0);
  EXPECT_EQ(listed->of_other_instances, 0);
  for (const ListedKey& key : listed->keys) {
    ASSERT_EQ(made.count(key.label), 1u) << key.label;
    const CreatedKey& as_made = made[key.label];
    EXPECT_EQ(key.id, Thumbprint(as_made.public_key));
    // A token does not keep which hash an RSA key is for.
    if (as_made.public_key.type != KeyType::kRsa) {
      EXPECT_EQ(key.reference, as_made.reference);
    }
    CreatedKey as_listed = as_made;
    as_listed.reference = key.reference;
    EXPECT_TRUE(Signs(*provider, as_listed, "message"));
    EXPECT_TRUE(provider->DestroyKey(key.reference).ok());
    EXPECT_EQ(ReasonOfSigning(*provider, as_made), Reason::kKeyGone);
  }
  EXPECT_TRUE(provider->ListKeys()->keys.empty());
}

TEST_P(KeyProviderContract, TwoInstancesOnTheSameHardware_LeaveEachOthersKeysAlone) {
  absl::StatusOr<CreatedKey> ours = Opened()->CreateKey(kEs256, Label());
  ASSERT_TRUE(ours.ok()) << ours.status();
  {
    std::unique_ptr<KeyProvider> neighbour = Opened("neighbour");
    absl::StatusOr<CreatedKey> theirs = neighbour->CreateKey(kEs256, Label("neighbour"));
    ASSERT_TRUE(theirs.ok()) << theirs.status();
    EXPECT_TRUE(Signs(*neighbour, *theirs, "message"));
    const absl::StatusOr<KeyInventory> listed = neighbour->ListKeys();
    ASSERT_TRUE(listed.ok()) << listed.status();
    EXPECT_EQ(listed->keys.size(), hardware_->stores_keys() ? 1u : 0u);
    EXPECT_EQ(listed->of_other_instances, hardware_->stores_keys() ? 1 : 0);
    // Where nothing is stored there is nothing to destroy.
    const Reason wanted = hardware_->stores_keys() ? Reason::kKeyUnavailable : Reason::kUnspecified;
    EXPECT_EQ(ReasonOf(neighbour->DestroyKey(ours->reference)), wanted);
    EXPECT_TRUE(neighbour->DestroyKey(theirs->reference).ok());
  }
  EXPECT_TRUE(Signs(*Opened(), *ours, "still there"));
}

TEST_P(KeyProviderContract, UnpluggedBeforeOpen_IsAbsentAndOpensOncePluggedIn) {
  std::unique_ptr<KeyProvider> provider = NewProvider();
  hardware_->Unplug();
  const absl::StatusOr<ProviderCapabilities> capabilities = provider->Open();
  EXPECT_EQ(ReasonOf(capabilities.status()), hardware_->reason_if_unplugged())
      << capabilities.status();
  ASSERT_TRUE(hardware_->PlugIn().ok());
  ASSERT_TRUE(provider->Open().ok());
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_TRUE(Signs(*provider, *key, "message"));
}

TEST_P(KeyProviderContract, UnpluggedWhileOpen_SaysSoAndRecoversByOpen) {
  std::unique_ptr<KeyProvider> provider = Opened();
  absl::StatusOr<CreatedKey> key = provider->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok()) << key.status();
  ASSERT_TRUE(Signs(*provider, *key, "before"));
  hardware_->Unplug();
  const Reason reason = ReasonOfSigning(*provider, *key);
  EXPECT_TRUE(reason == Reason::kHardwareAbsent || reason == Reason::kHardwareDegraded)
      << ReasonName(reason);
  EXPECT_FALSE(provider->Open().ok());
  ASSERT_TRUE(hardware_->PlugIn().ok());
  ASSERT_TRUE(provider->Open().ok());
  EXPECT_TRUE(Signs(*provider, *key, "after"));
}

}  // namespace
}  // namespace smartkey
