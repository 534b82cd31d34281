// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "daemon/http/http_client.h"

namespace smartkey {

// The [http] section of the configuration.
struct CurlHttpOptions {
  std::string proxy;                  // "http://[user:password@]host:port"; empty: none
  std::vector<std::string> no_proxy;  // host names or domain suffixes that are reached directly
  std::string ca_file;                // PEM, trusted beside the system's certificates; empty: none
  std::string user_agent;             // empty: "smartkeyd/VERSION"
};

// HttpClient on libcurl: one multi handle on one thread, HTTP/1.1 over TLS 1.2 or newer.
// Certificates are always verified, against the system's, the configured and the request's CA file
// together. Nothing of the environment is read, no redirect followed, no cookie kept, no answer
// decompressed; the proxy is not used for plain http to loopback.
//
// Idle connections are kept for a minute. Thread-safe. The destructor ends all calls with
// kShuttingDown and waits for its thread, so for `done` callbacks that run; it must not be called
// from one.
class CurlHttpClient : public HttpClient {
 public:
  // Errors: kConfigInvalid (a proxy that is no http:// URL, a ca_file without a certificate),
  // kInternal.
  static absl::StatusOr<std::unique_ptr<CurlHttpClient>> Create(CurlHttpOptions options,
                                                                const Clock& clock);
  ~CurlHttpClient() override;

  CallId Send(HttpRequest request,
              absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) override;
  void Cancel(CallId id) override;
  CallId Probe(HttpRequest request, absl::AnyInvocable<void(absl::Status)> done) override;

 private:
  class Loop;
  explicit CurlHttpClient(std::unique_ptr<Loop> loop);

  std::unique_ptr<Loop> loop_;
};

// "libcurl/7.88.1 OpenSSL/3.0.15 ...": what this process runs with.
std::string HttpLibraryVersion();

}  // namespace smartkey
