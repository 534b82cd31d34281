// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "clients/c/objects.h"

namespace smartkey::capi {

bool IsBelow(absl::string_view fhir_base, absl::string_view url) {
  fhir_base = absl::StripSuffix(fhir_base, "/");
  if (fhir_base.empty() || !absl::StartsWith(url, fhir_base)) return false;
  for (const char c : url) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) || c == '\\') return false;
  }
  // The host ends where the base does: what is compared as text cannot be read as another host.
  const absl::string_view rest = url.substr(fhir_base.size());
  if (!rest.empty() && !absl::StrContains("/?#", rest.front())) return false;
  // Some read an encoded dot, slash or backslash as if it were a plain one, and a segment as if it
  // ended where its parameters (RFC 3986 section 3.3) begin.
  const std::string path =
      absl::StrReplaceAll(absl::AsciiStrToLower(rest.substr(0, rest.find_first_of("?#"))),
                          {{"%2e", "."}, {"%3b", ";"}});
  if (absl::StrContains(path, "%2f") || absl::StrContains(path, "%5c")) return false;
  for (absl::string_view segment : absl::StrSplit(path, '/')) {
    segment = segment.substr(0, segment.find(';'));
    if (segment == "." || segment == "..") return false;
  }
  return true;
}

}  // namespace smartkey::capi
