// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/browser_enrollment.h"

#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "clients/ctl/browser.h"
#include "clients/ctl/enrollment_target.h"
#include "clients/ctl/event_fd.h"
#include "clients/ctl/interrupt.h"
#include "clients/ctl/redirect_listener.h"
#include "clients/ctl/redirect_uri.h"
#include "clients/ctl/redirect_wait.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/renewal_offer.h"
#include "clients/ctl/ssh_forwarding.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

using client::EnrollmentStep;

constexpr absl::Duration kLastSteps = absl::Seconds(1);

const char* StepText(EnrollmentStep step) {
  switch (step) {
    case EnrollmentStep::kExchangingCode:
      return "The browser is back; exchanging the authorization code.";
    case EnrollmentStep::kSendingRegistration:
      return "Registering this machine's key with the server.";
    case EnrollmentStep::kAwaitingFirstToken:
      return "Registered; waiting for the first token.";
    default:
      return nullptr;  // Said by others, or a step that this version does not know.
  }
}

// Prints the steps of one enrollment as the daemon tells them, on a thread of its own.
class Progress {
 public:
  Progress(std::unique_ptr<client::EnrollmentWatch> watch, std::ostream& err)
      : err_(err), watch_(std::move(watch)), thread_([this] { Run(); }) {}

  ~Progress() {
    watch_->Cancel();
    thread_.join();
  }

  // After the enrollment: lets the last steps be printed, which arrive beside its result.
  void AwaitEnd() {
    pollfd fd = {ended_.fd(), POLLIN, 0};
    poll(&fd, 1, static_cast<int>(absl::ToInt64Milliseconds(kLastSteps)));
  }

  // Readable once the daemon has ended the enrollment.
  int failed_fd() const { return failed_.fd(); }
  absl::Status failure() {
    MutexLock lock(mu_);
    return failure_;
  }

 private:
  void Run() {
    PrintSteps();
    ended_.Set();
  }

  void PrintSteps() {
    EnrollmentStep last = EnrollmentStep::kUnspecified;
    bool key_ready = false;
    while (true) {
      auto next = watch_->Next();
      // No progress is no failure: whether the enrollment goes on is seen where it is completed.
      if (!next.ok() || !next->has_value()) return;
      const client::EnrollmentProgress& now = **next;
      if (now.key_ready && !key_ready) err_ << "The hardware key is made.\n" << std::flush;
      key_ready = key_ready || now.key_ready;
      const char* text = StepText(now.step);
      if (now.step != last && text != nullptr) err_ << text << "\n" << std::flush;
      last = now.step;
      if (now.step == EnrollmentStep::kFailed) SetFailure(now);
    }
  }

  void SetFailure(const client::EnrollmentProgress& failed) {
    const absl::optional<client::Cause>& cause = failed.error;
    MutexLock lock(mu_);
    failure_ = MakeError(cause.has_value() ? cause->reason : Reason::kInternal,
                         failed.message.empty()
                             ? "smartkeyd ended the enrollment"
                             : absl::StrCat("smartkeyd ended the enrollment: ", failed.message));
    if (cause.has_value()) failure_ = WithRemedy(std::move(failure_), cause->remedy);
    failed_.Set();
  }

  std::ostream& err_;
  const std::unique_ptr<client::EnrollmentWatch> watch_;
  EventFd failed_;
  EventFd ended_;
  Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // Last: it uses the others.
};

void ShowWhatIsAsked(const client::BegunEnrollment& begun, std::ostream& err) {
  Record record;
  record.Add("Server", begun.server);
  record.Add("FHIR base", begun.fhir_base);
  record.Add("App", begun.app);
  record.Add("Client id", begun.client_id);
  record.Add("Redirect URI", begun.redirect_uri);
  record.Add("Login at", begun.authorization_host);
  record.Add("Tokens from", begun.token_host);
  record.Add("Scopes", begun.scopes);
  err << record.ToText();
  for (const std::string& warning : begun.warnings) err << "Note: " << WarningText(warning) << "\n";
}

