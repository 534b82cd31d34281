// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/ssh_forwarding.h"

#include <arpa/inet.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace smartkey::ctl {
namespace {

bool IsAddress(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

// What is printed is copied into a shell.
bool IsPlainName(absl::string_view name) {
  for (const char c : name) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains("._-", c)) return false;
  }
  return !name.empty() && name.front() != '-';
}

}  // namespace

absl::optional<std::string> SshForwarding(const LoopbackUri& uri, uint16_t port,
                                          const char* ssh_connection, absl::string_view user) {
  if (ssh_connection == nullptr) return absl::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(ssh_connection, ' ');
  int ssh_port = 0;
  if (fields.size() != 4 || !IsAddress(fields[2]) || !absl::SimpleAtoi(fields[3], &ssh_port) ||
      ssh_port < 1 || ssh_port > 65535) {
    return absl::nullopt;
  }
  // Where the browser is, localhost and 127.0.0.1 are both listened at; [::1] must be asked for.
  const bool ipv6 = uri.host == "[::1]";
  return absl::StrCat("ssh -N ", ssh_port == 22 ? "" : absl::StrCat("-p ", ssh_port, " "), "-L ",
                      ipv6 ? "[::1]:" : "", port, ":", ipv6 ? "[::1]" : "127.0.0.1", ":", port, " ",
                      IsPlainName(user) ? absl::StrCat(user, "@") : "", fields[2]);
}

}  // namespace smartkey::ctl
