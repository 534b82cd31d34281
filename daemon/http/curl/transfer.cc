// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/curl/transfer.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "daemon/http/curl/curl_status.h"
#include "daemon/http/url.h"

namespace smartkey {

namespace {

constexpr size_t kLargestHeaders = 64 * 1024;
constexpr long kIdleSeconds = 60;
constexpr long kSlowBytesPerSecond = 16;

bool IsFieldValue(absl::string_view value) {
  // RFC 9110 section 5.5, ASCII only.
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return c == '\t' || (c >= 0x20 && c < 0x7F); });
}

bool IsFieldName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_';
  });
}

long Milliseconds(absl::Duration duration) {
  // 0 would mean libcurl's default, or none at all.
  return std::max<long>(1, static_cast<long>(absl::ToInt64Milliseconds(duration)));
}

std::string MediaType(absl::string_view content_type) {
  return absl::AsciiStrToLower(
      absl::StripAsciiWhitespace(content_type.substr(0, content_type.find(';'))));
}

// ---- The issuer of a certificate that is not trusted

constexpr size_t kLongestIssuer = 100;
using SharedText = std::shared_ptr<std::string>;

int IssuerIndex() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* text, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<SharedText*>(text);
      });
  return index;
}

// OpenSSL asks for each certificate of the chain; its own answer stands.
int OnVerified(int trusted, X509_STORE_CTX* chain) {
  if (trusted == 1) return trusted;
  const X509* const certificate = X509_STORE_CTX_get_current_cert(chain);
  const SSL* const ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (certificate == nullptr || ssl == nullptr) return trusted;
  const auto* const issuer =
      static_cast<SharedText*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), IssuerIndex()));
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), BIO_free);
  if (issuer == nullptr || text == nullptr) return trusted;
  X509_NAME_print_ex(text.get(), X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(text.get(), &bytes);
  (*issuer)->assign(bytes, std::min<size_t>(std::max(size, 0L), kLongestIssuer));
  return trusted;
}

void NoteIssuerOfUntrusted(SSL_CTX* context, const SharedText& issuer) {
  delete static_cast<SharedText*>(SSL_CTX_get_ex_data(context, IssuerIndex()));
  SSL_CTX_set_ex_data(context, IssuerIndex(), new SharedText(issuer));
  SSL_CTX_set_verify(context, SSL_CTX_get_verify_mode(context), OnVerified);
}

}  // namespace

WipedBuffer::~WipedBuffer() {
  if (bytes_) OPENSSL_cleanse(bytes_.get(), capacity_);
}

