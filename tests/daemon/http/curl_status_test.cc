// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/curl/curl_status.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace smartkey {
namespace {

TEST(CurlStatus, EachCodeHasTheReasonThatItsReaderExpects) {
  const std::map<CURLcode, Reason> expected = {
      {CURLE_COULDNT_RESOLVE_HOST, Reason::kNoNetwork},
      {CURLE_COULDNT_RESOLVE_PROXY, Reason::kNoNetwork},
      {CURLE_COULDNT_CONNECT, Reason::kServerUnreachable},
      {CURLE_PROXY, Reason::kServerUnreachable},
      {CURLE_NO_CONNECTION_AVAILABLE, Reason::kServerUnreachable},
      {CURLE_OPERATION_TIMEDOUT, Reason::kServerUnreachable},
      {CURLE_GOT_NOTHING, Reason::kServerUnreachable},
      {CURLE_SEND_ERROR, Reason::kServerUnreachable},
      {CURLE_RECV_ERROR, Reason::kServerUnreachable},
      {CURLE_PARTIAL_FILE, Reason::kServerUnreachable},
      {CURLE_SEND_FAIL_REWIND, Reason::kServerUnreachable},
      {CURLE_SSL_SHUTDOWN_FAILED, Reason::kServerUnreachable},
      {CURLE_SSL_CONNECT_ERROR, Reason::kServerUnreachable},
      {CURLE_PEER_FAILED_VERIFICATION, Reason::kTlsNotTrusted},
      {CURLE_SSL_ISSUER_ERROR, Reason::kTlsNotTrusted},
      {CURLE_SSL_INVALIDCERTSTATUS, Reason::kTlsNotTrusted},
      {CURLE_SSL_PINNEDPUBKEYNOTMATCH, Reason::kTlsNotTrusted},
      {CURLE_SSL_CACERT_BADFILE, Reason::kTlsNotTrusted},
      {CURLE_SSL_CLIENTCERT, Reason::kTlsNotTrusted},
      {CURLE_SSL_CIPHER, Reason::kTlsNotTrusted},
      {CURLE_USE_SSL_FAILED, Reason::kTlsNotTrusted},
      {CURLE_WEIRD_SERVER_REPLY, Reason::kBadServerAnswer},
      {CURLE_UNSUPPORTED_PROTOCOL, Reason::kBadServerAnswer},
      {CURLE_HTTP2, Reason::kBadServerAnswer},
      {CURLE_HTTP2_STREAM, Reason::kBadServerAnswer},
      {CURLE_BAD_CONTENT_ENCODING, Reason::kBadServerAnswer},
      {CURLE_FILESIZE_EXCEEDED, Reason::kBadServerAnswer},
      {CURLE_TOO_MANY_REDIRECTS, Reason::kBadServerAnswer},
      {static_cast<CURLcode>(100), Reason::kBadServerAnswer},  // CURLE_TOO_LARGE of libcurl 8.6
      {CURLE_URL_MALFORMAT, Reason::kInvalidArgument},
      {CURLE_OUT_OF_MEMORY, Reason::kInternal},
      {CURLE_WRITE_ERROR, Reason::kInternal},
      {CURLE_READ_ERROR, Reason::kInternal},
      {CURLE_ABORTED_BY_CALLBACK, Reason::kCancelled},
  };
  for (int number = 1; number <= std::max<int>(CURL_LAST - 1, 100); ++number) {
    const auto code = static_cast<CURLcode>(number);
    const auto row = expected.find(code);
    const absl::Status status = StatusFromCurl(code, "https://ehr.example", "");
    if (row == expected.end()) {
      EXPECT_EQ(ReasonOf(status), Reason::kInternal) << number;
      EXPECT_NE(status.message().find(std::to_string(number)), std::string::npos) << number;
    } else {
      EXPECT_EQ(ReasonOf(status), row->second) << number;
      EXPECT_EQ(RowForCurl(code).code, code) << number;
    }
    EXPECT_EQ(status.message().substr(0, 21), "https://ehr.example: ");
  }
}

TEST(CurlStatus, TheDetailStandsInBrackets) {
  EXPECT_EQ(StatusFromCurl(CURLE_COULDNT_CONNECT, "https://h", "connection refused").message(),
            "https://h: no connection (connection refused)");
}

}  // namespace
}  // namespace smartkey
