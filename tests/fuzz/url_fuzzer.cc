// SPDX-License-Identifier: Apache-2.0
// Servers name their endpoints; which host a URL means decides where a token is sent.
//
// Input: a URL. What is accepted is the same after being written and read again, and its origin is
// a URL of the same host.
#include <string>

#include "daemon/http/url.h"
#include "tests/fuzz/fuzzer.h"

namespace smartkey {
namespace {

bool Same(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port && a.path == b.path &&
         a.query == b.query && a.has_query == b.has_query;
}

void Check(absl::string_view input) {
  const absl::StatusOr<Url> url = ParseUrl(input);
  if (!url.ok()) return;
  Require(url->scheme == "https" || url->scheme == "http", "another scheme was accepted");
  Require(!url->host.empty(), "a URL without a host was accepted");
  Require(url->port >= 0 && url->port <= 65535, "a port that is none was accepted");
  const absl::StatusOr<Url> again = ParseUrl(url->ToString());
  Require(again.ok() && Same(*again, *url), "the URL is another one after being written");
  const absl::StatusOr<Url> origin = ParseUrl(OriginOf(*url));
  Require(origin.ok() && origin->host == url->host && origin->scheme == url->scheme,
          "the origin is another host");
  Require(SchemeAllowed(*url, /*allow_loopback_http=*/false) == (url->scheme == "https"),
          "http is allowed where it must not be");
}

}  // namespace
}  // namespace smartkey

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  smartkey::Check(smartkey::InputView(data, size));
  return 0;
}
