// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/curl/curl_status.h"

#include "absl/strings/str_cat.h"

namespace smartkey {

namespace {

// CURLE_TOO_LARGE, with which libcurl gives up long headers from 8.6 on.
constexpr auto kTooLarge = static_cast<CURLcode>(100);

constexpr CurlStatusRow kRows[] = {
    // No way to the server. Nobody can say whether name or network is at fault: waiting helps in
    // most cases.
    {CURLE_COULDNT_RESOLVE_HOST, Reason::kNoNetwork, "the name cannot be resolved"},
    {CURLE_COULDNT_RESOLVE_PROXY, Reason::kNoNetwork, "the proxy's name cannot be resolved"},
    {CURLE_COULDNT_CONNECT, Reason::kServerUnreachable, "no connection"},
    {CURLE_PROXY, Reason::kServerUnreachable, "the proxy made no connection"},
    {CURLE_NO_CONNECTION_AVAILABLE, Reason::kServerUnreachable, "no connection was free"},

    // It broke, or took too long.
    {CURLE_OPERATION_TIMEDOUT, Reason::kServerUnreachable, "it took too long"},
    {CURLE_GOT_NOTHING, Reason::kServerUnreachable, "the connection was closed without an answer"},
    {CURLE_SEND_ERROR, Reason::kServerUnreachable, "the connection broke while sending"},
    {CURLE_RECV_ERROR, Reason::kServerUnreachable, "the connection broke while receiving"},
    {CURLE_PARTIAL_FILE, Reason::kServerUnreachable, "the connection was closed in mid-answer"},
    {CURLE_SEND_FAIL_REWIND, Reason::kServerUnreachable,
     "a kept connection broke, and the request is not sent twice"},
    {CURLE_SSL_SHUTDOWN_FAILED, Reason::kServerUnreachable, "the connection broke while closing"},
    // Also a reset in mid-handshake, which passes; so not a question of trust.
    {CURLE_SSL_CONNECT_ERROR, Reason::kServerUnreachable, "the tls handshake failed"},

    // Whoever is there is not, or not provably, the server.
    {CURLE_PEER_FAILED_VERIFICATION, Reason::kTlsNotTrusted, "the certificate is not trusted"},
    {CURLE_SSL_ISSUER_ERROR, Reason::kTlsNotTrusted, "the certificate's issuer is not trusted"},
    {CURLE_SSL_INVALIDCERTSTATUS, Reason::kTlsNotTrusted, "the certificate's status is bad"},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, Reason::kTlsNotTrusted,
     "the public key is not the pinned one"},
    {CURLE_SSL_CACERT_BADFILE, Reason::kTlsNotTrusted, "the ca_file cannot be read"},
    {CURLE_SSL_CLIENTCERT, Reason::kTlsNotTrusted, "the server demands a client certificate"},
    {CURLE_SSL_CIPHER, Reason::kTlsNotTrusted, "no tls cipher in common"},
    {CURLE_USE_SSL_FAILED, Reason::kTlsNotTrusted, "no tls"},

    // An answer that cannot be used.
    {CURLE_WEIRD_SERVER_REPLY, Reason::kBadServerAnswer, "the answer is not http"},
    // What curl says to HTTP/0.9, that is to bytes that are no HTTP; URLs with another scheme never
    // get this far.
    {CURLE_UNSUPPORTED_PROTOCOL, Reason::kBadServerAnswer, "the answer is not http"},
    {CURLE_HTTP2, Reason::kBadServerAnswer, "the answer breaks http/2"},
    {CURLE_HTTP2_STREAM, Reason::kBadServerAnswer, "the answer breaks http/2"},
    {CURLE_BAD_CONTENT_ENCODING, Reason::kBadServerAnswer, "the answer's encoding is unknown"},
    {CURLE_FILESIZE_EXCEEDED, Reason::kBadServerAnswer, "the answer is too large"},
    {kTooLarge, Reason::kBadServerAnswer, "the answer is too large"},
    {CURLE_TOO_MANY_REDIRECTS, Reason::kBadServerAnswer, "the server redirects"},

    {CURLE_URL_MALFORMAT, Reason::kInvalidArgument, "the url cannot be used"},
    {CURLE_OUT_OF_MEMORY, Reason::kInternal, "out of memory"},
    {CURLE_WRITE_ERROR, Reason::kInternal, "the answer could not be taken"},
    {CURLE_READ_ERROR, Reason::kInternal, "the request's body could not be read"},
    {CURLE_ABORTED_BY_CALLBACK, Reason::kCancelled, "cancelled"},
};

constexpr CurlStatusRow kUnknown = {CURLE_OK, Reason::kInternal, "the http library failed"};

}  // namespace

const CurlStatusRow& RowForCurl(CURLcode code) {
  for (const CurlStatusRow& row : kRows) {
    if (row.code == code) return row;
  }
  return kUnknown;
}

absl::Status StatusFromCurl(CURLcode code, absl::string_view origin, absl::string_view detail) {
  const CurlStatusRow& row = RowForCurl(code);
  std::string message = absl::StrCat(origin, ": ", row.words);
  if (!detail.empty()) absl::StrAppend(&message, " (", detail, ")");
  if (row.code == CURLE_OK) absl::StrAppend(&message, " with code ", static_cast<int>(code));
  return MakeError(row.reason, message);
}

}  // namespace smartkey
