// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "daemon/http/http_client.h"

namespace smartkey {

// What all transfers of one client have in common. Must outlive them.
struct TransferSettings {
  std::string proxy;     // empty: none
  std::string no_proxy;  // comma separated
  std::string user_agent;
  std::string system_ca_directory;    // hashed by subject; empty: the system has none
  std::vector<std::string> ca_files;  // trusted beside that
};

// Bytes of an answer as they come in: wiped wherever they move. Not thread-safe.
class WipedBuffer {
 public:
  WipedBuffer() = default;
  ~WipedBuffer();
  WipedBuffer(const WipedBuffer&) = delete;
  WipedBuffer& operator=(const WipedBuffer&) = delete;

  void Append(absl::string_view bytes);
  size_t size() const { return size_; }
  Secret ToSecret() const { return Secret::CopyOf(absl::string_view(bytes_.get(), size_)); }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// OK if the request may be sent at all. Errors: kInvalidArgument with NothingWasSent, naming no
// value.
absl::Status CheckRequest(const HttpRequest& request);

// One exchange on one easy handle, from a checked request to the call of `done`. Used by one
// thread.
class Transfer {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)>;

  Transfer(HttpClient::CallId id, HttpRequest request, bool probe, Done done);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Makes the easy handle, whose CURLOPT_PRIVATE is this object. `now` becomes the answer's
  // sent_at. Errors: kInternal.
  absl::Status Prepare(const TransferSettings& settings, BootTime now);

  HttpClient::CallId id() const { return id_; }
  CURL* easy() const { return easy_; }

  // Exactly one of them, once.
  void Finish(CURLcode code, absl::Time now);
  void Fail(absl::Status status);

 private:
  static size_t OnBody(char* bytes, size_t one, size_t count, void* self);
  static size_t OnHeader(char* bytes, size_t one, size_t count, void* self);
  static size_t OnRead(char* buffer, size_t one, size_t count, void* self);
  static CURLcode OnTlsContext(CURL* easy, void* ssl_ctx, void* self);

  void SetConnection(const TransferSettings& settings);
  void SetTrust(const TransferSettings& settings);
  void SetLimits();
  void SetMessage();
  template <typename Value>
  void Set(CURLoption option, Value value);

  void AddHeader(absl::string_view name, absl::string_view value);
  bool NothingWentOut() const;
  absl::Status Error(CURLcode code) const;
  absl::StatusOr<HttpResponse> Answer(absl::Time now) const;

  const HttpClient::CallId id_;
  HttpRequest request_;
  const bool probe_;
  const bool https_;
  const std::string origin_;
  Done done_;

  CURL* easy_ = nullptr;
  curl_slist* header_list_ = nullptr;
  CURLcode setup_ = CURLE_OK;  // the first option that was refused
  BootTime sent_at_;
  size_t body_sent_ = 0;
  size_t header_bytes_ = 0;
  bool too_large_ = false;
  bool headers_too_large_ = false;
  bool headers_complete_ = false;
  WipedBuffer body_;
  const TransferSettings* settings_ = nullptr;  // outlives this
  // Whose certificate was not trusted. Shared with the connection, which may end earlier or later.
  const std::shared_ptr<std::string> untrusted_issuer_ = std::make_shared<std::string>();
};

}  // namespace smartkey
