// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/machine_identity.h"

#include <openssl/sha.h>

#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/base64url.h"

namespace smartkey {

std::string ReadMachineId() {
  std::ifstream file("/etc/machine-id");
  std::string id;
  std::getline(file, id);
  return std::string(absl::StripAsciiWhitespace(id));
}

std::string MachineIdentity(const std::string& machine_id) {
  if (machine_id.empty()) return std::string();
  const std::string text = absl::StrCat("smartkeyd state directory\n", machine_id);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return Base64UrlEncode(
      absl::string_view(reinterpret_cast<const char*>(digest), SHA256_DIGEST_LENGTH));
}

}  // namespace smartkey
