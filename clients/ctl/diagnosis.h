// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "clients/ctl/session.h"
#include "smartkey/admin_client.h"

namespace smartkey::ctl {

// What `doctor` and `report` find out: first what can be seen without smartkeyd (checks 1 to 4),
// then what it finds itself, if it can be reached. docs/doctor.md lists the checks.
struct DiagnosisOptions {
  std::string area;    // only this one; empty: all, and those without smartkeyd
  std::string server;  // of those of the servers only this one; empty: all
  // The parts of the system that are looked at; a test has its own.
  std::string systemctl = "systemctl";
  std::string journalctl = "journalctl";
  std::string smartkeyd = "/usr/sbin/smartkeyd";
  std::string config = "/etc/smartkeyd/smartkeyd.toml";
};

// `tell` gets each result as it comes. Never fails: what cannot be found out is a result, too.
void Diagnose(const Session& session, const DiagnosisOptions& options,
              const std::function<void(const client::DiagnosticResult&)>& tell);

// A result for people, with what to do below it.
std::string DiagnosticText(const client::DiagnosticResult& result);

}  // namespace smartkey::ctl
