// SPDX-License-Identifier: Apache-2.0
// Calls Probe.WhoAmI as another user: rpc_probe_client SOCKET UID GROUP THREADS ROUNDS
// [pidns|userns] Each round is a connection of its own. GROUP is a supplementary group, 0 for none.
// With a namespace the calls come from inside a new one, as from a container. Prints one line about
// what it saw:
//   right=N wrong=N failed=N container=N admin=N denied=N
// `wrong` are answers about another uid or to another question. Started by tests; needs root.
#include <grp.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/rpc_raw_client.h"

namespace {

struct Counts {
  std::atomic<int> right{0}, wrong{0}, failed{0}, container{0}, admin{0}, denied{0};
};

void CallOnce(const std::string& socket, uid_t uid, uint64_t nonce, Counts& counts) {
  using smartkey::FindVarint;
  using smartkey::RawClient;
  auto client = RawClient::Connect(socket);
  if (!client.ok() || !client->Send(RawClient::Request("/smartkey.test.Probe/WhoAmI",
                                                       smartkey::VarintField(1, nonce)))) {
    ++counts.failed;
    return;
  }
  const auto answer = client->ReadAnswer();
  if (answer.ok() && answer->headers.find("grpc-status\x01"
                                          "7") != std::string::npos) {
    ++counts.denied;
  } else if (!answer.ok() || answer->message.empty()) {
    ++counts.failed;
  } else {
    const bool mine =
        FindVarint(answer->message, 1) == nonce && FindVarint(answer->message, 2) == uid;
    ++(mine ? counts.right : counts.wrong);
    if (FindVarint(answer->message, 3) != 0) ++counts.container;
    if (FindVarint(answer->message, 4) != 0) ++counts.admin;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const std::string socket = argv[1];
  const auto uid = static_cast<uid_t>(atoi(argv[2]));
  const auto group = static_cast<gid_t>(atoi(argv[3]));
  const int thread_count = atoi(argv[4]), rounds = atoi(argv[5]);
  const std::string where = argc > 6 ? argv[6] : "";

  if (setgroups(group != 0 ? 1 : 0, &group) != 0) return 3;
  if (where == "pidns") {
    // Only children are inside it.
    if (unshare(CLONE_NEWPID) != 0) return 3;
    const pid_t child = fork();
    if (child != 0) {
      int status = 0;
      waitpid(child, &status, 0);
      _exit(WEXITSTATUS(status));
    }
  }
  if (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0) return 3;
  if (where == "userns" && unshare(CLONE_NEWUSER) != 0) return 3;

  Counts counts;
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        CallOnce(socket, uid, uint64_t{uid} << 32 | t << 24 | i | 1 << 30, counts);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  printf("right=%d wrong=%d failed=%d container=%d admin=%d denied=%d\n", counts.right.load(),
         counts.wrong.load(), counts.failed.load(), counts.container.load(), counts.admin.load(),
         counts.denied.load());
  fflush(stdout);
  // Not through exit(): LeakSanitizer cannot work inside a new namespace.
  _exit(0);
}
