// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/discovery.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/http/url.h"
#include "daemon/oauth/discovery_documents.h"
#include "daemon/oauth/oauth_error.h"

namespace smartkey {

namespace {

constexpr size_t kLargestMetadata = 256 * 1024;
constexpr size_t kLargestCapabilityStatement = 4 * 1024 * 1024;  // real ones are large

using Done = absl::AnyInvocable<void(absl::StatusOr<ServerEndpoints>)>;

bool Complete(const ServerEndpoints& endpoints) {
  return !endpoints.token_endpoint.empty() && !endpoints.registration_endpoint.empty();
}

// No document after this error: the next request would fail in the same way.
bool EndsDiscovery(const absl::Status& error) {
  switch (ReasonOf(error)) {
    case Reason::kBadServerAnswer:  // not HTTP, or too large: this document, perhaps not the next
    case Reason::kIntercepted:      // many servers have a page for every path that they do not know
    case Reason::kServerError:
    case Reason::kUnexpectedStatus:  // 404 and its like
    case Reason::kRequestRefused:
    case Reason::kRefusedByServer:
    case Reason::kMisconfigured:
    case Reason::kInvalidScope:
    case Reason::kRedirectRefused:
      return false;
    default:
      return true;
  }
}

// One search, from document to document. Owns itself through the callbacks under way; one request
// at a time, so nothing here is used by two threads at once.
class Search : public std::enable_shared_from_this<Search> {
 public:
  Search(HttpClient& http, const Server& server, std::string client_id, Done done)
      : http_(http), server_(server), client_id_(std::move(client_id)), done_(std::move(done)) {
    configured_.authorization_endpoint = server.authorization_endpoint;
    configured_.token_endpoint = server.token_endpoint;
    configured_.registration_endpoint = server.registration_endpoint;
    configured_.source = "configuration";
  }

  void Start() {
    if (absl::Status status = CheckConfigured(); !status.ok()) return Finish(std::move(status));
    if (Complete(configured_) && !configured_.authorization_endpoint.empty()) {
      return Finish(configured_);
    }
    AskSmartConfiguration();
  }

 private:
  using Reader = absl::StatusOr<ServerEndpoints> (*)(const HttpResponse&, const DocumentContext&);
  using Next = void (Search::*)();

  absl::Status CheckConfigured() const {
    for (const std::string& url : {server_.fhir_base, server_.authorization_endpoint,
                                   server_.token_endpoint, server_.registration_endpoint}) {
      if (url.empty()) continue;
      const absl::StatusOr<Url> parsed = ParseUrl(url);
      if (!parsed.ok()) return MakeError(Reason::kConfigInvalid, parsed.status().message());
      if (!SchemeAllowed(*parsed, server_.allow_loopback_http)) {
        return MakeError(Reason::kConfigInvalid,
                         absl::StrCat(OriginOf(*parsed), " is configured, but is not https"));
      }
    }
    return absl::OkStatus();
  }

  void AskSmartConfiguration() {
    HttpRequest request = Get(SmartConfigurationUrl(server_.fhir_base), kLargestMetadata);
    Ask(std::move(request), "smart-configuration", ReadMetadata, "",
        &Search::AskCapabilityStatement);
  }

  void AskCapabilityStatement() {
    HttpRequest request =
        Get(CapabilityStatementUrl(server_.fhir_base), kLargestCapabilityStatement);
    request.accept = "application/fhir+json";  // Epic gives XML without it
    if (server_.profile == ServerProfile::kEpic && !client_id_.empty()) {
      // Only with it, and only for an app that may register, does Epic name its registration
      // endpoint.
      request.headers.emplace_back("Epic-Client-ID", client_id_);
    }
    Ask(std::move(request), "metadata", ReadCapabilityStatement, "",
        &Search::AskAuthorizationServerMetadata);
  }

  void AskAuthorizationServerMetadata() {
    if (issuer_.empty()) issuer_ = OriginOf(server_.fhir_base);
    // The issuer came from a document: it is held to the rules for endpoints.
    const absl::StatusOr<std::string> issuer =
        ResolveEndpoint(server_.fhir_base, issuer_, server_.allow_loopback_http);
    const absl::StatusOr<std::string> url =
        issuer.ok() ? AuthorizationServerMetadataUrl(*issuer) : issuer;
    if (!url.ok()) return GiveUp();
    Ask(Get(*url, kLargestMetadata), "oauth-authorization-server", ReadMetadata, issuer_,
        &Search::AskOpenIdConfiguration);
  }

