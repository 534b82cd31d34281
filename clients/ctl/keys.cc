// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/hex.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"
#include "clients/ctl/terminal_text.h"

namespace smartkey::ctl {
namespace {

// A key with what it is for.
struct KeyOfGeneration {
  const client::Registration* registration;
  const client::Generation* generation;
};

// Not of what others share: their keys are their business.
std::vector<KeyOfGeneration> KeysOf(const std::vector<client::Registration>& registrations) {
  std::vector<KeyOfGeneration> keys;
  for (const client::Registration& registration : registrations) {
    if (registration.relation == client::Relation::kShared) continue;
    for (const auto* generation : {&registration.generation, &registration.next_generation}) {
      if (generation->has_value() && (*generation)->key.has_value()) {
        keys.push_back({&registration, &**generation});
      }
    }
  }
  return keys;
}

std::string KeyText(const KeyOfGeneration& one) {
  const client::Key& key = *one.generation->key;
  Record record;
  record.Add("Registration", absl::StrCat(NameToType(*one.registration), " (generation ",
                                          one.generation->number, ")"));
  record.Add("State", StateText(*one.registration));
  record.Add("Key", absl::StrCat(key.algorithm, " in ", Name(key.provider)));
  record.Add("Thumbprint", key.thumbprint);
  record.Add("Attributes", AttributesText(key));
  record.Add("Made", key.created_at);
  return record.ToText();
}

nlohmann::json KeyJson(const KeyOfGeneration& one) {
  nlohmann::json json = ToJson(*one.generation->key);
  json["registration"] = one.registration->id;
  json["generation"] = one.generation->number;
  return json;
}

std::string StoredText(const client::StoredKeys& stored) {
  std::string text;
  for (const client::StoredKeys::Key& key : stored.keys) {
    if (!key.stray) continue;
    absl::StrAppend(
        &text,
        text.empty() ? "\nKeys in the token that neither a registration nor the audit log needs:\n"
                     : "",
        "  ", TerminalText(key.label), "\n    id ", absl::BytesToHexString(key.id), "\n");
  }
  if (!text.empty()) absl::StrAppend(&text, "'smartkeyctl keys --remove-stray ID' removes one.\n");
  if (!stored.keys.empty() || stored.of_other_instances > 0) {
    absl::StrAppend(&text, "\nIn the token: ", stored.keys.size(), " keys of this smartkeyd, ",
                    stored.of_other_instances, " of others that use it too.\n");
  }
  return text;
}

absl::StatusOr<std::string> OctetsFromHex(const std::string& hex) {
  absl::optional<std::string> octets = HexDecode(hex);
  if (hex.empty() || !octets.has_value()) {
    return WithRemedy(MakeError(Reason::kInvalidArgument,
                                "the id of a key is an even number of hexadecimal digits"),
                      "copy it from 'smartkeyctl keys --all', or say 'all'");
  }
  return *std::move(octets);
}

absl::Status RunOwn(const Session& session) {
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto registrations = (*client)->ListRegistrations();
  if (!registrations.ok()) return registrations.status();
  const std::vector<KeyOfGeneration> keys = KeysOf(*registrations);
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const KeyOfGeneration& key : keys) list.push_back(KeyJson(key));
    session.out << ToJsonDocument({{"keys", std::move(list)}});
    return absl::OkStatus();
  }
  if (keys.empty()) {
    session.err << "You have no keys. 'smartkeyctl enroll SERVER' makes one.\n";
  }
  for (size_t i = 0; i < keys.size(); ++i) session.out << (i > 0 ? "\n" : "") << KeyText(keys[i]);
  return absl::OkStatus();
}

// Also what the hardware stores; where that cannot be asked now, the records are shown all the
// same, with the reason: one document in either case.
absl::Status RunAll(const Session& session) {
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  auto registrations = (*client)->ListRegistrations();
  if (!registrations.ok()) return registrations.status();
  const auto stored = (*client)->ListStoredKeys();
  const std::vector<KeyOfGeneration> keys = KeysOf(*registrations);
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const KeyOfGeneration& key : keys) list.push_back(KeyJson(key));
    nlohmann::json document = {{"keys", std::move(list)}};
    if (stored.ok()) {
      document["stored"] = ToJson(*stored);
    } else {
      document["stored_error"] = ToJson(stored.status());
    }
    session.out << ToJsonDocument(std::move(document));
  } else {
    for (size_t i = 0; i < keys.size(); ++i) {
      session.out << (i > 0 ? "\n" : "") << KeyText(keys[i]);
    }
    if (stored.ok()) {
      session.out << StoredText(*stored);
    } else {
      session.err << "What the hardware stores is not known: "
                  << TerminalText(stored.status().message()) << "\n  "
                  << TerminalText(RemedyOf(stored.status())) << "\n";
    }
  }
  return absl::OkStatus();
}

// `which`: an id as `keys --all` shows it, or "all".
absl::Status RunRemoveStray(const Session& session, const std::string& which, bool yes) {
  absl::optional<std::vector<std::string>> ids;
  if (which != "all") {
    absl::StatusOr<std::string> id = OctetsFromHex(which);
    if (!id.ok()) return id.status();
    ids = {*std::move(id)};
  }
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  if (!yes) {
    const absl::Status confirmed = session.Confirm(
        absl::StrCat(ids.has_value() ? "Destroy this key" : "Destroy every stray key",
                     " in the token? A registration that only an older copy\n"
                     "of the database knows could not be taken up from that copy afterwards."),
        "nothing was removed");
    if (!confirmed.ok()) return confirmed;
  }
  auto removed = (*client)->RemoveStrayKeys(ids);
  if (!removed.ok()) return removed.status();
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const client::StoredKeys::Key& key : *removed) list.push_back(ToJson(key));
    session.out << ToJsonDocument({{"removed", std::move(list)}});
    return absl::OkStatus();
  }
  for (const client::StoredKeys::Key& key : *removed)
    session.out << "Removed " << TerminalText(key.label) << "\n";
  if (removed->empty()) session.err << "There are no stray keys.\n";
  return absl::OkStatus();
}

}  // namespace

void AddKeys(CLI::App& app, Session& session) {
  struct Arguments {
    bool all = false;
    bool yes = false;
    std::string remove_stray;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("keys", "Show hardware keys and how they are protected");
  CLI::Option* all = command->add_flag(
      "--all", arguments->all, "Those of all owners and in the token, over the admin socket");
  CLI::Option* remove =
      command
          ->add_option("--remove-stray", arguments->remove_stray,
                       "Destroy a key in the token that nothing needs, by the id that --all "
                       "shows, or 'all' of them")
          ->type_name("ID")
          ->excludes(all);
  command->add_flag("--yes", arguments->yes, "Do not ask")->needs(remove);
  command->callback([&session, arguments, remove] {
    session.run = [&session, arguments, remove] {
      if (remove->count() > 0) {
        return RunRemoveStray(session, arguments->remove_stray, arguments->yes);
      }
      return arguments->all ? RunAll(session) : RunOwn(session);
    };
  });
}

}  // namespace smartkey::ctl
