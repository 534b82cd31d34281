// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/curl/curl_http_client.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <signal.h>

#include <cstdlib>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/mutex.h"
#include "daemon/http/curl/transfer.h"
#include "daemon/http/url.h"

namespace smartkey {

namespace {

constexpr long kIdleConnections = 32;
constexpr int kLongestPollMilliseconds = 60'000;  // libcurl's own timers and wakeups cut it short

absl::Status InitializeCurl() {
  static const CURLcode code = [] {
    // libcurl would write the keys of every TLS connection into the file this names.
    unsetenv("SSLKEYLOGFILE");
    return curl_global_init(CURL_GLOBAL_DEFAULT);
  }();
  if (code == CURLE_OK) return absl::OkStatus();
  return MakeError(Reason::kInternal, "the http library cannot be initialized");
}

absl::Status CheckProxy(const std::string& proxy) {
  if (proxy.empty()) return absl::OkStatus();
  // What may stand before '@' is a password: not quoted.
  std::string address = proxy;
  if (const size_t at = proxy.rfind('@'); at != std::string::npos) {
    address = absl::StrCat(proxy.substr(0, proxy.find("://") + 3), proxy.substr(at + 1));
  }
  const absl::StatusOr<Url> url = ParseUrl(address);
  if (url.ok() && url->scheme == "http") return absl::OkStatus();
  return MakeError(Reason::kConfigInvalid, "http.proxy is not of the form http://host:port");
}

absl::Status CheckCaFile(const std::string& file) {
  if (file.empty()) return absl::OkStatus();
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                      &X509_STORE_free);
  const bool loaded = store != nullptr && X509_STORE_load_file(store.get(), file.c_str()) == 1;
  ERR_clear_error();
  if (loaded) return absl::OkStatus();
  return MakeError(Reason::kConfigInvalid,
                   absl::StrCat("http.ca_file ", file, " holds no readable certificate"));
}

TransferSettings SettingsFrom(const CurlHttpOptions& options) {
  TransferSettings settings;
  settings.proxy = options.proxy;
  settings.no_proxy = absl::StrJoin(options.no_proxy, ",");
  settings.user_agent =
      options.user_agent.empty() ? "smartkeyd/" SMARTKEY_VERSION : options.user_agent;
  // A hashed directory is looked up by name; the bundle with all of them would be parsed for every
  // connection, on the one thread, so it is only used where there is no directory.
  const curl_version_info_data* built = curl_version_info(CURLVERSION_NOW);
  if (built->capath != nullptr) {
    settings.system_ca_directory = built->capath;
  } else if (built->cainfo != nullptr) {
    settings.ca_files.push_back(built->cainfo);
  }
  if (!options.ca_file.empty()) settings.ca_files.push_back(options.ca_file);
  return settings;
}

}  // namespace

class CurlHttpClient::Loop {
 public:
  Loop(TransferSettings settings, const Clock& clock)
      : settings_(std::move(settings)), clock_(clock), multi_(curl_multi_init()) {}

  ~Loop() {
    if (thread_.joinable()) {
      {
        MutexLock lock(mu_);
        stopping_ = true;
      }
      curl_multi_wakeup(multi_);
      thread_.join();
    }
    if (multi_ != nullptr) curl_multi_cleanup(multi_);
  }

  absl::Status Start() {
    if (multi_ == nullptr) return MakeError(Reason::kInternal, "the http library gave no handle");
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kIdleConnections);
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  CallId Begin(HttpRequest request, bool probe, Transfer::Done done) {
    absl::Status refusal = CheckRequest(request);
    CallId id;
    {
      MutexLock lock(mu_);
      id = next_++;
      if (refusal.ok() && stopping_) refusal = MarkNothingWasSent(ShuttingDown());
      if (refusal.ok()) {
        added_.push_back(
            std::make_unique<Transfer>(id, std::move(request), probe, std::move(done)));
      }
    }
    if (refusal.ok()) {
      curl_multi_wakeup(multi_);
    } else {
      done(std::move(refusal));
    }
    return id;
  }

  void Cancel(CallId id) {
    {
      MutexLock lock(mu_);
      if (stopping_) return;
      cancelled_.push_back(id);
    }
    curl_multi_wakeup(multi_);
  }

