// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/secret_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {

absl::StatusOr<Secret> ReadSecretFile(const std::string& path, absl::string_view what,
                                      size_t longest) {
  UniqueFd file;
  if (path != "-") {
    file.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file) {
      return MakeError(Reason::kInvalidArgument,
                       absl::StrCat("cannot read the ", what, " file ", TerminalText(path)));
    }
  }
  const int fd = file ? file.get() : STDIN_FILENO;
  std::string text(longest + 3, '\0');  // a line end, and one more to see that it is too long
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(fd, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      WipeString(text);
      return MakeError(Reason::kInvalidArgument, absl::StrCat("the ", what, " cannot be read"));
    }
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  absl::string_view content(text.data(), size);
  if (absl::ConsumeSuffix(&content, "\n")) absl::ConsumeSuffix(&content, "\r");
  Secret secret = Secret::CopyOf(content);
  WipeString(text);
  if (secret.empty()) {
    return MakeError(Reason::kInvalidArgument, absl::StrCat("there is no ", what, " to read"));
  }
  if (secret.size() > longest) {
    return MakeError(Reason::kInvalidArgument,
                     absl::StrCat("what was read is too long for a ", what));
  }
  return secret;
}

}  // namespace smartkey::ctl