void WipedBuffer::Append(absl::string_view bytes) {
  if (size_ + bytes.size() > capacity_) {
    const size_t larger = std::max<size_t>({4096, 2 * capacity_, size_ + bytes.size()});
    auto grown = std::make_unique<char[]>(larger);
    if (size_ > 0) std::memcpy(grown.get(), bytes_.get(), size_);
    if (bytes_) OPENSSL_cleanse(bytes_.get(), capacity_);
    bytes_ = std::move(grown);
    capacity_ = larger;
  }
  std::memcpy(bytes_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

absl::Status CheckRequest(const HttpRequest& request) {
  const auto refused = [](absl::string_view problem) {
    return MarkNothingWasSent(MakeError(Reason::kInvalidArgument, problem));
  };
  const absl::StatusOr<Url> url = ParseUrl(request.url);
  if (!url.ok()) return refused(url.status().message());
  if (!SchemeAllowed(*url, request.allow_loopback_http)) {
    return refused(absl::StrCat(OriginOf(*url), " is not https"));
  }
  for (const auto& [name, value] : request.headers) {
    if (!IsFieldName(name) || !IsFieldValue(value)) return refused("a header is not allowed");
  }
  if (!IsFieldValue(request.accept) || !IsFieldValue(request.content_type) ||
      !IsFieldValue(request.bearer.RevealSecret())) {
    return refused("a header is not allowed");
  }
  return absl::OkStatus();
}

Transfer::Transfer(HttpClient::CallId id, HttpRequest request, bool probe, Done done)
    : id_(id),
      request_(std::move(request)),
      probe_(probe),
      https_(absl::AsciiStrToLower(request_.url.substr(0, 6)) == "https:"),
      origin_(OriginOf(request_.url)),
      done_(std::move(done)) {}

Transfer::~Transfer() {
  if (easy_ != nullptr) curl_easy_cleanup(easy_);
  for (curl_slist* line = header_list_; line != nullptr; line = line->next) {
    OPENSSL_cleanse(line->data, std::strlen(line->data));
  }
  curl_slist_free_all(header_list_);
}

template <typename Value>
void Transfer::Set(CURLoption option, Value value) {
  const CURLcode code = curl_easy_setopt(easy_, option, value);
  // All of them matter: a transfer with half of its options must not run.
  if (setup_ == CURLE_OK) setup_ = code;
}

absl::Status Transfer::Prepare(const TransferSettings& settings, BootTime now) {
  sent_at_ = now;
  easy_ = curl_easy_init();
  if (easy_ == nullptr) return MakeError(Reason::kInternal, "the http library gave no handle");
  Set(CURLOPT_PRIVATE, this);
  SetConnection(settings);
  SetTrust(settings);
  SetLimits();
  if (probe_) {
    Set(CURLOPT_CONNECT_ONLY, 1L);
  } else {
    SetMessage();
  }
  if (setup_ == CURLE_OK) return absl::OkStatus();
  return MakeError(Reason::kInternal, absl::StrCat("the http library refused an option with code ",
                                                   static_cast<int>(setup_)));
}

void Transfer::SetConnection(const TransferSettings& settings) {
  Set(CURLOPT_URL, request_.url.c_str());
  Set(CURLOPT_USERAGENT, settings.user_agent.c_str());
  Set(CURLOPT_PROTOCOLS_STR, https_ ? "https" : "http");
  Set(CURLOPT_FOLLOWLOCATION, 0L);
  Set(CURLOPT_UNRESTRICTED_AUTH, 0L);
  Set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  Set(CURLOPT_NOSIGNAL, 1L);
  // A name that takes for ever to resolve is left behind with its thread. Otherwise giving up on
  // it, and all other transfers with it, would wait for the resolver.
  Set(CURLOPT_QUICK_EXIT, 1L);
  // Not 2: a client of HTTP/2 repeats requests by itself (REFUSED_STREAM), and there is little to
  // multiplex.
  Set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(CURLOPT_TCP_KEEPALIVE, 1L);

  // Both even when empty, so that libcurl does not look into the environment.
  Set(CURLOPT_PROXY, https_ ? settings.proxy.c_str() : "");
  Set(CURLOPT_NOPROXY, settings.no_proxy.c_str());
  Set(CURLOPT_HTTPPROXYTUNNEL, 1L);
  Set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  Set(CURLOPT_MAXAGE_CONN, kIdleSeconds);
  if (request_.single_use_connection || probe_) {
    Set(CURLOPT_FRESH_CONNECT, 1L);
    Set(CURLOPT_FORBID_REUSE, 1L);
  }
}

void Transfer::SetTrust(const TransferSettings& settings) {
  Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  Set(CURLOPT_SSL_VERIFYPEER, 1L);
  Set(CURLOPT_SSL_VERIFYHOST, 2L);
  // Three sources add up in OpenSSL's store: directory, CAINFO, and what the callback loads. The
  // request's file is the one in CAINFO, since libcurl compares that before it reuses a connection
  // or a TLS session; with the callback, a connection trusted for one server's CA would serve
  // another that does not trust it.
  Set(CURLOPT_CAINFO, request_.ca_file.empty() ? nullptr : request_.ca_file.c_str());
  Set(CURLOPT_CAPATH,
      settings.system_ca_directory.empty() ? nullptr : settings.system_ca_directory.c_str());
  // libcurl can share one store between transfers: then what the callback adds would leak into
  // others.
  Set(CURLOPT_CA_CACHE_TIMEOUT, 0L);
  Set(CURLOPT_SSL_CTX_FUNCTION, &Transfer::OnTlsContext);
  settings_ = &settings;
  Set(CURLOPT_SSL_CTX_DATA, this);
}

void Transfer::SetLimits() {
  Set(CURLOPT_CONNECTTIMEOUT_MS, Milliseconds(request_.connect_timeout));
  Set(CURLOPT_TIMEOUT_MS, Milliseconds(request_.timeout));
  Set(CURLOPT_LOW_SPEED_LIMIT, kSlowBytesPerSecond);
  Set(CURLOPT_LOW_SPEED_TIME,
      std::max<long>(1, static_cast<long>(absl::ToInt64Seconds(request_.timeout * 2 / 3))));
  Set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(request_.max_body));
}

void Transfer::SetMessage() {
  const HttpRequest::Method method = request_.method;
  if (method == HttpRequest::Method::kPost || method == HttpRequest::Method::kPut) {
    Set(CURLOPT_POST, 1L);
    Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    // Read by callback, without a way to rewind: so libcurl cannot send the body again, on another
    // connection, when a kept one breaks. Assertions and codes are good for one use.
    Set(CURLOPT_READFUNCTION, &Transfer::OnRead);
    Set(CURLOPT_READDATA, this);
    AddHeader("Content-Type", request_.content_type);
  }
  if (method == HttpRequest::Method::kPut) Set(CURLOPT_CUSTOMREQUEST, "PUT");
  if (method == HttpRequest::Method::kDelete) Set(CURLOPT_CUSTOMREQUEST, "DELETE");

  AddHeader("Accept", request_.accept);
  AddHeader("Accept-Encoding", "identity");
  AddHeader("Expect", "");
  if (!request_.bearer.empty()) {
    // Through a buffer of its own, to be wiped.
    std::string value;
    value.reserve(request_.bearer.size() + 8);
    absl::StrAppend(&value, "Bearer ", request_.bearer.RevealSecret());
    AddHeader("Authorization", value);
    WipeString(value);
  }
  for (const auto& [name, value] : request_.headers) AddHeader(name, value);
  Set(CURLOPT_HTTPHEADER, header_list_);

  Set(CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  Set(CURLOPT_HEADERDATA, this);
  Set(CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  Set(CURLOPT_WRITEDATA, this);
}

// An empty value takes a header out that libcurl would send by itself.
void Transfer::AddHeader(absl::string_view name, absl::string_view value) {
  std::string line;
  line.reserve(name.size() + value.size() + 3);
  absl::StrAppend(&line, name, value.empty() ? ":" : ": ", value);
  curl_slist* longer = curl_slist_append(header_list_, line.c_str());
  WipeString(line);
  if (longer == nullptr) {
    setup_ = CURLE_OUT_OF_MEMORY;
  } else {
    header_list_ = longer;
  }
}

size_t Transfer::OnBody(char* bytes, size_t one, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const size_t size = one * count;
  if (transfer->body_.size() + size > transfer->request_.max_body) {
    transfer->too_large_ = true;
    return CURL_WRITEFUNC_ERROR;
  }
  transfer->body_.Append(absl::string_view(bytes, size));
  return size;
}

size_t Transfer::OnHeader(char* bytes, size_t one, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const absl::string_view line(bytes, one * count);
  if (absl::StartsWith(line, "HTTP/")) transfer->headers_complete_ = false;
  if (line == "\r\n" || line == "\n") transfer->headers_complete_ = true;
  // All of them together: of interim answers and trailers too.
  transfer->header_bytes_ += one * count;
  if (transfer->header_bytes_ <= kLargestHeaders) return one * count;
  transfer->headers_too_large_ = true;
  return CURL_WRITEFUNC_ERROR;
}

size_t Transfer::OnRead(char* buffer, size_t one, size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const absl::string_view rest =
      transfer->request_.body.RevealSecret().substr(transfer->body_sent_, one * count);
  std::memcpy(buffer, rest.data(), rest.size());
  transfer->body_sent_ += rest.size();
  return rest.size();
}

CURLcode Transfer::OnTlsContext(CURL*, void* ssl_ctx, void* self) {
  const auto* transfer = static_cast<const Transfer*>(self);
  NoteIssuerOfUntrusted(static_cast<SSL_CTX*>(ssl_ctx), transfer->untrusted_issuer_);
  X509_STORE* store = SSL_CTX_get_cert_store(static_cast<SSL_CTX*>(ssl_ctx));
  for (const std::string& file : transfer->settings_->ca_files) {
    if (X509_STORE_load_file(store, file.c_str()) != 1) {
      ERR_clear_error();
      return CURLE_SSL_CACERT_BADFILE;
    }
  }
  return CURLE_OK;
}

bool Transfer::NothingWentOut() const {
  if (easy_ == nullptr) return true;
  long request_bytes = 0;
  if (curl_easy_getinfo(easy_, CURLINFO_REQUEST_SIZE, &request_bytes) != CURLE_OK) return false;
  if (request_bytes == 0) return true;
  // A proxy's CONNECT counts as request bytes. On a connection of its own nothing of the request
  // itself can have gone out before TLS with the server was up.
  curl_off_t tls_done = 0;
  return https_ && request_.single_use_connection &&
         curl_easy_getinfo(easy_, CURLINFO_APPCONNECT_TIME_T, &tls_done) == CURLE_OK &&
         tls_done == 0;
}

absl::Status Transfer::Error(CURLcode code) const {
  const auto bad = [this](absl::string_view problem) {
    return MakeError(Reason::kBadServerAnswer, absl::StrCat(origin_, ": ", problem));
  };
  if (too_large_ || code == CURLE_FILESIZE_EXCEEDED) {
    return bad(absl::StrCat("the answer is larger than ", request_.max_body, " bytes"));
  }
  if (headers_too_large_) return bad("the answer's headers are larger than 64 KB");
  // libcurl's own limit for one line of a header, met before a line reaches OnHeader.
  if (code == CURLE_OUT_OF_MEMORY && header_bytes_ > 0) return bad("a header is too large");

  std::string detail;
  long number = 0;
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    curl_easy_getinfo(easy_, CURLINFO_SSL_VERIFYRESULT, &number);
    // libcurl looks at the name before it notes that OpenSSL found nothing wrong.
    const bool chain_is_good = number == X509_V_OK || number == X509_V_ERR_UNSPECIFIED;
    detail = chain_is_good ? "it is for another name" : X509_verify_cert_error_string(number);
    // Whoever looks into the traffic between here and the server is best known by his name.
    if (!chain_is_good && !untrusted_issuer_->empty()) {
      absl::StrAppend(&detail, "; issued by ", *untrusted_issuer_);
    }
  } else if (code == CURLE_COULDNT_CONNECT || code == CURLE_SEND_ERROR ||
             code == CURLE_RECV_ERROR) {
    curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &number);
    if (number != 0) detail = absl::AsciiStrToLower(std::strerror(static_cast<int>(number)));
  }
  return StatusFromCurl(code, origin_, detail);
}

absl::StatusOr<HttpResponse> Transfer::Answer(absl::Time now) const {
  HttpResponse response;
  response.sent_at = sent_at_;
  response.received_at = now;
  if (probe_) return response;
  // libcurl is content with a connection that ends in mid-header.
  if (!headers_complete_) return StatusFromCurl(CURLE_PARTIAL_FILE, origin_, "");
  long status = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  response.status = static_cast<int>(status);
  // The final answer's only: no trailers, interim answers, or proxy's.
  curl_header* header = nullptr;
  while ((header = curl_easy_nextheader(easy_, CURLH_HEADER, -1, header)) != nullptr) {
    std::string name = absl::AsciiStrToLower(header->name);
    if (name == "set-cookie") continue;  // nothing here keeps cookies, and they are secrets
    response.headers.emplace_back(std::move(name), header->value);
  }
  response.content_type = MediaType(response.FindHeader("content-type").value_or(""));
  const std::string encoding = response.FindHeader("content-encoding").value_or("");
  if (!encoding.empty() && absl::AsciiStrToLower(encoding) != "identity") {
    return MakeError(Reason::kBadServerAnswer,
                     absl::StrCat(origin_, ": the answer is compressed, which was not asked for"));
  }
  response.body = body_.ToSecret();
  return response;
}

void Transfer::Finish(CURLcode code, absl::Time now) {
  if (code != CURLE_OK) return Fail(Error(code));
  absl::StatusOr<HttpResponse> answer = Answer(now);
  // Wiped before the caller goes on, however long it keeps what it has captured.
  request_.body = Secret();
  request_.bearer = Secret();
  done_(std::move(answer));
}

void Transfer::Fail(absl::Status status) {
  if (NothingWentOut()) status = MarkNothingWasSent(std::move(status));
  request_.body = Secret();
  request_.bearer = Secret();
  done_(std::move(status));
}

}  // namespace smartkey
