// SPDX-License-Identifier: Apache-2.0
#include "hsm/ecdsa_signature.h"

#include "base/error.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

std::string Octets(size_t count, char octet) {
  return std::string(count, octet);
}

TEST(JoseFromIntegers, FullIntegersArePutSideBySide) {
  EXPECT_EQ(JoseFromIntegers(Octets(32, 'r'), Octets(32, 's'), 32).value(),
            Octets(32, 'r') + Octets(32, 's'));
}

TEST(JoseFromIntegers, ShortIntegersArePaddedOnTheLeft) {
  EXPECT_EQ(JoseFromIntegers("r", Octets(31, 's'), 32).value(),
            Octets(31, '\0') + "r" + Octets(1, '\0') + Octets(31, 's'));
}

TEST(JoseFromIntegers, ZeroOctetsInFrontAreNotCounted) {
  // As in DER, where an integer with the highest bit set begins with a zero octet.
  EXPECT_EQ(
      JoseFromIntegers(Octets(1, '\0') + Octets(48, '\xFF'), Octets(5, '\0') + "s", 48).value(),
      Octets(48, '\xFF') + Octets(47, '\0') + "s");
}

TEST(JoseFromIntegers, IntegersNoSignatureHas_AreRefused) {
  const std::string good = Octets(32, 'x');
  for (const std::string& bad :
       {std::string(), Octets(1, '\0'), Octets(32, '\0'), Octets(33, 'x')}) {
    EXPECT_EQ(ReasonOf(JoseFromIntegers(bad, good, 32).status()), Reason::kSignatureWrong);
    EXPECT_EQ(ReasonOf(JoseFromIntegers(good, bad, 32).status()), Reason::kSignatureWrong);
  }
}

TEST(DerFromJose, IntegersAreMinimalAndPositive) {
  const std::string jose = Octets(31, '\0') + "\x7F" + Octets(30, '\0') + "\x80" + "\x01";
  EXPECT_EQ(DerFromJose(jose, 32).value(),
            std::string("\x30\x08\x02\x01\x7F\x02\x03\x00\x80\x01", 10));
}

TEST(DerFromJose, WrongLengthOrZero_IsRefused) {
  for (const size_t size : {0, 1, 63, 65, 96}) {
    EXPECT_EQ(ReasonOf(DerFromJose(Octets(size, 'x'), 32).status()), Reason::kSignatureWrong);
  }
  EXPECT_FALSE(DerFromJose(Octets(32, '\0') + Octets(32, 'x'), 32).ok());
  EXPECT_FALSE(DerFromJose(Octets(32, 'x') + Octets(32, '\0'), 32).ok());
}

}  // namespace
}  // namespace smartkey
