// SPDX-License-Identifier: Apache-2.0
#include "daemon/audit/audit_line.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/json.h"
#include "base/sha256.h"

namespace smartkey {
namespace {

using nlohmann::json;

constexpr size_t kHashDigits = 64;
constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%E3SZ";
constexpr char kSuccess[] = "OK";

std::string HashOf(absl::string_view previous_hash, absl::string_view json_text) {
  return absl::BytesToHexString(Sha256(absl::StrCat(previous_hash, " ", json_text)));
}

json UserJson(const AuditEntry::User& user) {
  return {{"uid", user.uid}, {"name", user.name}};
}

absl::optional<AuditEntry::User> ReadUser(const json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end() || !found->is_object()) return absl::nullopt;
  const auto uid = found->find("uid");
  if (uid == found->end() || !uid->is_number_unsigned()) return absl::nullopt;
  return AuditEntry::User{uid->get<uid_t>(), FindString(*found, "name").value_or("")};
}

template <typename Number>
Number ReadNumber(const json& object, const char* member) {
  const auto found = object.find(member);
  return found != object.end() && found->is_number_unsigned() ? found->get<Number>() : Number();
}

absl::Status Malformed(absl::string_view what) {
  return MakeError(Reason::kInvalidArgument, absl::StrCat("a line of the audit log ", what));
}

}  // namespace

std::string ToAuditLine(const AuditHead& previous, AuditEntry& entry) {
  entry.sequence = previous.sequence + 1;
  json object = {{"seq", entry.sequence},
                 {"time", absl::FormatTime(kTimeFormat, entry.time, absl::UTCTimeZone())},
                 {"op", entry.operation}};
  if (entry.user.has_value()) object["user"] = UserJson(*entry.user);
  if (entry.login.has_value()) object["login"] = UserJson(*entry.login);
  if (entry.pid > 0) object["pid"] = static_cast<uint32_t>(entry.pid);
  if (!entry.unit.empty()) object["unit"] = entry.unit;
  if (!entry.executable.empty()) object["exe"] = entry.executable;
  if (entry.admin) object["admin"] = true;
  if (!entry.registration_id.empty()) object["registration"] = entry.registration_id;
  if (entry.repeats > 0) object["repeats"] = entry.repeats;
  object["outcome"] = entry.outcome == Reason::kUnspecified
                          ? std::string(kSuccess)
                          : std::string(ReasonName(entry.outcome));
  json facts = json::object();
  for (const auto& [name, value] : entry.facts) facts[name] = value;
  if (!facts.empty()) object["facts"] = std::move(facts);
  const std::string text = ToJsonText(object);
  entry.hash = HashOf(previous.hash, text);
  return absl::StrCat(entry.hash, " ", text, "\n");
}

absl::StatusOr<AuditEntry> ParseAuditLine(absl::string_view line) {
  if (line.size() < kHashDigits + 2 || line[kHashDigits] != ' ') return Malformed("has no hash");
  absl::StatusOr<json> parsed = ParseJson(line.substr(kHashDigits + 1));
  if (!parsed.ok() || !parsed->is_object()) return Malformed("is no JSON object");
  const json& object = *parsed;
  AuditEntry entry;
  entry.hash = std::string(line.substr(0, kHashDigits));
  entry.sequence = ReadNumber<uint64_t>(object, "seq");
  std::string error;
  if (entry.sequence == 0 || !absl::ParseTime(kTimeFormat, FindString(object, "time").value_or(""),
                                              absl::UTCTimeZone(), &entry.time, &error)) {
    return Malformed("has no number or no time");
  }
  entry.operation = FindString(object, "op").value_or("");
  entry.user = ReadUser(object, "user");
  entry.login = ReadUser(object, "login");
  entry.pid = ReadNumber<uint32_t>(object, "pid");
  entry.unit = FindString(object, "unit").value_or("");
  entry.executable = FindString(object, "exe").value_or("");
  entry.admin = object.value("admin", json()) == true;
  entry.registration_id = FindString(object, "registration").value_or("");
  entry.repeats = ReadNumber<uint64_t>(object, "repeats");
  // A newer version's reason is shown as an internal error, not as success.
  const std::string outcome = FindString(object, "outcome").value_or("");
  entry.outcome = outcome == kSuccess ? Reason::kUnspecified
                                      : ReasonFromName(outcome).value_or(Reason::kInternal);
  if (const auto facts = object.find("facts"); facts != object.end() && facts->is_object()) {
    for (const auto& [name, value] : facts->items()) {
      if (value.is_string()) entry.facts.emplace_back(name, value.get<std::string>());
    }
  }
  return entry;
}

std::string FactOf(const AuditEntry& entry, absl::string_view name) {
  for (const auto& [key, value] : entry.facts) {
    if (key == name) return value;
  }
  return "";
}

bool FitsAfter(absl::string_view previous_hash, absl::string_view line) {
  return line.size() > kHashDigits + 1 &&
         line.substr(0, kHashDigits) == HashOf(previous_hash, line.substr(kHashDigits + 1));
}

std::string CheckpointText(const AuditHead& head) {
  return absl::StrCat("smartkeyd audit checkpoint 1\n", head.ToString(), "\n");
}

}  // namespace smartkey
