// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

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
    absl::StrAppend(&text, text.empty() ? "\nKeys in the token that no registration needs:\n" : "",
                    "  ", key.label, "\n");
  }
  if (!stored.keys.empty() || stored.of_other_instances > 0) {
    absl::StrAppend(&text, "\nIn the token: ", stored.keys.size(), " keys of this smartkeyd, ",
                    stored.of_other_instances, " of others that use it too.\n");
  }
  return text;
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
                  << Printable(stored.status().message()) << "\n  "
                  << Printable(RemedyOf(stored.status())) << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddKeys(CLI::App& app, Session& session) {
  auto all = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("keys", "Show hardware keys and how they are protected");
  command->add_flag("--all", *all, "Those of all owners and in the token, over the admin socket");
  command->callback([&session, all] {
    session.run = [&session, all] { return *all ? RunAll(session) : RunOwn(session); };
  });
}

}  // namespace smartkey::ctl
