// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "CLI/App.hpp"
#include "clients/ctl/session.h"

// One function and one file for each command: it declares the command's arguments, and what sets
// `session.run`. Both outlive the parse and the run.
namespace smartkey::ctl {

void AddEnroll(CLI::App& app, Session& session);
void AddList(CLI::App& app, Session& session);
void AddRenew(CLI::App& app, Session& session);
void AddShow(CLI::App& app, Session& session);
void AddWatch(CLI::App& app, Session& session);
void AddEdit(CLI::App& app, Session& session);
void AddSuspend(CLI::App& app, Session& session);
void AddResume(CLI::App& app, Session& session);
void AddRotate(CLI::App& app, Session& session);
void AddChown(CLI::App& app, Session& session);
void AddDelete(CLI::App& app, Session& session);
void AddShare(CLI::App& app, Session& session);
void AddUnshare(CLI::App& app, Session& session);
void AddRequest(CLI::App& app, Session& session);
void AddRequests(CLI::App& app, Session& session);
void AddApprove(CLI::App& app, Session& session);
void AddDeny(CLI::App& app, Session& session);
void AddExplain(CLI::App& app, Session& session);
void AddToken(CLI::App& app, Session& session);
void AddReportRejected(CLI::App& app, Session& session);
void AddAssertion(CLI::App& app, Session& session);
void AddJwks(CLI::App& app, Session& session);
void AddKeys(CLI::App& app, Session& session);
void AddServers(CLI::App& app, Session& session);
void AddApps(CLI::App& app, Session& session);
void AddStatus(CLI::App& app, Session& session);
void AddDoctor(CLI::App& app, Session& session);
void AddReport(CLI::App& app, Session& session);
void AddAudit(CLI::App& app, Session& session);
void AddMetrics(CLI::App& app, Session& session);
void AddLogLevel(CLI::App& app, Session& session);
void AddReload(CLI::App& app, Session& session);
void AddStore(CLI::App& app, Session& session);
void AddTpm(CLI::App& app, Session& session);
void AddCompletion(CLI::App& app, Session& session);
void AddVersion(CLI::App& app, Session& session);

// What --version prints, and `version` first: "smartkeyctl 0.2.0".
std::string VersionLine();

}  // namespace smartkey::ctl
