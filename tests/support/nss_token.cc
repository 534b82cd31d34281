// SPDX-License-Identifier: Apache-2.0
#include "tests/support/nss_token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/started_process.h"

namespace smartkey {
namespace {

absl::Status ToStatus(const std::error_code& error, absl::string_view what) {
  return error ? absl::InternalError(absl::StrCat(what, ": ", error.message())) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<NssToken>> NssToken::Create() {
  std::string path = absl::StrCat(testing::TempDir(), "/nss-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("mkdtemp: ", std::strerror(errno)));
  }
  std::unique_ptr<NssToken> token(new NssToken(std::filesystem::canonical(path).string()));
  std::ofstream(token->pin_file()) << pin() << "\n";
  if (::chmod(token->pin_file().c_str(), 0600) != 0) return absl::InternalError("chmod");
  if (absl::Status status = token->MakeDatabase(); !status.ok()) return status;
  return token;
}

NssToken::~NssToken() {
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string NssToken::module_path() {
  return SMARTKEY_NSS_LIBRARIES "/libsoftokn3.so";
}

std::string NssToken::init_args() const {
  return absl::StrCat("configdir='sql:", database(),
                      "' certPrefix='' keyPrefix='' secmod='secmod.db' flags= "
                      "dbTokenDescription='smartkey'");
}

absl::Status NssToken::Unplug() {
  std::error_code error;
  std::filesystem::rename(database(), directory_ + "/unplugged", error);
  return ToStatus(error, "unplugging");
}

absl::Status NssToken::PlugIn() {
  std::error_code error;
  std::filesystem::rename(directory_ + "/unplugged", database(), error);
  return ToStatus(error, "plugging in");
}

absl::Status NssToken::Replace() {
  std::error_code error;
  std::filesystem::remove_all(database(), error);
  return error ? ToStatus(error, "replacing") : MakeDatabase();
}

absl::Status NssToken::MakeDatabase() const {
  std::error_code error;
  std::filesystem::create_directory(database(), error);
  if (error) return ToStatus(error, "making a directory");
  return RunProgram({"certutil", "-N", "-d", "sql:" + database(), "-f", pin_file()}, environment());
}

}  // namespace smartkey
