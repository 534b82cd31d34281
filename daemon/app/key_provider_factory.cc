// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/key_provider_factory.h"

#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "daemon/app/machine_identity.h"
#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "hsm/pkcs11/isolated_pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/tpm/tpm_key_provider.h"

namespace smartkey {
namespace {

std::map<std::string, std::string> EnvironmentOf(const KeyProviderConfig& config) {
  std::map<std::string, std::string> environment;
  for (const std::string& entry : config.environment) {
    environment.insert(
        std::pair<std::string, std::string>(absl::StrSplit(entry, absl::MaxSplits('=', 1))));
  }
  return environment;
}

KeyWorker::ProviderFactory TpmFactory(const KeyProviderConfig& config) {
  TpmKeyProvider::Options options;
  options.tcti = config.tcti;
  options.machine_id = ReadMachineId();
  return [options] { return std::make_unique<TpmKeyProvider>(options); };
}

std::unique_ptr<Pkcs11Module> MakeModule(const KeyProviderConfig& config) {
  // Without one, those that p11-kit is configured with, behind one face.
  const std::string path = config.module.empty() ? P11KIT_PROXY_MODULE : config.module;
  if (config.isolation == "process") {
    IsolatedPkcs11Module::Options options;
    options.path = path;
    options.init_args = config.init_args;
    options.environment = EnvironmentOf(config);
    return std::make_unique<IsolatedPkcs11Module>(std::move(options));
  }
  InProcessPkcs11Module::Options options;
  options.path = path;
  options.init_args = config.init_args;
  return std::make_unique<InProcessPkcs11Module>(std::move(options));
}

KeyWorker::ProviderFactory Pkcs11Factory(const Config& config, const std::string& instance_id) {
  Pkcs11KeyProvider::Options options;
  options.uri = config.key_provider.uri;
  options.pin_file = config.key_provider.pin_file;
  options.max_sessions = config.key_provider.max_sessions;
  options.strict_attributes = config.key_provider.strict_attributes;
  options.instance_id = instance_id;
  options.rejected_pin_file = absl::StrCat(config.daemon.state_dir, "/pkcs11-pin-record");
  return [options, provider = config.key_provider] {
    return std::make_unique<Pkcs11KeyProvider>(options, MakeModule(provider));
  };
}

}  // namespace

absl::Status PrepareProcessForKeyProvider(const Config& config) {
  TpmKeyProvider::QuietLibraryLog();
  if (config.key_provider.type != "pkcs11") return absl::OkStatus();
  if (config.key_provider.isolation == "process") {
    return IsolatedPkcs11Module::UseSocket(
        absl::StrCat(config.daemon.state_dir, kPkcs11SocketInStateDir));
  }
  for (const auto& [name, value] : EnvironmentOf(config.key_provider)) {
    setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  }
  return absl::OkStatus();
}

absl::StatusOr<KeyWorker::ProviderFactory> MakeKeyProviderFactory(const Config& config,
                                                                  const std::string& instance_id) {
  if (config.key_provider.type == "tpm") return TpmFactory(config.key_provider);
  if (config.key_provider.type == "pkcs11") return Pkcs11Factory(config, instance_id);
  return MakeError(Reason::kConfigInvalid,
                   absl::StrCat("there is no key provider \"", config.key_provider.type, "\""));
}

}  // namespace smartkey
