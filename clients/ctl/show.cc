// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

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
    record.Add("Suspended by", OwnerText(registration.suspended->by));
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
  record.Add("Enrolled", registration.created_at);
  record.Add("Last token", registration.last_token_at);
  record.Add("Next attempt", registration.next_attempt_at);
  if (registration.generation.has_value()) AddGeneration(*registration.generation, record);
  record.Add("Portal", registration.management_url);
  return record.ToText();
}

absl::Status RunShow(const Session& session, const std::string& name) {
  auto client = session.ConnectFor(name);
  if (!client.ok()) return client.status();
  auto registration = (*client)->GetRegistration(name);
  if (!registration.ok()) return registration.status();
  session.out << (session.json ? ToJsonDocument({{"registration", ToJson(*registration)}})
                               : RegistrationText(*registration));
  return absl::OkStatus();
}

}  // namespace

void AddShow(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("show", "Show one registration");
  command->add_option("REG", *name, "Its name or id")->required();
  command->callback(
      [&session, name] { session.run = [&session, name] { return RunShow(session, *name); }; });
}

}  // namespace smartkey::ctl