// Empty: nobody came by ssh, or nothing here waits for a browser.
std::string Forwarding(const RedirectListener* listener) {
  const auto uri = listener == nullptr ? absl::nullopt : ParseLoopbackUri(listener->uri());
  if (!uri.has_value()) return "";
  const passwd* user = getpwuid(geteuid());  // One thread uses it here.
  return SshForwarding(*uri, listener->port(), getenv("SSH_CONNECTION"),
                       user == nullptr ? "" : user->pw_name)
      .value_or("");
}

void ShowUrl(const client::BegunEnrollment& begun, const BrowserEnrollmentOptions& options,
             bool opened, const RedirectListener* listener, bool pasting, std::ostream& err) {
  const std::string forwarding = opened ? "" : Forwarding(listener);
  if (!forwarding.empty()) {
    err << "\nYou came here by ssh. If the browser is on your own machine, let its last page reach "
           "this one:\nrun there, with the address by which you reach this machine,\n\n  "
        << forwarding << "\n";
  }
  err << (opened
              ? "\nThe browser was asked to open this address; if it did not, open it yourself:\n\n"
              : "\nOpen this address in a browser, and log in there:\n\n")
      << TerminalText(begun.authorization_url, begun.authorization_url.size()) << "\n\n";
  if (pasting) {
    err << (listener != nullptr
                ? "If that browser runs on another machine, its last page will not load: paste "
                  "that page's\naddress here (it is not shown) and press Enter.\n"
                : "At the end paste the address of the page it ends on here (it is not shown) "
                  "and press\nEnter.\n");
  }
  err << "Waiting for the browser, for " << absl::FormatDuration(options.patience)
      << " at most. Ctrl-C gives up.\n"
      << std::flush;
}

void ShowUsualCauses(const client::BegunEnrollment& begun, std::ostream& err) {
  err << "The browser did not come back. Usual causes:\n"
         "- The server showed an error page: it knows another redirect URI or client id than\n"
      << "    " << TerminalText(begun.redirect_uri, 1024) << "\n    "
      << TerminalText(begun.client_id, 1024) << "\n"
      << "  or the change was made recently; some servers take an hour to use it.\n"
         "- The login was not finished, or the page for choosing a patient was left open.\n"
         "- The browser runs on another machine: use --no-browser and paste the address of its\n"
         "  last page.\n";
}

// Makes a call on a thread of its own, so that Ctrl-C is heard meanwhile.
template <typename Call, typename OnInterrupt>
auto CallInterruptibly(Interrupt& interrupt, Call call, OnInterrupt on_interrupt) {
  EventFd finished;
  auto result = std::async(std::launch::async, [&] {
    auto value = call();
    finished.Set();
    return value;
  });
  while (true) {
    pollfd fds[] = {{finished.fd(), POLLIN, 0}, {interrupt.fd(), POLLIN, 0}};
    if (poll(fds, std::size(fds), -1) < 0) continue;
    if (fds[0].revents != 0) return result.get();
    interrupt.Clear();
    on_interrupt();
  }
}

absl::StatusOr<client::BegunEnrollment> Begin(client::Client& client,
                                              const client::EnrollmentWish& wish,
                                              const std::string& redirect_uri, Interrupt& interrupt,
                                              std::ostream& err) {
  bool given_up = false;
  auto begun = CallInterruptibly(
      interrupt, [&] { return client.BeginEnrollment(wish, redirect_uri); },
      [&] {
        // What has no id yet cannot be cancelled. Asked twice, leave; smartkeyd ends it by itself.
        if (given_up) _exit(static_cast<int>(ExitCode::kFailed));
        given_up = true;
        err << "Giving up as soon as smartkeyd has answered; Ctrl-C again leaves at once.\n"
            << std::flush;
      });
  if (!given_up || !begun.ok()) return begun;
  client.CancelEnrollment(begun->enrollment_id).IgnoreError();
  return MakeError(Reason::kEnrollmentCancelled, "interrupted; it was given up before the login");
}