  void AskOpenIdConfiguration() {
    const absl::StatusOr<std::string> url = OpenIdConfigurationUrl(issuer_);
    if (!url.ok()) return GiveUp();
    Ask(Get(*url, kLargestMetadata), "openid-configuration", ReadMetadata, issuer_,
        &Search::GiveUp);
  }

  HttpRequest Get(std::string url, size_t max_body) const {
    HttpRequest request;
    request.url = std::move(url);
    request.max_body = max_body;
    request.ca_file = server_.ca_file;
    request.allow_loopback_http = server_.allow_loopback_http;
    return request;
  }

  void Ask(HttpRequest request, const char* document, Reader reader, std::string expected_issuer,
           Next next) {
    http_.Send(std::move(request), [self = shared_from_this(), document, reader, next,
                                    expected_issuer = std::move(expected_issuer)](
                                       absl::StatusOr<HttpResponse> response) mutable {
      self->Take(std::move(response), document, reader, expected_issuer, next);
    });
  }

  void Take(absl::StatusOr<HttpResponse> response, const char* document, Reader reader,
            const std::string& expected_issuer, Next next) {
    absl::StatusOr<ServerEndpoints> found = [&]() -> absl::StatusOr<ServerEndpoints> {
      if (!response.ok()) return response.status();
      if (response->status != 200) return RefusalFrom(*response);
      return reader(*response, {server_.fhir_base, server_.allow_loopback_http, expected_issuer});
    }();
    if (!found.ok()) {
      const bool about_the_issuer = !expected_issuer.empty();
      const absl::Status error = Annotate(found.status(), document);
      // What the FHIR base says is wrong must be mended; what stands at a guessed issuer need not
      // be about it.
      if (EndsDiscovery(error) && !about_the_issuer) return Finish(error);
      if (!about_the_issuer && Weight(error) > Weight(problem_)) problem_ = error;
      return (this->*next)();
    }
    found->source = document;
    if (issuer_.empty()) issuer_ = found->issuer;
    any_document_ = any_document_ || !found->token_endpoint.empty();
    Override(*found);
    if (Complete(*found)) return Finish(*std::move(found));
    (this->*next)();
  }

  // Which of several documents' problems is told: the one that waiting or mending helps most
  // against.
  static int Weight(const absl::Status& error) {
    if (error.ok()) return 0;
    switch (ReasonOf(error)) {
      case Reason::kUnexpectedStatus:
      case Reason::kRequestRefused:
      case Reason::kRefusedByServer:
      case Reason::kMisconfigured:
      case Reason::kInvalidScope:
        return 1;
      case Reason::kServerError:
        return 3;
      default:
        return 2;
    }
  }

  void Override(ServerEndpoints& endpoints) const {
    const auto set = [](const std::string& configured, std::string& endpoint) {
      if (!configured.empty()) endpoint = configured;
    };
    set(configured_.authorization_endpoint, endpoints.authorization_endpoint);
    set(configured_.token_endpoint, endpoints.token_endpoint);
    set(configured_.registration_endpoint, endpoints.registration_endpoint);
  }

  // No document has both endpoints.
  void GiveUp() {
    if (Complete(configured_)) return Finish(configured_);
    if (ReasonOf(problem_) == Reason::kServerError) return Finish(problem_);
    if (any_document_) {
      return Finish(MakeError(Reason::kNoDynamicRegistration,
                              "the server's documents name no registration endpoint"));
    }
    if (Weight(problem_) > 1) return Finish(problem_);
    Finish(WithRemedy(
        MakeError(Reason::kDiscoveryInvalid, "the server has none of the discovery documents"),
        "check fhir_base in the server's [[server]] block, or set its endpoints there"));
  }

  void Finish(absl::StatusOr<ServerEndpoints> result) {
    if (result.ok()) return done_(std::move(result));
    done_(Annotate(result.status(), absl::StrCat("discovering ", OriginOf(server_.fhir_base))));
  }

  HttpClient& http_;
  const Server server_;
  const std::string client_id_;
  Done done_;
  ServerEndpoints configured_;
  std::string issuer_;         // named by a document so far
  bool any_document_ = false;  // one that knows a token endpoint
  absl::Status problem_;       // the weightiest so far
};

}  // namespace

void Discovery::Discover(const Server& server, const std::string& initial_client_id,
                         Done done) const {
  std::make_shared<Search>(http_, server, initial_client_id, std::move(done))->Start();
}

std::string HostOf(const std::string& url) {
  const std::string origin = OriginOf(url);
  const size_t scheme = origin.find("://");
  return scheme == std::string::npos ? origin : origin.substr(scheme + 3);
}

}  // namespace smartkey
