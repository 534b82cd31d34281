// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_http_client.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/hex.h"

namespace smartkey {

namespace {

std::string FormDecode(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += HexDecode(text.substr(i + 1, 2)).value_or("");
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::string RecordedRequest::Form(absl::string_view name) const {
  for (const absl::string_view field : absl::StrSplit(body, '&')) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(field, absl::MaxSplits('=', 1));
    if (FormDecode(parts.first) == name) return FormDecode(parts.second);
  }
  return "";
}

FakeHttpClient::~FakeHttpClient() {
  std::map<CallId, Call> held;
  {
    MutexLock lock(mu_);
    held.swap(held_);
  }
  for (auto& [id, call] : held) {
    call.done(MakeError(Reason::kShuttingDown, "the http client is shutting down"));
  }
}

HttpClient::CallId FakeHttpClient::Send(
    HttpRequest request, absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) {
  return Start(std::move(request), /*probe=*/false, std::move(done));
}

HttpClient::CallId FakeHttpClient::Probe(HttpRequest request,
                                         absl::AnyInvocable<void(absl::Status)> done) {
  return Start(std::move(request), /*probe=*/true,
               [done = std::move(done)](absl::StatusOr<HttpResponse> response) mutable {
                 done(response.status());
               });
}

HttpClient::CallId FakeHttpClient::Start(
    HttpRequest request, bool probe, absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) {
  Call call;
  call.sent_at = clock_.Boot();
  call.done = std::move(done);
  RecordedRequest& recorded = call.request;
  recorded.method = request.method;
  recorded.url = request.url;
  recorded.accept = request.accept;
  recorded.content_type = request.content_type;
  recorded.body = std::string(request.body.RevealSecret());
  recorded.bearer = std::string(request.bearer.RevealSecret());
  recorded.headers = request.headers;
  recorded.max_body = request.max_body;
  recorded.timeout = request.timeout;
  recorded.ca_file = request.ca_file;
  recorded.allow_loopback_http = request.allow_loopback_http;
  recorded.single_use_connection = request.single_use_connection;
  recorded.probe = probe;

  CallId id;
  {
    MutexLock lock(mu_);
    id = next_++;
    recorded.id = id;
    requests_.push_back(recorded);
    if (hold_) {
      held_.emplace(id, std::move(call));
      changed_.NotifyAll();
      return id;
    }
  }
  Answer(std::move(call));
  return id;
}

void FakeHttpClient::Cancel(CallId id) {
  std::map<CallId, Call>::node_type node;
  {
    MutexLock lock(mu_);
    node = held_.extract(id);
    if (node.empty()) return;
    ++cancelled_;
    changed_.NotifyAll();
  }
  node.mapped().done(MakeError(Reason::kCancelled, "the request was cancelled"));
}

FakeHttpClient::Result FakeHttpClient::ResultFor(const RecordedRequest& request) {
  Handler handler;
  {
    MutexLock lock(mu_);
    const auto script = scripts_.find(request.url);
    if (script != scripts_.end() && !script->second.empty()) {
      Result result = std::move(script->second.front());
      script->second.erase(script->second.begin());
      return result;
    }
    const auto found = handlers_.find(request.url);
    handler = found != handlers_.end() ? found->second : handle_all_;
  }
  if (handler) return handler(request);
  if (request.probe) return FakeAnswer{};
  return FakeAnswer{
      .status = 404, .body = "not found", .content_type = "text/plain", .headers = {}};
}

void FakeHttpClient::Answer(Call call) {
  Result result = ResultFor(call.request);
  if (!result.ok()) {
    call.done(result.status());
    return;
  }
  HttpResponse response;
  response.status = result->status;
  response.content_type = result->content_type;
  response.headers = std::move(result->headers);
  response.body = Secret::CopyOf(result->body);
  response.sent_at = call.sent_at;
  response.received_at = clock_.Now();
  call.done(std::move(response));
}

void FakeHttpClient::Script(const std::string& url, Result result) {
  MutexLock lock(mu_);
  scripts_[url].push_back(std::move(result));
}

void FakeHttpClient::Handle(const std::string& url, Handler handler) {
  MutexLock lock(mu_);
  handlers_[url] = std::move(handler);
}

void FakeHttpClient::HandleAll(Handler handler) {
  MutexLock lock(mu_);
  handle_all_ = std::move(handler);
}

void FakeHttpClient::Hold(bool hold) {
  MutexLock lock(mu_);
  hold_ = hold;
}

bool FakeHttpClient::Release() {
  CallId oldest;
  {
    MutexLock lock(mu_);
    if (held_.empty()) return false;
    oldest = held_.begin()->first;
  }
  return Release(oldest);
}

bool FakeHttpClient::Release(CallId id) {
  std::map<CallId, Call>::node_type node;
  {
    MutexLock lock(mu_);
    node = held_.extract(id);
    if (node.empty()) return false;
    changed_.NotifyAll();
  }
  Answer(std::move(node.mapped()));
  return true;
}

int FakeHttpClient::ReleaseAll() {
  int released = 0;
  while (Release()) ++released;
  return released;
}

void FakeHttpClient::Drop() {
  std::map<CallId, Call> held;
  MutexLock lock(mu_);
  held.swap(held_);
}

size_t FakeHttpClient::held() const {
  MutexLock lock(mu_);
  return held_.size();
}

bool FakeHttpClient::WaitForHeld(size_t count, absl::Duration patience) const {
  const absl::Time end = absl::Now() + patience;
  MutexLock lock(mu_);
  while (held_.size() < count) {
    const absl::Duration left = end - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    changed_.WaitFor(mu_, left);
  }
  return true;
}

std::vector<RecordedRequest> FakeHttpClient::requests() const {
  MutexLock lock(mu_);
  return requests_;
}

std::vector<RecordedRequest> FakeHttpClient::requests(const std::string& url) const {
  MutexLock lock(mu_);
  std::vector<RecordedRequest> found;
  for (const RecordedRequest& request : requests_) {
    if (request.url == url) found.push_back(request);
  }
  return found;
}

size_t FakeHttpClient::cancelled() const {
  MutexLock lock(mu_);
  return cancelled_;
}

}  // namespace smartkey
