// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "base/clock.h"
#include "base/secret.h"

namespace smartkey {

struct HttpRequest {
  enum class Method { kGet, kPost, kPut, kDelete };

  Method method = Method::kGet;
  std::string url;  // https, or http to loopback when allowed; no userinfo, no fragment
  std::string accept = "application/json";
  std::string content_type;  // of `body`
  Secret body;
  Secret bearer;  // sent as `Authorization: Bearer ...` when not empty
  std::vector<std::pair<std::string, std::string>> headers;  // further ones; nothing secret

  size_t max_body = 64 * 1024;  // of the answer
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration timeout = absl::Seconds(30);  // the whole exchange
  std::string ca_file;                         // trusted beside the configured one; empty: none
  bool allow_loopback_http = false;
  // A connection of its own, closed afterwards, for requests where a dead kept connection must not
  // even be tried: its error would leave open whether the server did the work.
  bool single_use_connection = false;
};

struct HttpResponse {
  int status = 0;
  std::string content_type;  // media type only, lower case, no parameters; empty: none
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  Secret body;
  BootTime sent_at;  // before the first byte went out: what lifetimes are counted from
  absl::Time received_at;

  // The first header with that lower-case name.
  absl::optional<std::string> FindHeader(absl::string_view name) const;
};

// Sends HTTP requests. Follows no redirect, keeps no cookie, reads no environment. Any status is an
// answer, also 404 and 302: what it means is the caller's to say. Asynchronous; `done` runs exactly
// once, on the client's thread (or inside Send for a request refused at once), and must not block.
// Thread-safe.
//
// Errors, as Reason: kInvalidArgument (a URL that is not allowed; nothing was sent), kNoNetwork
// (name resolution failed), kServerUnreachable (no connection, or it broke), kTlsNotTrusted,
// kBadServerAnswer (not HTTP, larger than max_body, headers over 64 KB), kCancelled, kShuttingDown.
class HttpClient {
 public:
  using CallId = uint64_t;  // never 0

  virtual ~HttpClient() = default;

  virtual CallId Send(HttpRequest request,
                      absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) = 0;

  // Ends the call early; its `done` gets kCancelled, soon, on the client's thread.
  virtual void Cancel(CallId id) = 0;

  // Connects to the origin of `url` (TLS included) and hangs up: is anybody there?
  virtual CallId Probe(HttpRequest request, absl::AnyInvocable<void(absl::Status)> done) = 0;
};

// True if the request certainly never reached the server: the error came before anything was sent.
bool NothingWasSent(const absl::Status& status);

// Gives `status` that mark. For HttpClients. OK stays OK.
absl::Status MarkNothingWasSent(absl::Status status);

}  // namespace smartkey
