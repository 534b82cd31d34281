// SPDX-License-Identifier: Apache-2.0
// Makes the blobs that every later release must be able to load: a TPM's state, one key of each
// algorithm in it, and a sealed secret.
//
//   make_golden_tpm_keys DIRECTORY
//
// writes DIRECTORY/swtpm/ (the state of a swtpm, for Swtpm::StartFrom), DIRECTORY/tpm_keys.json, a
// list of {algorithm, blob, x, y} or {algorithm, blob, n, e}, and DIRECTORY/sealed_secret.json,
// {format_version, sealed, secret}. Octets are in base64url. Existing files are not overwritten.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/base64url.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "nlohmann/json.hpp"
#include "tests/support/swtpm.h"

namespace smartkey {
namespace {

int Fail(const std::string& what) {
  std::fprintf(stderr, "make_golden_tpm_keys: %s\n", what.c_str());
  return 1;
}

// The secret that is no secret.
constexpr absl::string_view kGoldenSecret = "golden, and known to everybody";

int Run(const std::filesystem::path& directory) {
  for (const char* name : {"swtpm", "tpm_keys.json", "sealed_secret.json"}) {
    if (std::filesystem::exists(directory / name)) return Fail("there are golden keys already");
  }
  absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
  if (!tpm.ok()) return Fail(tpm.status().ToString());
  nlohmann::json keys = nlohmann::json::array();
  nlohmann::json sealed_secret;
  {
    TpmKeyProvider provider({.tcti = (*tpm)->tcti(), .machine_id = "golden"});
    const absl::StatusOr<ProviderCapabilities> capabilities = provider.Open();
    if (!capabilities.ok()) return Fail(capabilities.status().ToString());
    for (const SignatureAlgorithm algorithm : capabilities->algorithms) {
      const absl::StatusOr<CreatedKey> key = provider.CreateKey(algorithm, "golden");
      if (!key.ok()) return Fail(key.status().ToString());
      nlohmann::json entry = {{"algorithm", std::string(AlgorithmName(algorithm))},
                              {"blob", Base64UrlEncode(key->reference.blob)}};
      if (key->public_key.type == KeyType::kRsa) {
        entry["n"] = Base64UrlEncode(key->public_key.n);
        entry["e"] = Base64UrlEncode(key->public_key.e);
      } else {
        entry["x"] = Base64UrlEncode(key->public_key.x);
        entry["y"] = Base64UrlEncode(key->public_key.y);
      }
      keys.push_back(entry);
    }
    const absl::StatusOr<std::string> sealed =
        provider.secret_sealer()->Seal(Secret::CopyOf(kGoldenSecret));
    if (!sealed.ok()) return Fail(sealed.status().ToString());
    sealed_secret = {{"format_version", static_cast<int>(sealed->front())},
                     {"sealed", Base64UrlEncode(*sealed)},
                     {"secret", Base64UrlEncode(kGoldenSecret)}};
  }
  (*tpm)->Kill();  // so that its state is at rest
  std::filesystem::create_directories(directory / "swtpm");
  for (const auto& file : std::filesystem::directory_iterator((*tpm)->state_directory())) {
    if (file.path().filename().string().front() == '.') continue;  // its lock
    std::filesystem::copy(file.path(), directory / "swtpm");
  }
  std::ofstream(directory / "tpm_keys.json") << keys.dump(2) << "\n";
  std::ofstream(directory / "sealed_secret.json") << sealed_secret.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  if (argc != 2) return smartkey::Fail("usage: make_golden_tpm_keys DIRECTORY");
  smartkey::TpmKeyProvider::QuietLibraryLog();
  return smartkey::Run(argv[1]);
}
