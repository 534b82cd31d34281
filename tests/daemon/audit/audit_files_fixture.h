// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/audit/audit_check.h"
#include "tests/daemon/audit/audit_samples.h"

namespace smartkey {

inline const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

inline AuditEntry Entry(const std::string& registration = "reg-1") {
  AuditEntry entry;
  entry.time = kNow;
  entry.user = AuditEntry::User{1000, "alice"};
  entry.login = AuditEntry::User{1001, "bob"};
  entry.pid = 77;
  entry.unit = "viewer.service";
  entry.executable = "/usr/bin/viewer \"x\"\n";
  entry.admin = true;
  entry.operation = "TokenService/GetAccessToken";
  entry.registration_id = registration;
  entry.outcome = Reason::kShareLacksScope;
  entry.repeats = 3;
  entry.facts = {{"token", "h\xc3\xa4sh"}};
  return entry;
}

// A log in a folder of its own, which the test writes as the daemon does.
class AuditFiles : public testing::Test {
 protected:
  AuditWriter::Options Options() const {
    AuditWriter::Options options;
    options.directory = dir_.File("audit");
    return options;
  }
  void Append(AuditWriter& writer, int count, absl::Time now = kNow) {
    std::vector<AuditEntry> entries(static_cast<size_t>(count), Entry());
    const absl::Status status = writer.Append(entries, now);
    ASSERT_TRUE(status.ok()) << status;
  }
  AuditVerification Check(const AuditHead& written,
                          const absl::optional<AuditHead>& anchor = absl::nullopt) {
    auto found = CheckAuditFiles(Options().directory, {written, anchor, key_});
    EXPECT_TRUE(found.ok()) << found.status();
    return *found;
  }
  std::string OnlyFile() const { return ListAuditFiles(Options().directory).at(0).path; }

  TempDir dir_;
  absl::optional<std::string> key_;  // that signs now
};

}  // namespace smartkey
