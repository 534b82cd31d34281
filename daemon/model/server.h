// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/types/optional.h"

namespace smartkey {

enum class ServerProfile { kSmart, kEpic };

enum class RegistrationBody {
  kMinimal,   // software_id and jwks only: what the SMART draft and Epic want
  kExplicit,  // also grant_types, token_endpoint_auth_method, ...: for generic RFC 7591 servers
};

// An authorization server with its FHIR base, as configured. Only the administrator adds servers.
struct Server {
  std::string name;
  std::string fhir_base;  // without trailing slash; exactly what `aud` is compared with
  ServerProfile profile = ServerProfile::kSmart;
  RegistrationBody registration_body = RegistrationBody::kMinimal;
  bool require_register_scope = true;  // false: try step 2 though the scope was not granted
  bool allow_loopback_http = false;    // http:// to 127.0.0.1, [::1] or localhost, for tests
  std::string ca_file;                 // trusted beside the [http] one; empty: none
  std::string assertion_audience;      // instead of the token endpoint; empty: the token endpoint

  // Static overrides of discovery; empty: discovered.
  std::string authorization_endpoint;
  std::string token_endpoint;
  std::string registration_endpoint;
};

}  // namespace smartkey
