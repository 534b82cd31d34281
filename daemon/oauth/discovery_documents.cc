// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/discovery_documents.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "base/json.h"
#include "daemon/http/url.h"
#include "daemon/oauth/json_answer.h"

namespace smartkey {

namespace {

using nlohmann::json;

constexpr char kOauthUris[] =
    "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

absl::string_view WithoutTrailingSlashes(absl::string_view text) {
  while (absl::ConsumeSuffix(&text, "/")) {
  }
  return text;
}

// Null if `object` has no such member, or has null there.
const json* FindValue(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<std::string> ReadEndpoint(const json& value, const DocumentContext& context) {
  if (!value.is_string()) return MakeError(Reason::kDiscoveryInvalid, "the url is no string");
  return ResolveEndpoint(context.base, value.get<std::string>(), context.allow_loopback_http);
}

// Puts an endpoint in its place, if `value` is there. Optional ones that are not allowed are as
// good as not there.
absl::Status TakeEndpoint(absl::string_view member, const json* value,
                          const DocumentContext& context, bool required, std::string& endpoint) {
  if (value == nullptr || *value == "") return absl::OkStatus();
  absl::StatusOr<std::string> resolved = ReadEndpoint(*value, context);
  if (resolved.ok()) {
    endpoint = *std::move(resolved);
    return absl::OkStatus();
  }
  return required ? Annotate(resolved.status(), member) : absl::OkStatus();
}

std::vector<std::string> Strings(const JsonAnswer& answer, absl::string_view name) {
  std::vector<std::string> strings;
  const json* value = answer.Find(name);
  if (value == nullptr || !value->is_array()) return strings;
  for (const json& element : *value) {
    if (element.is_string()) strings.push_back(element.get<std::string>());
  }
  return strings;
}

absl::Status CheckPkce(const JsonAnswer& answer) {
  constexpr char kMember[] = "code_challenge_methods_supported";
  // REQUIRED in SMART 2, unknown to SMART 1 and optional in RFC 8414: without it S256 is sent all
  // the same.
  if (answer.Find(kMember) == nullptr) return absl::OkStatus();
  const std::vector<std::string> methods = Strings(answer, kMember);
  if (std::find(methods.begin(), methods.end(), "S256") != methods.end()) return absl::OkStatus();
  return MakeError(Reason::kDiscoveryInvalid, absl::StrCat(kMember, " does not have S256"));
}

// RFC 3986 section 5.2.4.
std::string RemoveDotSegments(absl::string_view path) {
  std::vector<absl::string_view> kept;
  const std::vector<absl::string_view> segments = absl::StrSplit(path, '/');
  for (size_t i = 0; i < segments.size(); ++i) {
    const bool last = i + 1 == segments.size();
    if (segments[i] == "." || segments[i] == "..") {
      // The first segment is the empty one before the leading slash.
      if (segments[i] == ".." && kept.size() > 1) kept.pop_back();
      if (last) kept.push_back("");
    } else {
      kept.push_back(segments[i]);
    }
  }
  return absl::StrJoin(kept, "/");
}

std::string ResolveReference(const Url& base, absl::string_view reference) {
  if (absl::StartsWith(reference, "//")) return absl::StrCat(base.scheme, ":", reference);
  const size_t question = reference.find('?');
  const absl::string_view path = reference.substr(0, question);
  const absl::string_view query =
      question == absl::string_view::npos ? "" : reference.substr(question);
  const std::string full = absl::StartsWith(path, "/")
                               ? std::string(path)
                               : absl::StrCat(WithoutTrailingSlashes(base.path), "/", path);
  return absl::StrCat(OriginOf(base), RemoveDotSegments(full), query);
}

bool HasScheme(absl::string_view url) {
  // RFC 3986 section 4.2: a colon in the first segment makes it a scheme.
  const size_t end = url.find_first_of(":/?#");
  return end != absl::string_view::npos && url[end] == ':';
}

const json* FindExtension(const json& parent, absl::string_view url) {
  if (!parent.is_object() || !parent.contains("extension")) return nullptr;
  const json& extensions = parent["extension"];
  if (!extensions.is_array()) return nullptr;
  for (const json& extension : extensions) {
    if (FindString(extension, "url") == std::string(url)) return &extension;
  }
  return nullptr;
}

const json* FindOauthUris(const json& statement) {
  if (!statement.contains("rest") || !statement["rest"].is_array()) return nullptr;
  for (const json& rest : statement["rest"]) {
    if (FindString(rest, "mode") != "server" || !rest.contains("security")) continue;
    if (const json* found = FindExtension(rest["security"], kOauthUris)) return found;
  }
  return nullptr;
}

absl::StatusOr<Url> ParseIssuer(const std::string& issuer) {
  absl::StatusOr<Url> url = ParseUrl(issuer);
  if (!url.ok() || url->has_query) {
    return MakeError(Reason::kDiscoveryInvalid, "issuer is no usable url");
  }
  return url;
}

}  // namespace

std::string SmartConfigurationUrl(const std::string& fhir_base) {
  return absl::StrCat(WithoutTrailingSlashes(fhir_base), "/.well-known/smart-configuration");
}

std::string CapabilityStatementUrl(const std::string& fhir_base) {
  return absl::StrCat(WithoutTrailingSlashes(fhir_base), "/metadata");
}

absl::StatusOr<std::string> AuthorizationServerMetadataUrl(const std::string& issuer) {
  const absl::StatusOr<Url> url = ParseIssuer(issuer);
  if (!url.ok()) return url.status();
  return absl::StrCat(OriginOf(*url), "/.well-known/oauth-authorization-server",
                      WithoutTrailingSlashes(url->path));
}

absl::StatusOr<std::string> OpenIdConfigurationUrl(const std::string& issuer) {
  const absl::StatusOr<Url> url = ParseIssuer(issuer);
  if (!url.ok()) return url.status();
  return absl::StrCat(OriginOf(*url), WithoutTrailingSlashes(url->path),
                      "/.well-known/openid-configuration");
}

absl::StatusOr<ServerEndpoints> ReadMetadata(const HttpResponse& response,
                                             const DocumentContext& context) {
  const absl::StatusOr<JsonAnswer> answer = JsonAnswer::Read(response);
  if (!answer.ok()) return answer.status();
  ServerEndpoints found;
  found.issuer = FindString(answer->object(), "issuer").value_or("");
  if (!context.expected_issuer.empty() && found.issuer != context.expected_issuer) {
    return MakeError(Reason::kDiscoveryInvalid, "issuer is not the one that was asked");
  }
  struct {
    const char* name;
    bool required;
    std::string* endpoint;
  } const members[] = {
      {"authorization_endpoint", true, &found.authorization_endpoint},
      {"token_endpoint", true, &found.token_endpoint},
      {"registration_endpoint", true, &found.registration_endpoint},
      {"revocation_endpoint", false, &found.revocation_endpoint},
      {"management_endpoint", false, &found.management_endpoint},
  };
  for (const auto& member : members) {
    absl::Status status = TakeEndpoint(member.name, FindValue(answer->object(), member.name),
                                       context, member.required, *member.endpoint);
    if (!status.ok()) return status;
  }
  if (absl::Status status = CheckPkce(*answer); !status.ok()) return status;
  found.signing_algorithms = Strings(*answer, "token_endpoint_auth_signing_alg_values_supported");
  const json* iss = answer->Find("authorization_response_iss_parameter_supported");
  found.iss_parameter_supported = iss != nullptr && *iss == true;
  return found;
}

absl::StatusOr<ServerEndpoints> ReadCapabilityStatement(const HttpResponse& response,
                                                        const DocumentContext& context) {
  const absl::StatusOr<JsonAnswer> answer =
      JsonAnswer::Read(response, {"application/fhir+json", "application/json"});
  if (!answer.ok()) return answer.status();
  ServerEndpoints found;
  const json* uris = FindOauthUris(answer->object());
  if (uris == nullptr) return found;
  struct {
    const char* name;
    bool required;
    std::string* endpoint;
  } const members[] = {
      {"authorize", true, &found.authorization_endpoint},
      {"token", true, &found.token_endpoint},
      {"register", true, &found.registration_endpoint},
      {"revoke", false, &found.revocation_endpoint},
      {"manage", false, &found.management_endpoint},
  };
  for (const auto& member : members) {
    const json* uri = FindExtension(*uris, member.name);
    if (uri == nullptr) continue;
    absl::Status status = TakeEndpoint(member.name, FindValue(*uri, "valueUri"), context,
                                       member.required, *member.endpoint);
    if (!status.ok()) return status;
  }
  return found;
}

absl::StatusOr<std::string> ResolveEndpoint(const std::string& base, const std::string& url,
                                            bool allow_loopback_http) {
  const absl::StatusOr<Url> base_url = ParseUrl(base);
  if (!base_url.ok()) {
    return MakeError(Reason::kDiscoveryInvalid, "the fhir base is no usable url");
  }
  const std::string absolute = HasScheme(url) ? url : ResolveReference(*base_url, url);
  const absl::StatusOr<Url> parsed = ParseUrl(absolute);
  if (!parsed.ok()) return MakeError(Reason::kDiscoveryInvalid, parsed.status().message());
  if (!SchemeAllowed(*parsed, allow_loopback_http)) {
    return MakeError(Reason::kDiscoveryInvalid, "the url is not https");
  }
  // A document must not send the daemon to addresses inside the network, or to this machine.
  const bool loopback = IsLoopback(parsed->host) || absl::EndsWith(parsed->host, ".localhost");
  const bool base_is_local = IsLoopback(base_url->host);
  if (loopback ? !base_is_local : IsIpLiteral(parsed->host) && !IsIpLiteral(base_url->host)) {
    return MakeError(Reason::kDiscoveryInvalid,
                     "the url names an address where the fhir base has a name");
  }
  return absolute;
}

}  // namespace smartkey
