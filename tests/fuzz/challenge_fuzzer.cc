// SPDX-License-Identifier: Apache-2.0
// The WWW-Authenticate header of a FHIR server, as an app hands it on.
//
// Input: a header. Its error, if it has one, stands in it and can be printed; and whatever realm a
// server writes, the error after it is found.
#include <string>

#include "absl/strings/str_cat.h"
#include "daemon/oauth/challenge.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void Check(absl::string_view header) {
  for (const char c : ChallengeErrorOf(header)) {
    Require((c >= 'a' && c <= 'z') || c == '_', "an error has a character that none has");
  }
  const std::string with_realm =
      absl::StrCat("Bearer realm=", Quoted(header), ", error=\"invalid_token\"");
  Require(ChallengeErrorOf(with_realm) == "invalid_token", "a realm hides the error");
  Require(ChallengeErrorOf(absl::StrCat("Basic realm=", Quoted(header))).empty(),
          "an error is found where there is no Bearer challenge");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
