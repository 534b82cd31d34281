// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/registration_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

struct WarningRow {
  absl::string_view name;
  absl::string_view text;
};

constexpr WarningRow kWarnings[] = {
    {"SAME_APP_SAME_SERVER",
     "you have a registration of this app at this server; some servers end the earlier one"},
    {"MAYBE_SUPERSEDED",
     "refused, and a younger registration of this app at this server may be why"},
    {"ENDPOINTS_CHANGED",
     "the server publishes other endpoints than when this was enrolled; those of "
     "then are used"},
    {"CLOCK_DIFFERS", "this machine's clock and the server's differ by more than 30 seconds"},
    {"SERVER_DOES_NOT_NARROW", "the server ignores which scopes are asked for"},
};

std::string SuspendedByText(const client::Suspension& suspension) {
  // Of old records the name is not known.
  if (suspension.by_administrator && suspension.by.name.empty()) return "an administrator";
  return absl::StrCat(OwnerText(suspension.by),
                      suspension.by_administrator ? ", as administrator" : "");
}

void AddGeneration(const client::Generation& generation, Record& record) {
  record.Add("Generation", absl::StrCat(generation.number));
  record.Add("Client id", generation.client_id);
  record.Add("Registered", generation.registered_at);
  record.Add("First token", generation.first_token_at);
  if (!generation.key.has_value()) return;
  record.Add("Key",
             absl::StrCat(generation.key->algorithm, " in ", Name(generation.key->provider)));
  record.Add("Thumbprint", generation.key->thumbprint);
  record.Add("Key attributes", AttributesText(*generation.key));
}

void AddState(const client::Registration& registration, Record& record) {
  record.Add("State", absl::StrCat(StateText(registration), " (", Name(registration.state), ")"));
  if (registration.suspended.has_value()) {
    record.Add("Suspended by", SuspendedByText(*registration.suspended));
    record.Add("Suspended since", registration.suspended->since);
    record.Add("Reason given", registration.suspended->why);
  }
  if (registration.cause.has_value()) {
    record.Add("Cause", ReasonName(registration.cause->reason));
    record.Add("What to do", registration.cause->remedy);
  }
  for (const std::string& warning : registration.warnings) {
    record.Add("Note", WarningText(warning));
  }
}

void AddShares(const client::Registration& registration, Record& record) {
  if (registration.relation == client::Relation::kShared) {
    std::vector<std::string> operations;
    for (const std::string& one : registration.operations) {
      operations.push_back(absl::AsciiStrToLower(one));
    }
    record.Add("You may", absl::StrJoin(operations, ", "));
  }
  if (registration.shares_only) record.Add("Private", "even the owner's programs need a share");
  for (const client::Share& share : registration.shares) {
    record.Add("Shared with", ShareText(share));
  }
}

}  // namespace

std::string ShareText(const client::Share& share) {
  std::vector<std::string> operations;
  for (const std::string& one : share.operations) operations.push_back(absl::AsciiStrToLower(one));
  std::string text = absl::StrCat(share.principal, ": ", absl::StrJoin(operations, ", "));
  if (!share.scopes.empty()) absl::StrAppend(&text, " for ", absl::StrJoin(share.scopes, " "));
  if (share.expires_at.has_value()) absl::StrAppend(&text, " until ", TimeText(*share.expires_at));
  if (!share.policy.empty()) absl::StrAppend(&text, ", by ", share.policy);
  return text;
}

std::string StateText(const client::Registration& registration) {
  if (registration.suspended.has_value()) return "suspended";
  if (!registration.state_words.empty()) return registration.state_words;
  return std::string(Name(registration.state));
}

std::string OwnerText(const client::User& owner) {
  return owner.name.empty() ? absl::StrCat("uid:", owner.uid) : owner.name;
}

std::string WarningText(absl::string_view warning) {
  for (const WarningRow& row : kWarnings) {
    if (row.name == warning) return std::string(row.text);
  }
  return TerminalText(warning);
}

std::string AttributesText(const client::Key& key) {
  std::vector<std::string> words;
  for (const auto& [name, value] : key.attributes) {
    words.push_back(absl::StrCat(value ? "" : "!", name));
  }
  return absl::StrJoin(words, " ");
}

std::string NameToType(const client::Registration& registration) {
  if (registration.relation != client::Relation::kAdministered) return registration.name;
  return absl::StrCat(OwnerText(registration.owner), "/", registration.name);
}

std::string RegistrationText(const client::Registration& registration) {
  Record record;
  record.Add("Name", registration.name);
  record.Add("Id", registration.id);
  record.Add("Label", registration.label);
  record.Add("Owner", OwnerText(registration.owner));
  AddState(registration, record);
  record.Add("App", registration.app);
  record.Add("Server", registration.server);
  record.Add("FHIR base", registration.fhir_base);
  record.Add("Token endpoint", registration.token_endpoint);
  record.Add("Scopes", registration.scopes);
  record.Add("Patient", registration.context_varies ? "varies" : registration.patient);
  record.Add("User", registration.fhir_user);
  record.Add("Other patient", registration.other_patient);
  record.Add("Other user", registration.other_fhir_user);
  AddShares(registration, record);
  record.Add("Enrolled", registration.created_at);
  record.Add("Last token", registration.last_token_at);
  record.Add("Next attempt", registration.next_attempt_at);
  record.Add("Expected end", ExpectedEndText(registration));
  if (registration.generation.has_value()) AddGeneration(*registration.generation, record);
  if (registration.next_generation.has_value()) {
    record.Add("Next generation", absl::StrCat(registration.next_generation->number, " (",
                                               Name(registration.next_generation->state), ")"));
  }
  record.Add("Portal", registration.management_url);
  return record.ToText();
}

std::string ExpectedEndText(const client::Registration& registration) {
  if (!registration.expected_end.has_value()) return "";
  absl::string_view source = "";
  switch (registration.expected_end->source) {
    case client::EndSource::kPerson:
      source = " (as you said)";
      break;
    case client::EndSource::kEarlierGenerations:
      source = " (earlier ones lasted as long)";
      break;
    case client::EndSource::kUnspecified:
      break;
  }
  return absl::StrCat(TimeText(registration.expected_end->time), source);
}

std::string EnrolledText(const client::Registration& registration) {
  Record record;
  record.Add("Enrolled", registration.name);
  record.Add("Id", registration.id);
  record.Add("State", StateText(registration));
  record.Add("Get a token", absl::StrCat("smartkeyctl token ", registration.name));
  for (const std::string& warning : registration.warnings) {
    record.Add("Note", WarningText(warning));
  }
  return record.ToText();
}

}  // namespace smartkey::ctl
