// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/token_input.h"

#include "absl/strings/ascii.h"
#include "base/error.h"
#include "clients/ctl/secret_file.h"

namespace smartkey::ctl {
namespace {

constexpr size_t kLongestToken = 64 * 1024;

}  // namespace

absl::StatusOr<Secret> ReadToken(const std::string& path) {
  absl::StatusOr<Secret> read = ReadSecretFile(path, "token", kLongestToken);
  if (!read.ok()) return read.status();
  Secret token = Secret::CopyOf(absl::StripAsciiWhitespace(read->RevealSecret()));
  if (token.empty()) return MakeError(Reason::kInvalidArgument, "there is no token to read");
  return token;
}

}  // namespace smartkey::ctl
