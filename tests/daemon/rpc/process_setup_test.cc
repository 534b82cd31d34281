// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/process_setup.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>

namespace smartkey {
namespace {

TEST(ProcessSetup, NoVariableCanMakeGrpcPrintMessages) {
  setenv("GRPC_TRACE", "all", 1);
  setenv("GRPC_VERBOSITY", "debug", 1);
  setenv("grpc_poll_strategy", "poll", 1);
  setenv("NOT_GRPC_TRACE", "kept", 1);
  PrepareProcessForRpc();
  EXPECT_EQ(getenv("GRPC_TRACE"), nullptr);
  EXPECT_EQ(getenv("GRPC_VERBOSITY"), nullptr);
  EXPECT_EQ(getenv("grpc_poll_strategy"), nullptr);
  EXPECT_STREQ(getenv("NOT_GRPC_TRACE"), "kept");
  unsetenv("NOT_GRPC_TRACE");
}

TEST(ProcessSetup, APeerThatGoesAwayEndsNoProcess) {
  signal(SIGPIPE, SIG_DFL);
  PrepareProcessForRpc();
  EXPECT_EQ(raise(SIGPIPE), 0);
}

TEST(ProcessSetup, TheFileLimitIsRaisedToItsHardOne) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit low = limit;
  low.rlim_cur = 64;
  setrlimit(RLIMIT_NOFILE, &low);
  RaiseFileLimit();
  getrlimit(RLIMIT_NOFILE, &low);
  EXPECT_EQ(low.rlim_cur, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace smartkey
