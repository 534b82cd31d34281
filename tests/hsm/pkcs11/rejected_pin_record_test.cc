// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/rejected_pin_record.h"

#include <sys/stat.h>

#include <string>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hsm/pkcs11/temporary_directory.h"

namespace smartkey {
namespace {

using State = RejectedPinRecord::State;
using testing::HasSubstr;
using testing::Not;

const Pkcs11TokenIdentity kToken = {.label = "clinic", .serial = "01"};

class RejectedPinRecordTest : public testing::Test {
 protected:
  RejectedPinRecord Record() const { return RejectedPinRecord(directory_ / "record"); }
  static RejectedPinRecord::Entry Find(const RejectedPinRecord& record, const char* pin,
                                       const Pkcs11TokenIdentity& token = kToken) {
    absl::StatusOr<RejectedPinRecord::Entry> entry = record.Find(Secret::CopyOf(pin), token);
    EXPECT_TRUE(entry.ok()) << entry.status();
    return entry.ok() ? *entry : RejectedPinRecord::Entry();
  }
  void Write(const char* pin, State state, int tries) const {
    RejectedPinRecord record = Record();
    RejectedPinRecord::Entry entry = Find(record, pin);
    entry.state = state;
    entry.tries = tries;
    const absl::Status status = record.Write(entry);
    EXPECT_TRUE(status.ok()) << status;
  }

