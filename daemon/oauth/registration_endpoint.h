// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/secret.h"
#include "daemon/http/http_client.h"
#include "daemon/model/server.h"
#include "hsm/key_types.h"

namespace smartkey {

struct RegistrationRequest {
  std::string registration_endpoint;
  Secret initial_access_token;
  std::string initial_client_id;  // a 201 may not give it back as the dynamic one
  std::string software_id;
  PublicKey public_key;
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  RegistrationBody body = RegistrationBody::kMinimal;
  std::string client_name;  // kExplicit only
  std::string ca_file;
  bool allow_loopback_http = false;
};

struct RegisteredClient {
  std::string client_id;
  bool requires_client_authentication = false;  // token_endpoint_auth_method=private_key_jwt
  absl::Time client_id_issued_at = absl::InfinitePast();
};

// Step 2: RFC 7591 with an initial access token. One POST, on a connection of its own, sent at most
// once. A client_secret in the answer is dropped. Thread-safe.
//
// Errors: kSoftwareIdRefused (400 invalid_client_metadata), kInitialTokenRefused (401; 400
// access_denied or invalid_token), kRegistrationRefused (403, other 400), kNoDynamicRegistration
// (404), kRegistrationAnswerInvalid (a 201 that cannot be used: no or a bad client_id, somebody
// else's key, another software_id, grant types without jwt-bearer), kIntercepted, kRedirectRefused,
// kServerError, kServerBusy, and HttpClient's. `AnswerIsUnknown` tells whether a client may exist
// at the server nevertheless.
class RegistrationEndpoint {
 public:
  explicit RegistrationEndpoint(HttpClient& http) : http_(http) {}

  void Register(RegistrationRequest request,
                absl::AnyInvocable<void(absl::StatusOr<RegisteredClient>)> done) const;

 private:
  HttpClient& http_;
};

// The body that Register sends, for tests and documentation.
std::string RegistrationRequestBody(const RegistrationRequest& request);

// True if after this error the server may have done the work: the answer was lost, 5xx, or garbled.
bool AnswerIsUnknown(const absl::Status& status);

}  // namespace smartkey
