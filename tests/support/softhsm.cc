// SPDX-License-Identifier: Apache-2.0
#include "tests/support/softhsm.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

constexpr absl::string_view kSecurityOfficerPin = "test-so-pin-9";

std::string Quoted(absl::string_view word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

absl::Status ToStatus(const std::error_code& error, absl::string_view what) {
  return error ? absl::InternalError(absl::StrCat(what, ": ", error.message())) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SoftHsm>> SoftHsm::Create() {
  std::string path = absl::StrCat(testing::TempDir(), "/softhsm-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("mkdtemp: ", std::strerror(errno)));
  }
  std::unique_ptr<SoftHsm> hsm(new SoftHsm(std::filesystem::canonical(path).string()));
  std::filesystem::create_directory(hsm->directory_ + "/tokens");
  std::ofstream(hsm->directory_ + "/softhsm2.conf")
      << "directories.tokendir = " << hsm->directory_ << "/tokens\n"
      << "objectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n";
  absl::Status status = hsm->WritePinFile(pin());
  if (status.ok()) status = hsm->AddToken(label());
  if (!status.ok()) return status;
  return hsm;
}

SoftHsm::~SoftHsm() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::Status SoftHsm::WritePinFile(absl::string_view text, int mode) {
  {
    std::ofstream file(pin_file(), std::ios::trunc);
    file << text << "\n";
    if (!file.good()) return absl::InternalError("writing the pin file failed");
  }
  return ::chmod(pin_file().c_str(), static_cast<mode_t>(mode)) == 0
             ? absl::OkStatus()
             : absl::InternalError("chmod of the pin file failed");
}

absl::Status SoftHsm::AddToken(const std::string& label) {
  return Run({"softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin",
              std::string(kSecurityOfficerPin), "--pin", pin()})
      .status();
}

absl::Status SoftHsm::Unplug() {
  std::error_code error;
  std::filesystem::rename(directory_ + "/tokens", directory_ + "/unplugged", error);
  if (!error) std::filesystem::create_directory(directory_ + "/tokens", error);
  return ToStatus(error, "unplugging");
}

absl::Status SoftHsm::PlugIn() {
  std::error_code error;
  std::filesystem::remove(directory_ + "/tokens", error);
  if (!error) std::filesystem::rename(directory_ + "/unplugged", directory_ + "/tokens", error);
  return ToStatus(error, "plugging in");
}

absl::Status SoftHsm::Replace() {
  std::error_code error;
  std::filesystem::remove_all(directory_ + "/tokens", error);
  std::filesystem::create_directory(directory_ + "/tokens", error);
  if (error) return ToStatus(error, "replacing");
  return AddToken(label());
}

absl::StatusOr<std::string> SoftHsm::Pkcs11Tool(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {"pkcs11-tool", "--module", module_path()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return Run(command);
}

absl::StatusOr<std::string> SoftHsm::Pkcs11ToolLoggedIn(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"--login", "--pin", pin(), "--token-label", label()});
  return Pkcs11Tool(arguments);
}

absl::StatusOr<std::string> SoftHsm::Run(const std::vector<std::string>& command) const {
  std::string line = "env";
  for (const auto& [name, value] : environment())
    absl::StrAppend(&line, " ", name, "=", Quoted(value));
  for (const std::string& word : command) absl::StrAppend(&line, " ", Quoted(word));
  absl::StrAppend(&line, " 2>&1");
  FILE* pipe = ::popen(line.c_str(), "re");
  if (pipe == nullptr) return absl::InternalError(absl::StrCat("popen: ", std::strerror(errno)));
  std::string output;
  char buffer[4096];
  size_t got = 0;
  while ((got = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) output.append(buffer, got);
  const int status = ::pclose(pipe);
  if (status == 0) return output;
  return absl::InternalError(absl::StrCat(command[0], " ended with ", status, ": ", output));
}

}  // namespace smartkey
