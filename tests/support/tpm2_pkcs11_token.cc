// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tpm2_pkcs11_token.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/started_process.h"

namespace smartkey {

absl::StatusOr<std::unique_ptr<Tpm2Pkcs11Token>> Tpm2Pkcs11Token::Create() {
  std::string path = absl::StrCat(testing::TempDir(), "/tpm2-pkcs11-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("mkdtemp: ", std::strerror(errno)));
  }
  std::unique_ptr<Tpm2Pkcs11Token> token(
      new Tpm2Pkcs11Token(std::filesystem::canonical(path).string()));
  std::ofstream(token->pin_file()) << pin() << "\n";
  if (::chmod(token->pin_file().c_str(), 0600) != 0) return absl::InternalError("chmod");
  absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
  if (!tpm.ok()) return tpm.status();
  token->tpm_ = *std::move(tpm);
  absl::StatusOr<std::unique_ptr<TpmResourceManager>> manager =
      TpmResourceManager::Start(token->tpm_->tcti());
  if (!manager.ok()) return manager.status();
  token->manager_ = *std::move(manager);
  if (absl::Status status = token->MakeStore(); !status.ok()) return status;
  return token;
}

Tpm2Pkcs11Token::~Tpm2Pkcs11Token() {
  manager_.reset();  // before the TPM it works on
  tpm_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string Tpm2Pkcs11Token::module_path() {
  return SMARTKEY_P11_KIT_MODULES "/libtpm2_pkcs11.so";
}

std::map<std::string, std::string> Tpm2Pkcs11Token::environment() const {
  std::map<std::string, std::string> environment = manager_->environment();
  environment["TPM2_PKCS11_STORE"] = store();
  environment["TPM2_PKCS11_TCTI"] = TpmResourceManager::tcti();
  environment.emplace("TPM2_PKCS11_LOG_LEVEL", "0");  // errors only
  environment["TSS2_LOG"] = "all+NONE";
  return environment;
}

void Tpm2Pkcs11Token::Unplug() {
  manager_->Kill();
  tpm_->Kill();
}

absl::Status Tpm2Pkcs11Token::PlugIn() {
  if (absl::Status status = tpm_->PowerOn(); !status.ok()) return status;
  return manager_->Restart();
}

absl::Status Tpm2Pkcs11Token::Replace() {
  Unplug();
  std::error_code error;
  std::filesystem::remove_all(store(), error);
  if (error) return absl::InternalError(error.message());
  if (absl::Status status = tpm_->Replace(); !status.ok()) return status;
  if (absl::Status status = manager_->Restart(); !status.ok()) return status;
  return MakeStore();
}

absl::Status Tpm2Pkcs11Token::MakeStore() const {
  std::error_code error;
  std::filesystem::create_directory(store(), error);
  if (error) return absl::InternalError(error.message());
  const std::string path = absl::StrCat("--path=", store());
  std::map<std::string, std::string> environment = this->environment();
  environment.emplace("TPM2TOOLS_TCTI", TpmResourceManager::tcti());  // it runs tpm2-tools
  absl::Status status = RunProgram({"tpm2_ptool", "init", path}, environment);
  if (!status.ok()) return status;
  return RunProgram({"tpm2_ptool", "addtoken", "--pid=1", "--sopin=test-so-pin-9",
                     absl::StrCat("--userpin=", pin()), "--label=smartkey", path},
                    environment);
}

}  // namespace smartkey
