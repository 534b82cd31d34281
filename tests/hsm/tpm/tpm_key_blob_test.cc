// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_key_blob.h"

#include <random>

#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/tpm/tpm_key_template.h"

namespace smartkey {
namespace {

TpmKeyBlob Example(SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256) {
  TpmKeyBlob blob;
  blob.parent_kind = TpmParentKind::kTransientEccV1;
  blob.template_id = static_cast<uint16_t>(TemplateIdFor(algorithm));
  blob.parent_name = "\x00\x0b" + std::string(32, 'n');
  blob.tpm_identity = std::string(16, 't');
  blob.machine_identity = std::string(16, 'm');
  blob.public_area = SigningKeyTemplate(algorithm);
  if (KeyTypeFor(algorithm) == KeyType::kRsa) {
    blob.public_area.publicArea.unique.rsa.size = 256;
  } else {
    blob.public_area.publicArea.unique.ecc.x.size = 32;
    blob.public_area.publicArea.unique.ecc.y.size = 32;
  }
  blob.private_area.size = 100;
  return blob;
}

// Where the parts of Example() begin.
constexpr size_t kKindAt = 1;
constexpr size_t kTemplateAt = 2;
constexpr size_t kNameAt = 4;

TEST(TpmKeyBlob, WrittenBlob_IsReadBack) {
  for (const SignatureAlgorithm algorithm :
       {SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs384}) {
    const TpmKeyBlob blob = Example(algorithm);
    const std::string bytes = WriteTpmKeyBlob(blob).value();
    EXPECT_EQ(bytes[0], 1) << "the format version comes first";
    const absl::StatusOr<TpmKeyBlob> read = ParseTpmKeyBlob(bytes);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->parent_kind, blob.parent_kind);
    EXPECT_EQ(read->template_id, blob.template_id);
    EXPECT_EQ(read->parent_name, blob.parent_name);
    EXPECT_EQ(read->tpm_identity, blob.tpm_identity);
    EXPECT_EQ(read->machine_identity, blob.machine_identity);
    EXPECT_EQ(WriteTpmKeyBlob(*read).value(), bytes);
  }
}

TEST(TpmKeyBlob, EmptyIdentities_AreAllowedAndAnEmptyNameIsNot) {
  TpmKeyBlob blob = Example();
  blob.tpm_identity.clear();
  blob.machine_identity.clear();
  EXPECT_TRUE(ParseTpmKeyBlob(WriteTpmKeyBlob(blob).value()).ok());
  blob.parent_name.clear();
  EXPECT_FALSE(WriteTpmKeyBlob(blob).ok());
}

TEST(TpmKeyBlob, TooLongParts_AreNotWritten) {
  TpmKeyBlob blob = Example();
  blob.parent_name = std::string(100, 'n');
  EXPECT_FALSE(WriteTpmKeyBlob(blob).ok());
  blob = Example();
  blob.tpm_identity = std::string(33, 't');
  EXPECT_FALSE(WriteTpmKeyBlob(blob).ok());
}

TEST(TpmKeyBlob, CutAtAnyOctet_IsDamaged) {
  const std::string bytes = WriteTpmKeyBlob(Example()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes.substr(0, size)).status()), Reason::kKeyDamaged)
        << size;
  }
}

TEST(TpmKeyBlob, OctetsAfterTheEnd_AreDamage) {
  const std::string bytes = WriteTpmKeyBlob(Example()).value();
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes + '\0').status()), Reason::kKeyDamaged);
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes + bytes).status()), Reason::kKeyDamaged);
}

TEST(TpmKeyBlob, NewerVersion_IsUnavailableNotLost) {
  std::string bytes = WriteTpmKeyBlob(Example()).value();
  bytes[0] = 2;
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes).status()), Reason::kKeyUnavailable);
  bytes[0] = 0;
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes).status()), Reason::kKeyDamaged);
}

TEST(TpmKeyBlob, UnknownParentOrTemplate_IsDamage) {
  std::string bytes = WriteTpmKeyBlob(Example()).value();
  bytes[kKindAt] = 3;
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes).status()), Reason::kKeyDamaged);
  bytes = WriteTpmKeyBlob(Example()).value();
  for (const char id : {0, 2, 3, 4, 5, 100}) {  // all but ES256's own
    bytes[kTemplateAt + 1] = id;
    EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(bytes).status()), Reason::kKeyDamaged) << int{id};
  }
}

TEST(TpmKeyBlob, LengthsThatLie_AreDamage) {
  const std::string bytes = WriteTpmKeyBlob(Example()).value();
  for (const char high : {'\x00', '\x01', '\x7F', '\xFF'}) {
    std::string lying = bytes;
    lying[kNameAt] = high;
    lying[kNameAt + 1] = '\xFF';
    EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(lying).status()), Reason::kKeyDamaged);
  }
}

TEST(TpmKeyBlob, KeyThatIsNotOfOurMaking_IsDamage) {
  TpmKeyBlob blob = Example();
  blob.public_area.publicArea.objectAttributes &= ~TPMA_OBJECT_FIXEDTPM;
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(WriteTpmKeyBlob(blob).value()).status()), Reason::kKeyDamaged);
  blob = Example();
  blob.public_area.publicArea.objectAttributes |= TPMA_OBJECT_DECRYPT;
  EXPECT_EQ(ReasonOf(ParseTpmKeyBlob(WriteTpmKeyBlob(blob).value()).status()), Reason::kKeyDamaged);
}

TEST(TpmKeyBlob, AnyOctetChanged_IsEitherRefusedOrReadAsWritten) {
  const std::string bytes = WriteTpmKeyBlob(Example()).value();
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      const absl::StatusOr<TpmKeyBlob> read = ParseTpmKeyBlob(changed);
      if (read.ok()) {
        EXPECT_EQ(WriteTpmKeyBlob(*read).value(), changed) << i;
      }
    }
  }
}

TEST(TpmKeyBlob, Garbage_IsRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string garbage(random() % 300, '\0');
    for (char& octet : garbage) octet = static_cast<char>(random());
    if (!garbage.empty()) garbage[0] = 1;
    EXPECT_FALSE(ParseTpmKeyBlob(garbage).ok());
  }
}

}  // namespace
}  // namespace smartkey
