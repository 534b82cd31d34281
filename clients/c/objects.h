// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/error.h"
#include "smartkey.h"
#include "smartkey/client.h"

// What is behind the opaque types of smartkey.h, and what all functions there do alike.

struct smartkey_error {
  explicit smartkey_error(const absl::Status& status);
  explicit smartkey_error(const smartkey::client::Cause& cause);

  smartkey::Reason reason;
  std::string message;
  std::string remedy;
  int64_t retry_after_ms = -1;
};

struct smartkey_client {
  std::shared_ptr<smartkey::client::Client> client;  // Watches keep it as well.
};

struct smartkey_token_request {
  smartkey::client::TokenWish wish;
};

struct smartkey_token {
  explicit smartkey_token(smartkey::client::AccessToken from);

  struct Content {
    smartkey::Secret value;  // Ends with NUL.
    smartkey::client::AccessToken rest;
    std::unique_ptr<smartkey_error> refresh_error;
  };
  std::shared_ptr<const Content> content;
};

struct smartkey_registration {
  explicit smartkey_registration(smartkey::client::Registration from);

  smartkey::client::Registration content;
  std::string scopes;
  std::unique_ptr<smartkey_error> cause;
};

namespace smartkey::capi {

// Ok where gRPC works: not in a child that was forked after the first client was made, which has
// none of gRPC's threads and would wait for them for ever.
absl::Status CheckProcess();

// Without an error, or with this one; `error` may be null.
void Report(const absl::Status& status, smartkey_error** error);

// Makes a call that gives a Status or a StatusOr, and reports how it went.
template <typename Call>
std::invoke_result_t<Call> Try(smartkey_error** error, Call call) {
  using Result = std::invoke_result_t<Call>;
  const absl::Status usable = CheckProcess();
  Result result = usable.ok() ? call() : Result(usable);
  if constexpr (std::is_same_v<Result, absl::Status>) {
    Report(result, error);
  } else {
    Report(result.status(), error);
  }
  return result;
}

std::string Text(const char* text);
std::string Joined(const std::vector<std::string>& words);
int64_t UnixSeconds(const absl::optional<absl::Time>& time);
client::CallOptions Within(int64_t timeout_ms);
std::unique_ptr<smartkey_error> ErrorOf(const absl::optional<client::Cause>& cause);

// Whether `url` lies below `fhir_base`, as smartkey_token_allows_url() says.
bool IsBelow(absl::string_view fhir_base, absl::string_view url);

}  // namespace smartkey::capi
