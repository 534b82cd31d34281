// SPDX-License-Identifier: Apache-2.0
// The configuration says in a PKCS#11 URI (RFC 7512) which token is meant; a URI read as another
// token is another hospital's partition.
//
// Input: a URI. What is accepted means the same token and PIN file after being written, octet by
// octet percent-encoded, and read again.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_uri.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

// The fields' sizes in CK_TOKEN_INFO (PKCS#11 v2.40 section 3.2).
constexpr size_t kLabelOctets = 32;
constexpr size_t kManufacturerOctets = 32;
constexpr size_t kModelOctets = 16;
constexpr size_t kSerialOctets = 16;

std::string PercentEncoded(absl::string_view text) {
  std::string encoded;
  for (const char octet : text) {
    absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(octet));
  }
  return encoded;
}

std::string Written(const Pkcs11Uri& uri) {
  std::string text = "pkcs11:";
  absl::string_view separator = "";
  for (const auto& [name, value] :
       {std::pair<absl::string_view, const std::string&>{"token", uri.token.label},
        {"manufacturer", uri.token.manufacturer},
        {"model", uri.token.model},
        {"serial", uri.token.serial}}) {
    if (value.empty()) continue;
    absl::StrAppend(&text, separator, name, "=", PercentEncoded(value));
    separator = ";";
  }
  if (!uri.pin_file.empty()) absl::StrAppend(&text, "?pin-source=", PercentEncoded(uri.pin_file));
  return text;
}

void Check(const std::string& input) {
  const absl::StatusOr<Pkcs11Uri> uri = Pkcs11Uri::Parse(input);
  if (!uri.ok()) {
    Require(ReasonOf(uri.status()) == Reason::kConfigInvalid, "refused with another reason");
    return;
  }
  Require(uri->token.label.size() <= kLabelOctets &&
              uri->token.manufacturer.size() <= kManufacturerOctets &&
              uri->token.model.size() <= kModelOctets && uri->token.serial.size() <= kSerialOctets,
          "a field is longer than any token's");
  Require(uri->pin_file.empty() || uri->pin_file[0] == '/', "the PIN file has no absolute path");
  Require(uri->Matches(uri->token), "the URI does not match the token that it names");
  for (const char octet : Describe(uri->token)) {
    Require(static_cast<unsigned char>(octet) >= 0x20 && octet != 0x7F,
            "the description of a token has a control character");
  }
  const absl::StatusOr<Pkcs11Uri> again = Pkcs11Uri::Parse(Written(*uri));
  Require(again.ok(), "an accepted URI is refused after being written");
  Require(again->token == uri->token, "the URI means another token after being written");
  Require(again->pin_file == uri->pin_file, "the URI names another PIN file after being written");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(std::string(smartkey::InputView(data, size)));
  return 0;
}
