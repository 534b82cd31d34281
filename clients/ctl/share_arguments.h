// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "absl/status/statusor.h"
#include "clients/ctl/session.h"
#include "smartkey/client.h"

namespace smartkey::ctl {

// What a share shall allow, as it is typed: --scope, --allow, --for.
struct TermsArguments {
  std::vector<std::string> scopes, operations;
  std::string valid_for;

  // Errors: kInvalidArgument for a length of time that is none.
  absl::StatusOr<client::ShareTerms> Parse() const;
};

// The result of a command that made or changed a share.
void WriteShare(const Session& session, const client::Share& share);

// `by_default`: what is allowed where --allow is not given. `arguments` outlives the parse.
void AddTermsOptions(CLI::App& command, TermsArguments& arguments, const std::string& by_default);
// --scope and --allow alone.
void AddWishOptions(CLI::App& command, TermsArguments& arguments, const std::string& by_default);

}  // namespace smartkey::ctl
