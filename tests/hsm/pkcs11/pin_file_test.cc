// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pin_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/strings/match.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/base/access_list_octets.h"
#include "tests/hsm/pkcs11/temporary_directory.h"

namespace smartkey {
namespace {

using testing::HasSubstr;

std::string Pin(const std::string& path) {
  absl::StatusOr<Secret> pin = ReadPinFile(path);
  return pin.ok() ? std::string(pin->RevealSecret()) : std::string(pin.status().message());
}

TEST(PinFile, EndOfLine_IsNotPartOfThePin) {
  const TemporaryDirectory directory;
  EXPECT_EQ(Pin(directory.Write("pin", "1234\n")), "1234");
  EXPECT_EQ(Pin(directory.Write("pin", "1234\r\n")), "1234");
  EXPECT_EQ(Pin(directory.Write("pin", "1234")), "1234");
  EXPECT_EQ(Pin(directory.Write("pin", " 12 34 \n")), " 12 34 ");
  EXPECT_EQ(Pin(directory.Write("pin", "12\n\n")), "12\n");
}

TEST(PinFile, MissingOrEmpty_IsMissing) {
  const TemporaryDirectory directory;
  EXPECT_EQ(ReasonOf(ReadPinFile(directory / "none").status()), Reason::kPinMissing);
  for (const char* text : {"", "\n", "\r\n"}) {
    EXPECT_EQ(ReasonOf(ReadPinFile(directory.Write("pin", text)).status()), Reason::kPinMissing);
  }
}

// As another user: nothing is closed to root.
TEST(PinFile, CannotBeRead_SaysWhoseItHasToBe) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("pin", "1234\n");
  ASSERT_EQ(::chmod(path.c_str(), 0), 0);
  EXPECT_EXIT(
      {
        if (::geteuid() == 0 && ::setuid(65534) != 0) _exit(2);
        const absl::Status status = ReadPinFile(path).status();
        const bool told = ReasonOf(status) == Reason::kPinMissing &&
                          absl::StrContains(RemedyOf(status), "read the pin file") &&
                          absl::StrContains(RemedyOf(status), "chown");
        _exit(told ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST(PinFile, Missing_SaysThatOneIsConfigured) {
  const TemporaryDirectory directory;
  EXPECT_THAT(RemedyOf(ReadPinFile(directory / "none").status()), HasSubstr("correct pin_file"));
  EXPECT_THAT(RemedyOf(ReadPinFile(directory.Write("pin", "")).status()),
              HasSubstr("write the PIN"));
}

TEST(PinFile, NoFileOrTooLong_IsRefused) {
  const TemporaryDirectory directory;
  EXPECT_EQ(ReasonOf(ReadPinFile(directory / "").status()), Reason::kConfigInvalid);
  EXPECT_EQ(ReasonOf(ReadPinFile("/dev/zero").status()), Reason::kConfigInvalid);
  ASSERT_EQ(::mkfifo((directory / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(ReasonOf(ReadPinFile(directory / "fifo").status()), Reason::kConfigInvalid);
  const std::string large(100'000, '7');
  const absl::Status status = ReadPinFile(directory.Write("pin", large)).status();
  EXPECT_EQ(ReasonOf(status), Reason::kConfigInvalid);
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("777")));
}

TEST(PinFile, OpenToOthers_IsRefusedWithTheRemedy) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write("pin", "1234\n");
  for (const mode_t open : {0640, 0604, 0610, 0602, 0666}) {
    ASSERT_EQ(::chmod(path.c_str(), open), 0);
    const absl::Status status = ReadPinFile(path).status();
    EXPECT_EQ(ReasonOf(status), Reason::kConfigInvalid) << open;
    EXPECT_THAT(RemedyOf(status), HasSubstr("chmod 0400"));
  }
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  EXPECT_EQ(Pin(path), "1234");
}

// ---- Access lists

constexpr uid_t kUs = 990;

TEST(OthersMayRead, CredentialOfSystemd_IsForUsOnly) {
  // root:root 0440, user:smartkeyd:r--, group::---, mask::r--, other::---
  const std::string acl = AccessListOctets(
      {{kUserObj, 4, -1}, {kUser, 4, kUs}, {kGroupObj, 0, -1}, {kMask, 4, -1}, {kOther, 0, -1}});
  EXPECT_FALSE(OthersMayRead(0, 0100440, acl, kUs));
  EXPECT_TRUE(OthersMayRead(0, 0100440, acl, 991)) << "opened to another user";
  EXPECT_TRUE(OthersMayRead(0, 0100440, "", kUs)) << "opened to a group";
}

TEST(OthersMayRead, AccessListThatOpensItFurther_IsSeen) {
  EXPECT_TRUE(OthersMayRead(
      kUs, 0100440, AccessListOctets({{kUserObj, 4, -1}, {kGroupObj, 4, -1}, {kMask, 4, -1}}),
      kUs));
  EXPECT_TRUE(OthersMayRead(
      kUs, 0100440,
      AccessListOctets({{kUserObj, 4, -1}, {kGroupObj, 0, -1}, {kGroup, 4, 7}, {kMask, 4, -1}}),
      kUs));
  EXPECT_TRUE(
      OthersMayRead(kUs, 0100444, AccessListOctets({{kUserObj, 4, -1}, {kOther, 4, -1}}), kUs));
  EXPECT_FALSE(
      OthersMayRead(kUs, 0100400, AccessListOctets({{kUserObj, 4, -1}, {kOther, 0, -1}}), kUs));
}

TEST(OthersMayRead, AccessListThatMakesNoSense_CountsAsOpen) {
  EXPECT_TRUE(OthersMayRead(kUs, 0100400, "x", kUs));
  EXPECT_TRUE(OthersMayRead(kUs, 0100400, std::string("\x03\0\0\0", 4), kUs));
  EXPECT_TRUE(OthersMayRead(kUs, 0100400, AccessListOctets({{kUserObj, 4, -1}}) + "x", kUs));
}

TEST(OthersMayRead, FileOfAnotherUser_IsTheirs) {
  EXPECT_TRUE(OthersMayRead(1000, 0100400, "", kUs));
  EXPECT_FALSE(OthersMayRead(0, 0100400, "", kUs));
  EXPECT_FALSE(OthersMayRead(kUs, 0100600, "", kUs));
}

}  // namespace
}  // namespace smartkey
