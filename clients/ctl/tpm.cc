// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/ctl/commands.h"
#include "clients/ctl/json_output.h"
#include "clients/ctl/secret_file.h"
#include "clients/ctl/table.h"

namespace smartkey::ctl {
namespace {

// More than any TPM takes; the daemon knows how much that is.
constexpr size_t kLongestPassword = 1024;

std::string HandleText(uint32_t handle) {
  return absl::StrFormat("0x%08x", handle);
}

absl::Status RunProvision(const Session& session, const std::string& password_file) {
  Secret password;
  if (!password_file.empty()) {
    auto read = ReadSecretFile(password_file, "password", kLongestPassword);
    if (!read.ok()) return read.status();
    password = *std::move(read);
  }
  auto client = session.ConnectAdmin();
  if (!client.ok()) return client.status();
  const auto parent = (*client)->ProvisionTpm(password);
  if (!parent.ok()) return parent.status();
  const std::string name = absl::BytesToHexString(parent->name);
  if (session.json) {
    session.out << ToJsonDocument({{"handle", HandleText(parent->handle)},
                                   {"name", name},
                                   {"already_there", parent->already_there}});
    return absl::OkStatus();
  }
  session.out << (parent->already_there
                      ? "The storage root key was there already; nothing was changed.\n"
                      : "The storage root key is persistent now. Keys that exist go on working.\n");
  Record record;
  record.Add("Handle", HandleText(parent->handle));
  record.Add("Name", name);
  session.out << record.ToText();
  return absl::OkStatus();
}

}  // namespace

void AddTpm(CLI::App& app, Session& session) {
  CLI::App* tpm = app.add_subcommand("tpm", "What only the TPM's administrator may do to it");
  tpm->require_subcommand(1);
  CLI::App* provision =
      tpm->add_subcommand("provision", "Keep the TPM's storage root key persistently");
  provision->footer(
      "The standard one, at 0x81000001, over the admin socket. Saves making it after each start; "
      "needed where the owner hierarchy has a password. An acceptable key that is there already is "
      "left as it is, and so is anything else.");
  auto password_file = std::make_shared<std::string>();
  provision
      ->add_option("--owner-password-file", *password_file,
                   "File with the owner hierarchy's password, or '-'; without: it has none")
      ->type_name("F");
  provision->callback([&session, password_file] {
    session.run = [&session, password_file] { return RunProvision(session, *password_file); };
  });
}

}  // namespace smartkey::ctl
