// SPDX-License-Identifier: Apache-2.0
// Any page, and any user of the machine, can send a redirect to the listener.
//
// Input: one octet of choices, state and issuer with their lengths in front, then the query. A code
// is taken only with the state of this login, never with another; and what smartkeyd takes is not
// turned away by smartkeyctl's listener before.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/redirect_uri.h"
#include "daemon/oauth/authorization_request.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

void Check(FuzzInput input) {
  const uint8_t choices = input.Octet();
  const bool iss_required = (choices & 1) != 0;
  const std::string state(input.Field());
  const std::string issuer(input.Field());
  const std::string query(input.Rest());

  // Whatever text comes: no crash.
  (void)ctl::RedirectQueryOf(query);
  (void)ctl::StateOfUrl(query);
  (void)ctl::ParseLoopbackUri(query);
  (void)RedirectUriAllowed(query, {"http://127.0.0.1/callback", issuer});

  const absl::StatusOr<Secret> code = ParseRedirect(query, state, issuer, iss_required);
  if (!code.ok()) {
    for (const char c : code.status().message()) {
      Require(c >= 0x20 && c < 0x7F, "the refusal has characters that a terminal would obey");
    }
    return;
  }
  Require(!state.empty(), "a code was taken without any state");
  Require(!code->empty(), "an empty code was taken");
  for (const char c : code->RevealSecret()) {
    Require(c >= 0x20 && c <= 0x7E, "the code has characters that no code has");
  }
  Require(!ParseRedirect(query, absl::StrCat(state, "x"), issuer, iss_required).ok(),
          "a code was taken with another login's state");
  Require(!iss_required || issuer.empty() ||
              !ParseRedirect(query, state, absl::StrCat(issuer, "/other"), iss_required).ok(),
          "a code was taken from another issuer");
  if (!absl::StrContains(query, '?') && !absl::StrContains(query, '#')) {
    Require(ctl::HasState(query, state), "the listener would turn away what smartkeyd takes");
  }
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::FuzzInput(data, size));
  return 0;
}
