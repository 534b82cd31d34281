// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_reference.h"

#include <random>
#include <string>

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "base/hex.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

Pkcs11KeyReference Example() {
  return {.algorithm = SignatureAlgorithm::kEs384,
          .token = {.label = "clinic", .manufacturer = "Acme", .model = "F1", .serial = "0b1c"},
          .id = std::string("\x00\xff", 2) + "id",
          .label = "smartkeyd:i:r:1"};
}

// Of release 0.2.0. Must be read for ever: keys are found by it.
constexpr absl::string_view kGolden =
    "0102"
    "000430623163"                         // serial
    "0006636c696e6963"                     // label
    "000441636d65"                         // manufacturer
    "00024631"                             // model
    "000400ff6964"                         // CKA_ID
    "000f736d6172746b6579643a693a723a31";  // CKA_LABEL

TEST(Pkcs11KeyReference, Octets_AreThoseOfTheFirstRelease) {
  EXPECT_EQ(absl::BytesToHexString(WritePkcs11KeyReference(Example()).value()), kGolden);
}

TEST(Pkcs11KeyReference, OctetsOfTheFirstRelease_AreRead) {
  const absl::StatusOr<Pkcs11KeyReference> read =
      ParsePkcs11KeyReference(HexDecode(kGolden).value());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->algorithm, SignatureAlgorithm::kEs384);
  EXPECT_EQ(read->token, Example().token);
  EXPECT_EQ(read->id, Example().id);
  EXPECT_EQ(read->label, Example().label);
}

TEST(Pkcs11KeyReference, EachAlgorithm_HasItsNumberForEver) {
  const std::pair<absl::optional<SignatureAlgorithm>, char> numbers[] = {
      {absl::nullopt, 0},
      {SignatureAlgorithm::kEs256, 1},
      {SignatureAlgorithm::kEs384, 2},
      {SignatureAlgorithm::kRs256, 3},
      {SignatureAlgorithm::kRs384, 4},
  };
  for (const auto& [algorithm, number] : numbers) {
    Pkcs11KeyReference reference = Example();
    reference.algorithm = algorithm;
    const std::string bytes = WritePkcs11KeyReference(reference).value();
    EXPECT_EQ(bytes[1], number);
    EXPECT_EQ(ParsePkcs11KeyReference(bytes)->algorithm, algorithm);
  }
}

TEST(Pkcs11KeyReference, CutAnywhere_IsDamaged) {
  const std::string bytes = WritePkcs11KeyReference(Example()).value();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(ReasonOf(ParsePkcs11KeyReference(bytes.substr(0, size)).status()),
              Reason::kKeyDamaged)
        << size;
  }
  EXPECT_EQ(ReasonOf(ParsePkcs11KeyReference(bytes + "x").status()), Reason::kKeyDamaged);
}

TEST(Pkcs11KeyReference, NewerFormat_IsUnavailableNotDamaged) {
  std::string bytes = WritePkcs11KeyReference(Example()).value();
  bytes[0] = 2;
  EXPECT_EQ(ReasonOf(ParsePkcs11KeyReference(bytes).status()), Reason::kKeyUnavailable);
  bytes[0] = 0;
  EXPECT_EQ(ReasonOf(ParsePkcs11KeyReference(bytes).status()), Reason::kKeyDamaged);
}

TEST(Pkcs11KeyReference, UnknownAlgorithmOrNoId_IsDamaged) {
  std::string bytes = WritePkcs11KeyReference(Example()).value();
  bytes[1] = 5;
  EXPECT_EQ(ReasonOf(ParsePkcs11KeyReference(bytes).status()), Reason::kKeyDamaged);
  Pkcs11KeyReference without_id = Example();
  without_id.id.clear();
  EXPECT_FALSE(WritePkcs11KeyReference(without_id).ok());
  EXPECT_EQ(
      ReasonOf(ParsePkcs11KeyReference(std::string("\1\1", 2) + std::string(12, '\0')).status()),
      Reason::kKeyDamaged);
}

TEST(Pkcs11KeyReference, PartsTooLong_AreNotWritten) {
  for (auto change : {+[](Pkcs11KeyReference& r) { r.token.serial = std::string(65, 's'); },
                      +[](Pkcs11KeyReference& r) { r.token.label = std::string(65, 's'); },
                      +[](Pkcs11KeyReference& r) { r.token.model = std::string(65, 's'); },
                      +[](Pkcs11KeyReference& r) { r.token.manufacturer = std::string(65, 's'); },
                      +[](Pkcs11KeyReference& r) { r.id = std::string(256, 's'); },
                      +[](Pkcs11KeyReference& r) { r.label = std::string(1025, 's'); }}) {
    Pkcs11KeyReference reference = Example();
    change(reference);
    EXPECT_EQ(ReasonOf(WritePkcs11KeyReference(reference).status()), Reason::kInternal);
  }
}

TEST(Pkcs11KeyReference, AnyOctets_AreRefusedOrWrittenBackTheSame) {
  std::mt19937 random(7);
  const std::string example = WritePkcs11KeyReference(Example()).value();
  int accepted = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::string bytes = example;
    for (int change = 0; change < 3; ++change) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    const absl::StatusOr<Pkcs11KeyReference> read = ParsePkcs11KeyReference(bytes);
    if (!read.ok()) continue;
    ++accepted;
    ASSERT_EQ(WritePkcs11KeyReference(*read).value(), bytes);
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace smartkey