  TemporaryDirectory directory_;
};

TEST_F(RejectedPinRecordTest, NothingWritten_NothingIsKnown) {
  EXPECT_EQ(Find(Record(), "1234").tries, 0);
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(RejectedPinRecordTest, WrittenState_IsFoundByALaterProcess) {
  Write("1234", State::kRejected, 1);
  EXPECT_EQ(Find(Record(), "1234").state, State::kRejected);
  EXPECT_EQ(Find(Record(), "1234").tries, 1);
  Write("1234", State::kTrying, 2);
  EXPECT_EQ(Find(Record(), "1234").state, State::kTrying);
  EXPECT_EQ(Find(Record(), "1234").tries, 2);
}

TEST_F(RejectedPinRecordTest, AnotherPinOrAnotherToken_IsNotMeant) {
  Write("1234", State::kRejected, 1);
  EXPECT_EQ(Find(Record(), "1235").tries, 0);
  EXPECT_EQ(Find(Record(), "123").tries, 0);
  EXPECT_EQ(Find(Record(), "1234", {.label = "clinic", .serial = "02"}).tries, 0);
  EXPECT_EQ(Find(Record(), "1234", {.label = "clinix", .serial = "01"}).tries, 0);
  EXPECT_EQ(Find(Record(), "1234", {.label = "1clinic", .serial = "0"}).tries, 0);
  EXPECT_EQ(Find(Record(), "1234").tries, 1);
}

TEST_F(RejectedPinRecordTest, Cleared_NothingIsKnownAndNothingIsThere) {
  Write("1234", State::kRejected, 1);
  EXPECT_TRUE(Record().Clear().ok());
  EXPECT_TRUE(Record().Clear().ok()) << "absent is success";
  EXPECT_EQ(Find(Record(), "1234").tries, 0);
  EXPECT_FALSE(directory_.Has("record"));
}

TEST_F(RejectedPinRecordTest, File_IsTheOwnersAndHoldsNoPin) {
  Write("4711-secret", State::kRejected, 1);
  struct stat info = {};
  ASSERT_EQ(::stat((directory_ / "record").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_THAT(directory_.Read("record"), Not(HasSubstr("4711")));
  EXPECT_THAT(directory_.Read("record"), HasSubstr("rejected 1\n"));
  EXPECT_FALSE(directory_.Has("record.new"));
}

TEST_F(RejectedPinRecordTest, SamePinTwice_HasAnotherSaltEachTime) {
  Write("1234", State::kRejected, 1);
  const std::string first = directory_.Read("record");
  EXPECT_TRUE(Record().Clear().ok());
  Write("1234", State::kRejected, 1);
  EXPECT_NE(directory_.Read("record"), first);
}

TEST_F(RejectedPinRecordTest, HashIsScryptAsDocumented) {
  // Computed with Python: hashlib.scrypt(b"1234", salt=bytes(16)+b"01\0clinic", n=2**14, r=8, p=1,
  // dklen=32)
  directory_.Write("record",
                   "smartkeyd pin record 1\nrejected "
                   "1\nAAAAAAAAAAAAAAAAAAAAAA\nYpHra9j1ORUmms0miBcuzxkKuR7_aLV0upwqvQnV8Uc\n");
  EXPECT_EQ(Find(Record(), "1234").state, State::kRejected);
  EXPECT_EQ(Find(Record(), "1234").tries, 1);
  EXPECT_EQ(Find(Record(), "1235").tries, 0);
}

TEST_F(RejectedPinRecordTest, FileThatMakesNoSense_CountsAsATryWithWhateverPin) {
  Write("1234", State::kRejected, 1);
  const std::string good = directory_.Read("record");
  for (const std::string& bad :
       {std::string(), std::string("x"), good.substr(0, good.size() / 2), good + "more\n",
        "smartkeyd pin record 2" + good.substr(22), std::string(5000, 'x')}) {
    directory_.Write("record", bad);
    const RejectedPinRecord::Entry entry = Find(Record(), bad.empty() ? "99" : "1234");
    EXPECT_EQ(entry.state, State::kTrying);
    EXPECT_EQ(entry.tries, 1);
  }
}

TEST_F(RejectedPinRecordTest, LeftoverOfACrashWhileWriting_IsReplaced) {
  Write("1234", State::kTrying, 1);
  directory_.Write("record.new", "half of a rec");
  EXPECT_EQ(Find(Record(), "1234").tries, 1) << "the old one still holds";
  Write("1234", State::kRejected, 1);
  EXPECT_EQ(Find(Record(), "1234").state, State::kRejected);
}

TEST_F(RejectedPinRecordTest, DirectoryThatIsNotThere_IsAnErrorBeforeAnythingIsTried) {
  RejectedPinRecord record(directory_ / "none/record");
  EXPECT_EQ(ReasonOf(record.Acquire().status()), Reason::kStoreUnavailable);
  EXPECT_EQ(ReasonOf(record.Write(Find(record, "1234"))), Reason::kStoreUnavailable);
}

TEST_F(RejectedPinRecordTest, LinkInItsPlace_IsNotFollowed) {
  std::filesystem::create_symlink(directory_.Write("target", "precious"), directory_ / "record");
  EXPECT_EQ(ReasonOf(Record().Find(Secret::CopyOf("1234"), kToken).status()),
            Reason::kStoreUnavailable);
  std::filesystem::create_symlink(directory_ / "target", directory_ / "record.new");
  Record()
      .Write({.tries = 1, .salt = std::string(16, 's'), .hash = std::string(32, 'h')})
      .IgnoreError();
  EXPECT_EQ(directory_.Read("target"), "precious");
}

TEST_F(RejectedPinRecordTest, OneLoginAtATime) {
  absl::StatusOr<RejectedPinRecord::Lock> first = Record().Acquire();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(ReasonOf(Record().Acquire().status()), Reason::kHardwareBusy);
  first->reset();
  EXPECT_TRUE(Record().Acquire().ok());
}

TEST(RejectedPinRecordWithoutFile, RemembersAsLongAsItLives) {
  RejectedPinRecord record("");
  ASSERT_TRUE(record.Acquire().ok());
  RejectedPinRecord::Entry entry = record.Find(Secret::CopyOf("1234"), kToken).value();
  EXPECT_EQ(entry.tries, 0);
  entry.state = State::kRejected;
  entry.tries = 1;
  ASSERT_TRUE(record.Write(entry).ok());
  EXPECT_EQ(record.Find(Secret::CopyOf("1234"), kToken)->state, State::kRejected);
  EXPECT_EQ(record.Find(Secret::CopyOf("12"), kToken)->tries, 0);
  EXPECT_EQ(RejectedPinRecord("").Find(Secret::CopyOf("1234"), kToken)->tries, 0);
  ASSERT_TRUE(record.Clear().ok());
  EXPECT_EQ(record.Find(Secret::CopyOf("1234"), kToken)->tries, 0);
}

}  // namespace
}  // namespace smartkey
