// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "daemon/http/http_client.h"
#include "daemon/oauth/discovery.h"

namespace smartkey {

// How each discovery document is addressed and read. Pure functions, thread-safe.

// "{base}/.well-known/smart-configuration" and "{base}/metadata": appended to the path, unlike RFC
// 8615.
std::string SmartConfigurationUrl(const std::string& fhir_base);
std::string CapabilityStatementUrl(const std::string& fhir_base);

// RFC 8414 section 3.1: between host and path. OpenID Connect Discovery section 4: appended.
// Errors: kDiscoveryInvalid for an issuer that is no https URL, or has a query.
absl::StatusOr<std::string> AuthorizationServerMetadataUrl(const std::string& issuer);
absl::StatusOr<std::string> OpenIdConfigurationUrl(const std::string& issuer);

struct DocumentContext {
  std::string base;  // what relative URLs are resolved against
  bool allow_loopback_http = false;
  std::string expected_issuer;  // RFC 8414 section 3.3: must be equal, byte for byte; empty: any
};

// smart-configuration, RFC 8414 and OpenID metadata, which share their members' names.
// Errors: kIntercepted, kBadServerAnswer, kDiscoveryInvalid (an endpoint that is not allowed, no
// S256, another issuer), naming the member.
absl::StatusOr<ServerEndpoints> ReadMetadata(const HttpResponse& response,
                                             const DocumentContext& context);

// The oauth-uris extension of a FHIR CapabilityStatement, wherever it stands among others.
// Errors: as ReadMetadata; endpoints are empty when there is no such extension.
absl::StatusOr<ServerEndpoints> ReadCapabilityStatement(const HttpResponse& response,
                                                        const DocumentContext& context);

}  // namespace smartkey
