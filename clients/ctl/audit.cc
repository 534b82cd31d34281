// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/duration.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

std::string UserText(const client::User& user) {
  return user.name.empty() ? absl::StrCat("uid ", user.uid) : TerminalText(user.name, 40);
}

std::string WhoText(const client::AuditEntry& entry) {
  if (!entry.user.has_value()) return "smartkeyd";
  std::string text = UserText(*entry.user);
  if (entry.login.has_value()) {
    absl::StrAppend(&text, " (logged in as ", UserText(*entry.login), ")");
  }
  if (!entry.unit.empty()) absl::StrAppend(&text, " in ", TerminalText(entry.unit, 80));
  if (entry.admin) absl::StrAppend(&text, ", as administrator");
  return text;
}

// What was done on one line, with what below it.
std::string EntryText(const client::AuditEntry& entry) {
  std::string operation = entry.operation;
  if (const size_t slash = operation.find('/'); slash != std::string::npos) {
    if (operation.substr(0, slash) != "access" && operation.substr(0, slash) != "smartkeyd") {
      operation = operation.substr(slash + 1);
    }
  }
  std::string text = absl::StrCat(TimeText(entry.time), "  ", WhoText(entry), ": ",
                                  TerminalText(operation, 60), " ", entry.outcome);
  if (entry.repeats > 0) absl::StrAppend(&text, ", ", entry.repeats, " more times");
  std::vector<std::string> rest;
  if (!entry.registration.empty())
    rest.push_back(absl::StrCat("registration ", entry.registration));
  for (const auto& [name, value] : entry.facts) {
    // A checkpoint's key and signature are for the check to read.
    if (name == "key" || name == "signature") continue;
    rest.push_back(absl::StrCat(name, "=", value));
  }
  if (entry.pid > 0) rest.push_back(absl::StrCat("pid ", entry.pid));
  if (!entry.executable.empty()) rest.push_back(absl::StrCat("seen as ", entry.executable));
  text += "\n";
  if (!rest.empty()) {
    absl::StrAppend(&text, "    ",
                    WrapWords(TerminalText(absl::StrJoin(rest, ", "), 1024), 4, kTerminalColumns),
                    "\n");
  }
  return text;
}

struct Arguments {
  std::string registration;
  bool all = false;
  bool follow = false;
  std::string since;
  bool verify = false;
  std::string anchor;
};

absl::Status RunRead(const Session& session, const Arguments& arguments) {
  client::AuditQuery query;
  query.follow = arguments.follow;
  query.registration = arguments.registration;
  if (!arguments.since.empty()) {
    const absl::StatusOr<absl::Duration> since = ParseDuration(arguments.since);
    if (!since.ok()) return since.status();
    query.since = absl::Now() - *since;
  }
  auto client =
      arguments.all ? session.ConnectAs(true) : session.ConnectFor(arguments.registration);
  if (!client.ok()) return client.status();
  auto stream = (*client)->ReadAuditLog(query);
  if (!stream.ok()) return stream.status();
  for (bool any = false;; any = true) {
    auto entry = (*stream)->Next();
    if (!entry.ok()) return entry.status();
    if (!entry->has_value()) {
      if (!any && !session.json) session.err << "The audit log has no such entry.\n";
      return absl::OkStatus();
    }
    session.out << (session.json ? ToJsonLine(ToJson(**entry)) : EntryText(**entry)) << std::flush;
    if (!session.out) return OutputFailure();
  }
}

bool AllFits(const client::AuditVerification& found) {
  return !found.first_broken.has_value() && found.problems.empty();
}

std::string SignedText(const client::AuditVerification& found) {
  if (found.signed_sequence > 0) return absl::StrCat("up to entry ", found.signed_sequence);
  return found.signed_checkpoints == 0 ? "nothing yet" : "nothing that can be relied on";
}

std::string AnchoredText(const client::AuditVerification& found, const std::string& anchor) {
  if (found.anchored_sequence > 0) return absl::StrCat("up to entry ", found.anchored_sequence);
  return anchor.empty() ? "not: compare with a head that was kept elsewhere, with --anchor"
                        : "not: see the problems below";
}

std::string VerificationText(const client::AuditVerification& found, const std::string& anchor) {
  Record record;
  record.Add("Result",
             AllFits(found) ? "everything fits" : "NOT everything fits: see the problems below");
  record.Add("Entries", absl::StrCat(found.entries, " form an unbroken chain, from ",
                                     found.first_sequence, " on"));
  record.Add("Head", found.head);
  if (found.first_broken.has_value()) {
    record.Add("BROKEN", absl::StrCat("at entry ", *found.first_broken));
  }
  record.Add("Checkpoints", absl::StrCat(found.signed_checkpoints, " signed, ",
                                         found.unsigned_checkpoints, " without a signature"));
  record.Add("Signed", SignedText(found));
  record.Add("Signed by", found.key_thumbprints);
  record.Add("Anchored", AnchoredText(found, anchor));
  std::string text = record.ToText();
  if (!found.problems.empty()) text += "\nProblems:\n";
  for (const std::string& problem : found.problems) {
    absl::StrAppend(&text, "  ", WrapWords(TerminalText(problem, 512), 2, kTerminalColumns), "\n");
  }
  return text;
}

absl::Status RunVerify(Session& session, const std::string& anchor) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  const auto found = (*client)->VerifyAuditLog(anchor);
  if (!found.ok()) return found.status();
  session.out << (session.json ? ToJsonDocument(ToJson(*found)) : VerificationText(*found, anchor));
  const bool as_wanted = AllFits(*found) && (anchor.empty() || found->anchored_sequence > 0);
  if (!as_wanted) session.exit_code = ExitCode::kFailed;
  return absl::OkStatus();
}

}  // namespace

void AddAudit(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "audit", "Show what was done with registrations, by whom: with those that are yours");
  CLI::Option* registration =
      command->add_option("REG", arguments->registration, "Only with this one");
  command->add_flag("--all", arguments->all, "Everything, over the admin socket");
  CLI::Option* follow =
      command->add_flag("--follow", arguments->follow, "Go on with new entries as they come");
  CLI::Option* since =
      command->add_option("--since", arguments->since, "Only what is not older than that: 7d")
          ->type_name("DURATION");
  CLI::Option* verify = command->add_flag(
      "--verify", arguments->verify,
      "Check that nothing was changed or taken out, over the admin socket; ends with 1 otherwise");
  // The chain is one: no part of it can be checked alone.
  for (CLI::Option* other : {registration, follow, since}) verify->excludes(other);
  command
      ->add_option("--anchor", arguments->anchor,
                   "With --verify: a head that was kept elsewhere (SMARTKEY_AUDIT_HEAD)")
      ->type_name("N:HASH")
      ->needs(verify);
  command->callback([&session, arguments] {
    session.json_lines = !arguments->verify;
    session.run = [&session, arguments] {
      return arguments->verify ? RunVerify(session, arguments->anchor)
                               : RunRead(session, *arguments);
    };
  });
}

}  // namespace smartkey::ctl
