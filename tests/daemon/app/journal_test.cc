// SPDX-License-Identifier: Apache-2.0
// Where a head of the audit log goes, and when it counts as sent.
#include "daemon/app/journal.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "tests/daemon/store/temp_dir.h"

namespace smartkey {
namespace {

class PublishedHead : public testing::Test {
 protected:
  ~PublishedHead() override { unsetenv("JOURNAL_STREAM"); }

  // Has stderr pass for a stream of the journal's.
  static void PretendJournal() {
    struct stat info {};
    ASSERT_EQ(fstat(STDERR_FILENO, &info), 0);
    setenv("JOURNAL_STREAM", absl::StrCat(info.st_dev, ":", info.st_ino).c_str(), 1);
  }

  const TempDir dir_;
  const std::string socket_ = dir_.path() + "/socket";
  const AuditHead head_{7, std::string(64, 'a')};
};

TEST_F(PublishedHead, StderrIsNoJournal_IsALineThere) {
  unsetenv("JOURNAL_STREAM");
  testing::internal::CaptureStderr();
  const absl::Status status = PublishAuditHead(head_, "a-key", socket_);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_NE(line.find(absl::StrCat("audit_head=", head_.ToString(), " key=a-key\n")),
            std::string::npos)
      << line;
}

TEST_F(PublishedHead, NoJournalHasASocket_DoesNotCountAsSent) {
  PretendJournal();
  const absl::Status status = PublishAuditHead(head_, "a-key", socket_);
  EXPECT_EQ(ReasonOf(status), Reason::kStoreUnavailable);
  EXPECT_NE(status.message().find("No such file"), std::string::npos) << status;
}

TEST_F(PublishedHead, NobodyListensAtTheSocketAnyMore_DoesNotCountAsSent) {
  PretendJournal();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(socket_.size(), sizeof address.sun_path);
  memcpy(address.sun_path, socket_.data(), socket_.size());
  {
    const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const absl::Status status = PublishAuditHead(head_, "a-key", socket_);
  EXPECT_EQ(ReasonOf(status), Reason::kStoreUnavailable);
  EXPECT_NE(status.message().find("refused"), std::string::npos) << status;
}

}  // namespace
}  // namespace smartkey