 private:
  static absl::Status ShuttingDown() {
    return MakeError(Reason::kShuttingDown, "smartkeyd is shutting down");
  }

  void Run() {
    pthread_setname_np(pthread_self(), "http");
    // Signals are main's; and without MSG_NOSIGNAL, OpenSSL's writes would raise SIGPIPE here.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);

    while (TakeOrders()) {
      int still_running = 0;
      curl_multi_perform(multi_, &still_running);
      FinishThoseDone();
      curl_multi_poll(multi_, nullptr, 0, kLongestPollMilliseconds, nullptr);
    }
    while (!running_.empty()) {
      Remove(running_.begin()->first)->Fail(ShuttingDown());
    }
  }

  // False: the end.
  bool TakeOrders() {
    std::vector<std::unique_ptr<Transfer>> added;
    std::vector<CallId> cancelled;
    bool stopping;
    {
      MutexLock lock(mu_);
      added.swap(added_);
      cancelled.swap(cancelled_);
      stopping = stopping_;
    }
    for (std::unique_ptr<Transfer>& transfer : added) {
      if (stopping) {
        transfer->Fail(ShuttingDown());
      } else {
        StartTransfer(std::move(transfer));
      }
    }
    if (stopping) return false;
    for (const CallId id : cancelled) {
      if (running_.count(id) == 0) continue;  // done meanwhile
      Remove(id)->Fail(MakeError(Reason::kCancelled, "the request was cancelled"));
    }
    return true;
  }

  void StartTransfer(std::unique_ptr<Transfer> transfer) {
    if (absl::Status status = transfer->Prepare(settings_, clock_.Boot()); !status.ok()) {
      return transfer->Fail(std::move(status));
    }
    if (curl_multi_add_handle(multi_, transfer->easy()) != CURLM_OK) {
      return transfer->Fail(MakeError(Reason::kInternal, "the http library took no transfer"));
    }
    const CallId id = transfer->id();
    running_.emplace(id, std::move(transfer));
  }

  void FinishThoseDone() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;  // the message goes with the handle
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      Remove(transfer->id())->Finish(code, clock_.Now());
    }
  }

  std::unique_ptr<Transfer> Remove(CallId id) {
    auto node = running_.extract(id);
    curl_multi_remove_handle(multi_, node.mapped()->easy());
    return std::move(node.mapped());
  }

  const TransferSettings settings_;
  const Clock& clock_;
  CURLM* const multi_;  // curl_multi_wakeup from any thread, all else from the loop's

  Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  CallId next_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<std::unique_ptr<Transfer>> added_ ABSL_GUARDED_BY(mu_);
  std::vector<CallId> cancelled_ ABSL_GUARDED_BY(mu_);

  std::map<CallId, std::unique_ptr<Transfer>> running_;  // the loop's thread only
  std::thread thread_;
};

CurlHttpClient::CurlHttpClient(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}

CurlHttpClient::~CurlHttpClient() = default;

absl::StatusOr<std::unique_ptr<CurlHttpClient>> CurlHttpClient::Create(CurlHttpOptions options,
                                                                       const Clock& clock) {
  for (const absl::Status& status :
       {InitializeCurl(), CheckProxy(options.proxy), CheckCaFile(options.ca_file)}) {
    if (!status.ok()) return status;
  }
  auto loop = std::make_unique<Loop>(SettingsFrom(options), clock);
  if (absl::Status status = loop->Start(); !status.ok()) return status;
  return std::unique_ptr<CurlHttpClient>(new CurlHttpClient(std::move(loop)));
}

HttpClient::CallId CurlHttpClient::Send(
    HttpRequest request, absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) {
  return loop_->Begin(std::move(request), /*probe=*/false, std::move(done));
}

HttpClient::CallId CurlHttpClient::Probe(HttpRequest request,
                                         absl::AnyInvocable<void(absl::Status)> done) {
  return loop_->Begin(std::move(request), /*probe=*/true,
                      [done = std::move(done)](absl::StatusOr<HttpResponse> response) mutable {
                        done(response.status());
                      });
}

void CurlHttpClient::Cancel(CallId id) {
  loop_->Cancel(id);
}

std::string HttpLibraryVersion() {
  return curl_version();
}

}  // namespace smartkey
