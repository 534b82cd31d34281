// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/ssh_forwarding.h"

#include "gtest/gtest.h"

namespace smartkey::ctl {
namespace {

std::string Command(const char* uri, const char* connection, const char* user = "alice") {
  return SshForwarding(*ParseLoopbackUri(uri), 40123, connection, user).value_or("none");
}

TEST(SshForwarding, CameBySsh_BringsThePortToTheBrowsersMachine) {
  EXPECT_EQ(Command("http://127.0.0.1/cb", "198.51.100.7 50122 192.0.2.1 22"),
            "ssh -N -L 40123:127.0.0.1:40123 alice@192.0.2.1");
  EXPECT_EQ(Command("http://localhost/cb", "2001:db8::7 50122 2001:db8::1 2222"),
            "ssh -N -p 2222 -L 40123:127.0.0.1:40123 alice@2001:db8::1");
  EXPECT_EQ(Command("http://[::1]/cb", "198.51.100.7 50122 192.0.2.1 22"),
            "ssh -N -L [::1]:40123:[::1]:40123 alice@192.0.2.1");
}

TEST(SshForwarding, WhatAShellCouldMisreadIsNotPrinted) {
  EXPECT_EQ(Command("http://127.0.0.1/cb", "198.51.100.7 50122 192.0.2.1 22", "al ice;rm"),
            "ssh -N -L 40123:127.0.0.1:40123 192.0.2.1");
  for (const char* connection :
       {"", "UNKNOWN 65535 UNKNOWN 65535", "a b c d", "198.51.100.7 1 192.0.2.1", "1 2 3 4 5",
        "198.51.100.7 1 192.0.2.1;reboot 22", "198.51.100.7 1 192.0.2.1 0"}) {
    EXPECT_EQ(Command("http://127.0.0.1/cb", connection), "none") << connection;
  }
}

TEST(SshForwarding, NobodyCameBySsh_IsAbsent) {
  EXPECT_EQ(Command("http://127.0.0.1/cb", nullptr), "none");
}

}  // namespace
}  // namespace smartkey::ctl