absl::StatusOr<client::Registration> Complete(client::Client& client,
                                              const std::string& enrollment_id, const Secret& query,
                                              Interrupt& interrupt, std::ostream& err) {
  return CallInterruptibly(
      interrupt, [&] { return client.CompleteEnrollment(enrollment_id, query); },
      [&] {
        const absl::Status cancelled = client.CancelEnrollment(enrollment_id);
        if (cancelled.ok()) return;
        err << "It cannot be given up any more: " << TerminalText(cancelled.message())
            << ". Waiting for the server.\n"
            << std::flush;
      });
}

// Null if the redirect has to be pasted.
absl::StatusOr<std::unique_ptr<RedirectListener>> Listen(const EnrollmentTarget& target,
                                                         const BrowserEnrollmentOptions& options,
                                                         std::ostream& err) {
  if (!target.loopback.has_value()) return std::unique_ptr<RedirectListener>();
  auto listener = RedirectListener::Start(*target.loopback);
  if (listener.ok() || options.open_browser) return listener;
  err << "Note: " << TerminalText(listener.status().message())
      << "; the redirect must be pasted.\n";
  return std::unique_ptr<RedirectListener>();
}

}  // namespace

absl::StatusOr<client::Registration> EnrollInBrowser(client::Client& client,
                                                     client::EnrollmentWish wish,
                                                     const BrowserEnrollmentOptions& options,
                                                     Interrupt& interrupt, std::ostream& err) {
  auto servers = client.ListServers();
  if (!servers.ok()) return servers.status();
  auto apps = client.ListApps();
  if (!apps.ok()) return apps.status();
  auto target = FindEnrollmentTarget(wish, *servers, *apps);
  if (!target.ok()) return target.status();
  wish.app = target->app;

  // Bound before anything is begun: the browser may be back at once.
  auto listener = Listen(*target, options, err);
  if (!listener.ok()) return listener.status();
  const std::string redirect_uri = *listener ? (*listener)->uri() : target->redirect_uri;
  auto begun = Begin(client, wish, redirect_uri, interrupt, err);
  if (!begun.ok()) return begun.status();
  const auto choice = ConsiderRenewal(client, *begun, options, interrupt, err);
  if (!choice.ok() || !choice->empty()) {
    client.CancelEnrollment(begun->enrollment_id).IgnoreError();
    if (!choice.ok()) return choice.status();
    wish.renews = *choice;
    begun = Begin(client, wish, redirect_uri, interrupt, err);
    if (!begun.ok()) return begun.status();
  }
  const Secret state = StateOfUrl(begun->authorization_url);
  if (*listener != nullptr) (*listener)->ExpectState(state.Clone());

  const bool pasting =
      !options.open_browser || *listener == nullptr || isatty(options.input_fd) == 1;
  ShowWhatIsAsked(*begun, err);
  std::unique_ptr<BrowserPage> page;
  if (options.open_browser && HasDesktop()) page = OpenBrowser(begun->authorization_url);
  ShowUrl(*begun, options, page != nullptr, listener->get(), pasting, err);

  auto watch = client.WatchEnrollment(begun->enrollment_id);
  if (!watch.ok()) return watch.status();
  Progress progress(*std::move(watch), err);
  std::unique_ptr<PastedLines> pasted;
  if (pasting) pasted = std::make_unique<PastedLines>(options.input_fd);
  auto query = WaitForRedirect(
      {listener->get(), pasted.get(), interrupt.fd(), progress.failed_fd(), state.RevealSecret()},
      options.patience, err);
  pasted.reset();
  page.reset();
  if (query.ok()) {
    auto registration = Complete(client, begun->enrollment_id, *query, interrupt, err);
    if (registration.ok()) {
      progress.AwaitEnd();
    } else {
      // Some answers leave the enrollment open at the daemon; a redirect with a wrong state does.
      client.CancelEnrollment(begun->enrollment_id).IgnoreError();
    }
    return registration;
  }
  if (!progress.failure().ok()) return progress.failure();
  if (ReasonOf(query.status()) == Reason::kBrowserTimeout) ShowUsualCauses(*begun, err);
  client.CancelEnrollment(begun->enrollment_id).IgnoreError();
  return query.status();
}

}  // namespace smartkey::ctl
