// SPDX-License-Identifier: Apache-2.0
#include "tests/clients/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace smartkey {
namespace {

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void ReadAll(int fd, std::string& into) {
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof(buffer))) > 0) into.append(buffer, static_cast<size_t>(n));
}

}  // namespace

ChildProcess::ChildProcess(std::vector<std::string> argv, std::vector<std::string> environment,
                           const std::string& terminal) {
  int in[2];
  int out[2];
  int err[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return;
  in_.reset(in[1]);
  out_fd_.reset(out[0]);
  err_fd_.reset(err[0]);
  const UniqueFd ends[] = {UniqueFd(in[0]), UniqueFd(out[1]), UniqueFd(err[1])};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (int i = 0; i < 3; ++i) posix_spawn_file_actions_adddup2(&files, ends[i].get(), i);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  if (!terminal.empty()) {
    // The first terminal that the leader of a session opens controls it.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, terminal.c_str(), O_RDWR, 0);
  }
  const int error = posix_spawn(&pid_, argv[0].c_str(), &files, &attributes, Pointers(argv).data(),
                                Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  EXPECT_EQ(error, 0) << argv[0];
  if (error != 0) pid_ = -1;
  out_reader_ = std::thread([this] { ReadAll(out_fd_.get(), out_); });
  err_reader_ = std::thread([this] { ReadAll(err_fd_.get(), err_); });
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) kill(pid_, SIGKILL);
  Wait();
}

void ChildProcess::Type(const std::string& text) {
  EXPECT_EQ(write(in_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

void ChildProcess::CloseInput() {
  in_.reset();
}

int ChildProcess::Wait() {
  int code = -1;
  if (pid_ > 0) {
    const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    pollfd fd = {pidfd.get(), POLLIN, 0};
    if (poll(&fd, 1, 30000) != 1) {
      ADD_FAILURE() << "the program did not end";
      kill(pid_, SIGKILL);
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = -1;
  }
  if (out_reader_.joinable()) out_reader_.join();
  if (err_reader_.joinable()) err_reader_.join();
  return code;
}

}  // namespace smartkey
