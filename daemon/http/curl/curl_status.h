// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <curl/curl.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/error.h"

namespace smartkey {

// One row a CURLcode: what it means to us, and in words. The words follow "https://origin: ".
struct CurlStatusRow {
  CURLcode code;
  Reason reason;
  absl::string_view words;
};

// The row for `code`; an internal error for codes that this client's options cannot lead to.
const CurlStatusRow& RowForCurl(CURLcode code);

// "https://ehr.example.com: name resolution failed", with the row's Reason. `detail` may be empty.
absl::Status StatusFromCurl(CURLcode code, absl::string_view origin, absl::string_view detail);

}  // namespace smartkey
