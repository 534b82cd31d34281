// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "clients/ctl/access_for.h"
#include "clients/ctl/browser_arguments.h"
#include "clients/ctl/browser_enrollment.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/registration_text.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

struct RenewArguments {
  std::string name;
  std::string access_for;
  BrowserArguments browser;
  std::vector<std::string> scopes;
  bool new_patient = false;
};

// A renewal that came back for somebody else: who is who, for the owner's eyes.
void ShowBothPatients(client::Client& client, const std::string& id, std::ostream& err) {
  const auto registration = client.GetRegistration(id);
  if (!registration.ok() || registration->state != client::RegistrationState::kContextChanged) {
    return;
  }
  const auto named = [](const std::string& patient, const std::string& user) {
    if (patient.empty() && user.empty()) return std::string("nobody, as far as the server said");
    return patient.empty() || user.empty() ? absl::StrCat(patient, user)
                                           : absl::StrCat(patient, " (", user, ")");
  };
  Record record;
  record.Add("Registered for", named(registration->patient, registration->fhir_user));
  record.Add("This login was for",
             named(registration->other_patient, registration->other_fhir_user));
  err << record.ToText();
}

absl::Status RunRenew(const Session& session, const RenewArguments& arguments) {
  const auto options = arguments.browser.ToOptions();
  if (!options.ok()) return options.status();
  const auto said = ParseAccessFor(arguments.access_for);
  if (!said.ok()) return said.status();
  Interrupt interrupt;  // Before connecting, which starts gRPC's threads.
  auto client = session.Connect();
  if (!client.ok()) return client.status();
  auto renewed = (*client)->GetRegistration(arguments.name);
  if (!renewed.ok()) return renewed.status();
  client::EnrollmentWish wish;
  wish.app = renewed->app;
  wish.server = renewed->server;
  wish.renews = renewed->id;
  wish.access_for = *said;
  wish.new_patient = arguments.new_patient;
  wish.scopes = arguments.scopes;
  const auto registration = EnrollInBrowser(**client, wish, *options, interrupt, session.err);
  if (ReasonOf(registration.status()) == Reason::kContextChanged && !session.json) {
    ShowBothPatients(**client, renewed->id, session.err);
  }
  if (!registration.ok()) return registration.status();
  if (session.json) {
    session.out << ToJsonDocument({{"registration", ToJson(*registration)}});
  } else {
    session.out << EnrolledText(*registration);
  }
  return absl::OkStatus();
}

}  // namespace

void AddRenew(CLI::App& app, Session& session) {
  auto arguments = std::make_shared<RenewArguments>();
  CLI::App* command = app.add_subcommand(
      "renew", "Log in again for a registration: same name, new key; the old one serves meanwhile");
  command->add_option("REG", arguments->name, "Name or id of the registration")->required();
  AddAccessFor(*command, arguments->access_for);
  arguments->browser.AddTo(*command);
  command
      ->add_option("--scope", arguments->scopes,
                   "Scope to ask for; repeatable (default: what was granted before)")
      ->type_name("S")
      ->allow_extra_args(false);
  command->add_flag("--new-patient", arguments->new_patient,
                    "Take another patient than before; nobody it was shared with keeps access");
  command->callback([&session, arguments] {
    session.run = [&session, arguments] { return RunRenew(session, *arguments); };
  });
}

}  // namespace smartkey::ctl
