// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/browser.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/unique_fd.h"

namespace smartkey::ctl {
namespace {

bool IsSet(const char* variable) {
  const char* value = getenv(variable);
  return value != nullptr && *value != '\0';
}

// Empty if there is none that is ours alone, as the XDG base directory specification promises.
std::string RuntimeDirectory() {
  const char* path = getenv("XDG_RUNTIME_DIR");
  struct stat status = {};
  if (path == nullptr || *path != '/' || lstat(path, &status) != 0) return "";
  const bool ours = S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
                    (status.st_mode & ACCESSPERMS) == S_IRWXU;
  return ours ? path : "";
}

std::string PageFor(const std::string& url) {
  const std::string escaped = absl::StrReplaceAll(
      url, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
  return absl::StrCat(
      "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n"
      "<meta http-equiv=\"refresh\" content=\"0; url=",
      escaped, "\">\n<title>To the login</title>\n<p><a href=\"", escaped,
      "\">Go on to the login</a></p>\n</html>\n");
}

// Null if it could not be written.
std::unique_ptr<BrowserPage> WritePage(const std::string& text) {
  constexpr char kSuffix[] = ".html";
  const std::string directory = RuntimeDirectory();
  if (directory.empty()) return nullptr;
  std::string path = absl::StrCat(directory, "/smartkeyctl-XXXXXX", kSuffix);
  // Made anew (O_EXCL), mode 0600.
  const UniqueFd fd(mkostemps(path.data(), sizeof(kSuffix) - 1, O_CLOEXEC));
  if (fd.get() < 0) return nullptr;
  auto page = std::make_unique<BrowserPage>(std::move(path));
  const ssize_t written = write(fd.get(), text.data(), text.size());
  return written == static_cast<ssize_t>(text.size()) ? std::move(page) : nullptr;
}

bool StartXdgOpen(std::string argument) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, STDIN_FILENO, STDERR_FILENO);
  // A browser that outlives us must not keep the redirect's port.
  posix_spawn_file_actions_addclosefrom_np(&files, 3);

  // A session of its own: Ctrl-C here is not meant for it, and our signal handling is not its.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &pipe);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::string program = "xdg-open";
  char* argv[] = {program.data(), argument.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, program.c_str(), &files, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error == 0;
}

}  // namespace

BrowserPage::~BrowserPage() {
  unlink(path_.c_str());
}

bool HasDesktop() {
  return IsSet("DISPLAY") || IsSet("WAYLAND_DISPLAY");
}

std::unique_ptr<BrowserPage> OpenBrowser(const std::string& url) {
  // A browser would also open files, and hand other schemes to other programs.
  if (!absl::StartsWith(url, "https://") && !absl::StartsWith(url, "http://")) return nullptr;
  std::unique_ptr<BrowserPage> page = WritePage(PageFor(url));
  return page != nullptr && StartXdgOpen(page->path()) ? std::move(page) : nullptr;
}

}  // namespace smartkey::ctl
