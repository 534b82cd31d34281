// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/renewal_offer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/error.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

constexpr char kWarning[] = "SAME_APP_SAME_SERVER";
constexpr size_t kLongestAnswer = 100;

// The youngest that may be renewed.
std::string FindRenewable(client::Client& client, const client::BegunEnrollment& begun) {
  const auto registrations = client.ListRegistrations();
  if (!registrations.ok()) return "";
  const client::Registration* youngest = nullptr;
  for (const client::Registration& one : *registrations) {
    const bool fits = one.app == begun.app && one.server == begun.server &&
                      one.relation == client::Relation::kOwn && one.id != begun.registration_id &&
                      one.state != client::RegistrationState::kPending &&
                      one.state != client::RegistrationState::kRegistering &&
                      one.state != client::RegistrationState::kVerifying &&
                      one.state != client::RegistrationState::kDeleting &&
                      !one.suspended.has_value();
    if (fits && (youngest == nullptr || one.created_at > youngest->created_at)) youngest = &one;
  }
  return youngest == nullptr ? "" : youngest->name;
}

// One line, octet by octet: what follows it is for others to read.
absl::StatusOr<std::string> ReadAnswer(int input_fd, Interrupt& interrupt) {
  std::string answer;
  while (answer.size() < kLongestAnswer) {
    pollfd fds[] = {{input_fd, POLLIN, 0}, {interrupt.fd(), POLLIN, 0}};
    if (poll(fds, std::size(fds), -1) < 0) continue;
    if (fds[1].revents != 0) {
      return MakeError(Reason::kEnrollmentCancelled, "interrupted; nothing was enrolled");
    }
    char octet = 0;
    if (read(input_fd, &octet, 1) != 1) {
      return MakeError(Reason::kCancelled, "nothing was enrolled");
    }
    if (octet == '\n') break;
    answer.push_back(octet);
  }
  return std::string(absl::StripAsciiWhitespace(answer));
}

}  // namespace

absl::StatusOr<std::string> ConsiderRenewal(client::Client& client,
                                            const client::BegunEnrollment& begun,
                                            const BrowserEnrollmentOptions& options,
                                            Interrupt& interrupt, std::ostream& err) {
  const std::vector<std::string>& warnings = begun.warnings;
  if (std::find(warnings.begin(), warnings.end(), kWarning) == warnings.end()) return "";
  const std::string name = FindRenewable(client, begun);
  if (name.empty()) return "";
  err << "You have " << TerminalText(name) << " of this app at this server: 'smartkeyctl renew "
      << TerminalText(name) << "' replaces it.\n"
      << std::flush;
  if (!options.ask || isatty(options.input_fd) != 1) return "";

  while (true) {
    err << "Some servers end the earlier one. Renew it instead (r), make a second one (s), or stop "
           "(q)? [r] "
        << std::flush;
    const auto answer = ReadAnswer(options.input_fd, interrupt);
    if (!answer.ok()) return answer.status();
    if (answer->empty() || *answer == "r" || *answer == "renew") return name;
    if (*answer == "s" || *answer == "second") return "";
    if (*answer == "q" || *answer == "quit") break;
  }
  return MakeError(Reason::kCancelled, "nothing was enrolled");
}

}  // namespace smartkey::ctl
