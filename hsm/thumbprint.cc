// SPDX-License-Identifier: Apache-2.0
#include "hsm/thumbprint.h"

#include "absl/strings/str_cat.h"
#include "base/base64url.h"
#include "base/sha256.h"

namespace smartkey {
namespace {

// Names and values need no escape and no white space is written: RFC 7638 section 3.1's form.
std::string RequiredMembers(const PublicKey& key) {
  switch (key.type) {
    case KeyType::kEcP256:
    case KeyType::kEcP384:
      return absl::StrCat(R"({"crv":")", key.type == KeyType::kEcP256 ? "P-256" : "P-384",
                          R"(","kty":"EC","x":")", Base64UrlEncode(key.x), R"(","y":")",
                          Base64UrlEncode(key.y), R"("})");
    case KeyType::kRsa:
      break;
  }
  return absl::StrCat(R"({"e":")", Base64UrlEncode(key.e), R"(","kty":"RSA","n":")",
                      Base64UrlEncode(key.n), R"("})");
}

}  // namespace

std::string Thumbprint(const PublicKey& key) {
  return Sha256(RequiredMembers(key));
}

}  // namespace smartkey
