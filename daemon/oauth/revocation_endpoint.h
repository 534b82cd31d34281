// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/secret.h"
#include "daemon/http/http_client.h"

namespace smartkey {

struct RevocationRequest {
  std::string revocation_endpoint;
  Secret access_token;
  std::string client_id;
  Secret client_assertion;  // client authentication alongside; empty: none
  std::string ca_file;
  bool allow_loopback_http = false;
};

// Tells the server that a token is no longer needed (RFC 7009). Best effort, within 5 seconds:
// whoever asks goes on whatever comes back. It ends one token, not the client. Thread-safe.
//
// Errors: those that RefusalFrom (oauth_error.h) gives, and HttpClient's.
class RevocationEndpoint {
 public:
  explicit RevocationEndpoint(HttpClient& http) : http_(http) {}

  HttpClient::CallId Revoke(RevocationRequest request,
                            absl::AnyInvocable<void(absl::Status)> done) const;

 private:
  HttpClient& http_;
};

}  // namespace smartkey
