// SPDX-License-Identifier: Apache-2.0
#include "clients/ctl/registration_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "clients/ctl/table.h"

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
     "refused since a younger registration of the same app at this server exists"},
    {"ENDPOINTS_CHANGED",
     "the server publishes other endpoints than when this was enrolled; those of "
     "then are used"},
    {"CLOCK_DIFFERS", "this machine's clock and the server's differ by more than 30 seconds"},
    {"SERVER_DOES_NOT_NARROW", "the server ignores which scopes are asked for"},
};

}  // namespace

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
  return Printable(warning);
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

std::string EnrolledText(const client::Registration& registration) {
  Record record;
  record.Add("Enrolled", registration.name);
  record.Add("Id", registration.id);
  record.Add("State", StateText(registration));
  record.Add("Get a token", absl::StrCat("smartkeyctl token ", registration.name));
  return record.ToText();
}

}  // namespace smartkey::ctl
