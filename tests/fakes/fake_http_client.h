// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "daemon/http/http_client.h"

namespace smartkey {

// What a FakeHttpClient's server says.
struct FakeAnswer {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
};

// What was sent, with its secrets in the open.
struct RecordedRequest {
  HttpClient::CallId id = 0;
  HttpRequest::Method method = HttpRequest::Method::kGet;
  std::string url;
  std::string accept, content_type, body, bearer;
  std::vector<std::pair<std::string, std::string>> headers;
  size_t max_body = 0;
  absl::Duration timeout;
  std::string ca_file;
  bool allow_loopback_http = false;
  bool single_use_connection = false;
  bool probe = false;

  // The value of a form field, decoded; empty when absent.
  std::string Form(absl::string_view name) const;
};

// A server in the test's hands. Looks for an answer in this order: what was scripted for the URL
// (each used once, in turn), the handler for the URL, the handler for all; else 404 as text/plain
// (a probe: OK). `done` runs inside Send, unless the client is told to Hold(): then when the test
// calls Release. sent_at and received_at come from the clock. Thread-safe; handlers run without a
// lock.
//
//   FakeHttpClient http(clock);
//   http.Script("https://ehr.example/token", FakeAnswer{.body = R"({"access_token":"t",...})"});
//   http.Script("https://ehr.example/token", MakeError(Reason::kServerUnreachable, "broken"));
//   ...
//   EXPECT_EQ(http.requests().at(0).Form("grant_type"), "authorization_code");
class FakeHttpClient : public HttpClient {
 public:
  using Result = absl::StatusOr<FakeAnswer>;
  using Handler = std::function<Result(const RecordedRequest&)>;

  explicit FakeHttpClient(const Clock& clock) : clock_(clock) {}
  // Calls still held get kShuttingDown, as with a real client.
  ~FakeHttpClient() override;

  CallId Send(HttpRequest request,
              absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done) override;
  void Cancel(CallId id) override;
  CallId Probe(HttpRequest request, absl::AnyInvocable<void(absl::Status)> done) override;

  void Script(const std::string& url, Result result);
  void Handle(const std::string& url, Handler handler);
  void HandleAll(Handler handler);

  // From now on calls wait for Release; `false`: answered at once again (those waiting stay).
  void Hold(bool hold = true);
  // Answers the oldest waiting call, or that one. False if there is none.
  bool Release();
  bool Release(CallId id);
  int ReleaseAll();
  // Forgets what waits, without calling `done`: what a kill does.
  void Drop();
  size_t held() const;
  // Waits until `count` calls are held or `patience` has passed; true if they are.
  bool WaitForHeld(size_t count, absl::Duration patience = absl::Seconds(10)) const;

  std::vector<RecordedRequest> requests() const;
  std::vector<RecordedRequest> requests(const std::string& url) const;
  size_t cancelled() const;

 private:
  struct Call {
    RecordedRequest request;
    BootTime sent_at;
    absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done;
  };

  CallId Start(HttpRequest request, bool probe,
               absl::AnyInvocable<void(absl::StatusOr<HttpResponse>)> done);
  void Answer(Call call);
  Result ResultFor(const RecordedRequest& request);

  const Clock& clock_;

  mutable Mutex mu_;
  mutable CondVar changed_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  CallId next_ ABSL_GUARDED_BY(mu_) = 1;
  size_t cancelled_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::vector<Result>> scripts_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Handler> handlers_ ABSL_GUARDED_BY(mu_);
  Handler handle_all_ ABSL_GUARDED_BY(mu_);
  std::map<CallId, Call> held_ ABSL_GUARDED_BY(mu_);
  std::vector<RecordedRequest> requests_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
