// SPDX-License-Identifier: Apache-2.0
#include "daemon/rpc/diagnostics.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/access/principal.h"
#include "daemon/model/state_table.h"
#include "daemon/oauth/discovery.h"
#include "daemon/rpc/service_support.h"

namespace smartkey {
namespace {

using Result = Diagnostics::Result;

constexpr char kProcess[] = "process";
constexpr char kConfig[] = "config";
constexpr char kAccess[] = "access";
constexpr char kHardware[] = "hardware";
constexpr char kStore[] = "store";
constexpr char kAudit[] = "audit";
constexpr absl::Duration kLongUncovered = absl::Minutes(30);  // checkpoints are due each quarter
constexpr char kServers[] = "servers";
constexpr char kRegistrations[] = "registrations";

constexpr rlim_t kFewFiles = 8192;
constexpr uint64_t kLittleSpace = 100 << 20;
constexpr absl::Duration kClockSlack = absl::Seconds(60);
constexpr absl::Duration kServerLimit = absl::Seconds(15);

std::string Millis(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Milliseconds(duration), " ms");
}

// "1 registration", "2 registrations".
std::string Counted(size_t count, absl::string_view what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

}  // namespace

std::shared_ptr<Diagnostics> Diagnostics::Start(const ServiceParts& parts, const Caller& caller,
                                                const v1::RunDiagnosticsRequest& request,
                                                std::function<void(const Result*)> tell) {
  std::shared_ptr<Diagnostics> run(new Diagnostics(parts, caller, request, std::move(tell)));
  run->Plan();
  // Not inside this call: what is told may come before the caller is ready for it.
  parts.scheduler.RunAfter(absl::ZeroDuration(), [run] { run->Run(); });
  return run;
}

void Diagnostics::Add(const char* area, Check check) {
  if (request_.area().empty() || request_.area() == area) checks_.push_back(std::move(check));
}

void Diagnostics::AddSync(const char* area, void (Diagnostics::*check)()) {
  Add(area, [this, check](Next next) {
    (this->*check)();
    next();
  });
}

void Diagnostics::Plan() {
  AddSync(kProcess, &Diagnostics::CheckProcess);
  AddSync(kConfig, &Diagnostics::CheckConfig);
  // Names may be looked up in a directory far away.
  Add(kAccess, [this](Next next) {
    parts_.name_lookups.Run(caller_, [self = shared_from_this(), next = std::move(next)]() mutable {
      self->CheckNobody();
      next();
    });
  });
  AddSync(kHardware, &Diagnostics::CheckHardware);
  Add(kHardware, [this](Next next) { CheckLockout(std::move(next)); });
  Add(kHardware, [this](Next next) { CheckSigning(std::move(next)); });
  Add(kHardware, [this](Next next) {
    CheckKeys(std::make_shared<std::vector<StoredKey>>(ListStoredKeys()), std::move(next));
  });
  AddSync(kStore, &Diagnostics::CheckStore);
  AddSync(kAudit, &Diagnostics::CheckAudit);
  Add(kAudit, [this](Next next) { CheckChain(std::move(next)); });
  bool any_server = false;
  for (const Server& server : parts_.catalog.Get()->servers) {
    if (!request_.server().empty() && server.name != request_.server()) continue;
    any_server = true;
    Add(kServers, [this, server](Next next) { CheckServer(server, std::move(next)); });
  }
  if (!request_.server().empty() && !any_server) {
    Add(kServers, [this](Next next) {
      Tell(70, kServers, absl::StrCat("server ", Printable(request_.server(), 64)), Result::BROKEN,
           "there is no server of this name", "'smartkeyctl servers' lists those there are");
      next();
    });
  }
  AddSync(kRegistrations, &Diagnostics::CheckRegistrations);
}

void Diagnostics::Run() {
  if (stopped_) return;
  if (next_ >= checks_.size()) return tell_(nullptr);
  begun_ = parts_.clock.Boot();
  const Check& check = checks_[next_++];
  // The next one begins from a clean stack, wherever this one ended.
  check([self = shared_from_this()] {
    self->parts_.scheduler.RunAfter(absl::ZeroDuration(), [self] { self->Run(); });
  });
}

void Diagnostics::Tell(int number, const char* area, const std::string& check,
                       Result::Outcome outcome, const std::string& finding,
                       const std::string& remedy) {
  Result result;
  result.set_number(static_cast<uint32_t>(number));
  result.set_area(area);
  result.set_check(check);
  result.set_outcome(outcome);
  result.set_finding(Printable(finding, 1024));
  result.set_remedy(remedy);
  SetDuration(parts_.clock.Boot() - begun_, result.mutable_took());
  tell_(&result);
}

void Diagnostics::TellStatus(int number, const char* area, const std::string& check,
                             const absl::Status& status, const std::string& if_ok) {
  if (status.ok()) return Tell(number, area, check, Result::PASSED, if_ok);
  Tell(number, area, check, Result::BROKEN,
       absl::StrCat(ReasonName(ReasonOf(status)), ": ", status.message()), RemedyOf(status));
}

// ---- 10: the process

void Diagnostics::CheckProcess() {
  Tell(10, kProcess, "smartkeyd runs", Result::PASSED,
       absl::StrCat("version ", parts_.info.version, ", for ",
                    absl::FormatDuration(
                        absl::Floor(parts_.clock.Boot() - parts_.info.started, absl::Seconds(1)))));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const std::string finding = absl::StrCat(files.rlim_cur, " may be open");
  if (files.rlim_cur < kFewFiles) {
    Tell(11, kProcess, "open files", Result::SUSPICIOUS, finding,
         "set LimitNOFILE=65536 in the unit: each connection takes two");
  } else {
    Tell(11, kProcess, "open files", Result::PASSED, finding);
  }
}

// ---- 20: the configuration

void Diagnostics::CheckConfig() {
  const ConfigState state = parts_.config.state();
  if (state.problems.empty()) {
    Tell(20, kConfig, "configuration files", Result::PASSED, "all are in use");
  }
  for (const ConfigProblem& problem : state.problems) {
    Tell(20, kConfig, "configuration files", Result::BROKEN, problem.ToString(),
         "mend the file, then 'smartkeyctl reload': none of its blocks is in use");
  }
  for (const ConfigProblem& problem : state.reload_errors) {
    Tell(21, kConfig, "last reload", Result::BROKEN, problem.ToString(),
         "mend the file, then 'smartkeyctl reload': smartkeyd would not start with it");
  }
}

// ---- 30: who may do what

// Empty: somebody can match it, or it cannot be told.
std::string Diagnostics::WhyNobody(const Share& share) const {
  if (!share.user_name.empty()) {
    const absl::StatusOr<absl::optional<uid_t>> uid = parts_.users.find_user(share.user_name);
    if (uid.ok() && !uid->has_value()) return "there is no user of that name";
    if (uid.ok() && share.uid >= 0 && **uid != share.uid) {
      return "the name belongs to another uid than when the share was made";
    }
  }
  const absl::StatusOr<Principal> principal = ParsePrincipal(share.principal);
  if (!principal.ok() || principal->group.empty()) return "";
  if (share.gid < 0) return "there was no group of that name when the configuration was read";
  const absl::StatusOr<absl::optional<gid_t>> gid = parts_.users.find_group(principal->group);
  if (!gid.ok() || (gid->has_value() && **gid == share.gid)) return "";
  // What counts is the number, which is nobody's now or that of other people.
  const absl::StatusOr<std::string> name =
      parts_.users.name_of_group(static_cast<gid_t>(share.gid));
  if (!name.ok()) return "";
  if (name->empty()) return "there is no such group any more";
  return "its gid belongs to a group of another name than when the share was made: its members are "
         "who is meant now";
}

// Shares, and lines of policies, that nobody can match any more, or never could.
void Diagnostics::CheckNobody() {
  size_t looked_at = 0, nobody = 0;
  const auto look = [&](const Share& share, const std::string& place) {
    ++looked_at;
    const std::string what = WhyNobody(share);
    if (what.empty()) return;
    ++nobody;
    Tell(30, kAccess, "shares and policies", Result::SUSPICIOUS,
         absl::StrCat(place, ": ", share.principal, ": ", what),
         "take it out, or make it anew with the right name");
  };
  for (const Policy& policy : parts_.catalog.Get()->policies) {
    if (policy.allow_enroll.has_value()) {
      for (const Share& one : policy.allow_enroll->principals) look(one, policy.place);
    }
    for (const Share& one : policy.deny_enroll) look(one, policy.place);
    for (const Share& one : policy.shares) look(one, policy.place);
  }
  for (const RegistrationStore::Snapshot& one : parts_.store.List()) {
    for (const Share& share : one->shares) look(share, absl::StrCat("registration ", one->id));
    const absl::StatusOr<absl::optional<uid_t>> owner = parts_.users.find_user(one->owner_name);
    if (owner.ok() && *owner != absl::optional<uid_t>(one->owner_uid)) {
      ++nobody;
      Tell(31, kAccess, "owners", Result::SUSPICIOUS,
           absl::StrCat("registration ", one->id, ": its owner's login is no more what it was"),
           "give it to the present one: 'smartkeyctl chown ID USER'");
    }
  }
  if (nobody == 0) {
    Tell(30, kAccess, "shares and policies", Result::PASSED,
         absl::StrCat(Counted(looked_at, "principal"), ", each of them somebody's"));
  }
}

// ---- 40: the hardware

void Diagnostics::CheckHardware() {
  const ProviderStatus status = parts_.keys.status();
  if (status.state == ProviderState::kReady && status.capabilities.has_value()) {
    const ProviderCapabilities& found = *status.capabilities;
    Tell(40, kHardware, "key hardware", Result::PASSED,
         absl::StrCat(found.hardware, ", ", found.detail));
    std::vector<std::string> names;
    bool every_server_takes_one = false;
    for (const SignatureAlgorithm one : found.algorithms) {
      names.emplace_back(AlgorithmName(one));
      // SMART App Launch, asymmetric authentication: what a server has to support.
      every_server_takes_one = every_server_takes_one || one == SignatureAlgorithm::kEs384 ||
                               one == SignatureAlgorithm::kRs384;
    }
    if (every_server_takes_one) {
      Tell(41, kHardware, "algorithms", Result::PASSED, absl::StrJoin(names, ", "));
    } else {
      Tell(41, kHardware, "algorithms", Result::SUSPICIOUS,
           absl::StrCat(absl::StrJoin(names, ", "), ", and neither ES384 nor RS384"),
           "a server need not take any other: before you enroll at one, ask which it takes");
    }
    return;
  }
  // The place knows best what is missing. The general remedy would send here.
  std::string remedy = RemedyOf(status.last_error);
  if (remedy == RowFor(Reason::kHardwareAbsent).remedy) {
    remedy = "connect or enable the TPM or token, or correct [key_provider] in the configuration";
  }
  Tell(40, kHardware, "key hardware", Result::BROKEN,
       absl::StrCat(ProviderStateName(status.state), ", ", ReasonName(ReasonOf(status.last_error)),
                    ": ", status.last_error.message()),
       remedy);
}

void Diagnostics::CheckLockout(Next next) {
  const bool ready = parts_.keys.status().state == ProviderState::kReady;
  if (!ready) {
    Tell(42, kHardware, "lockout", Result::SKIPPED, "the hardware is not ready");
    return next();
  }
  parts_.keys.Inspect([self = shared_from_this(), next = std::move(next)](
                          absl::StatusOr<HardwareCondition> condition) mutable {
    if (!condition.ok()) {
      self->TellStatus(42, kHardware, "lockout", condition.status(), "");
    } else if (condition->lockout.has_value()) {
      const auto& [failures, limit] = *condition->lockout;
      const std::string finding =
          absl::StrCat(failures, " of ", limit, " failed authorizations counted");
      if (failures * 2 >= limit) {
        self->Tell(42, kHardware, "lockout", Result::SUSPICIOUS, finding,
                   "find the program that fails: smartkeyd's own keys are not guarded by it");
      } else {
        self->Tell(42, kHardware, "lockout", Result::PASSED, finding);
      }
    } else {
      self->Tell(42, kHardware, "lockout", Result::PASSED, "not a TPM: nothing is counted");
    }
    next();
  });
}

// A real signature with the audit log's own key, which is verified outside of the hardware.
void Diagnostics::CheckSigning(Next next) {
  if (parts_.keys.status().state != ProviderState::kReady) {
    Tell(43, kHardware, "sign and verify", Result::SKIPPED, "the hardware is not ready");
    return next();
  }
  if (!parts_.info.try_signing) {
    Tell(43, kHardware, "sign and verify", Result::SKIPPED, "there is nothing to sign with");
    return next();
  }
  parts_.info.try_signing([self = shared_from_this(), begun = parts_.clock.Boot(),
                           next = std::move(next)](absl::Status status) mutable {
    self->TellStatus(43, kHardware, "sign and verify", status,
                     absl::StrCat("right, in ", Millis(self->parts_.clock.Boot() - begun)));
    next();
  });
}

// Of all generations: of one that is being renewed, too, and of those before the one that serves,
// which are kept until the hardware has destroyed them.
std::vector<Diagnostics::StoredKey> Diagnostics::ListStoredKeys() const {
  std::vector<StoredKey> keys;
  for (const RegistrationStore::Snapshot& registration : parts_.store.List()) {
    const Generation* const serving = registration->serving();
    for (const Generation& one : registration->generations) {
      if (one.key.blob.empty() || one.state == GenerationState::kDeleting) continue;
      keys.push_back({registration->id, one.number, one.key, one.public_key,
                      serving == nullptr || one.number >= serving->number});
    }
  }
  return keys;
}

void Diagnostics::TellOfKey(const StoredKey& one, const absl::Status& status) {
  if (status.ok()) return;
  // Meanwhile it may have been destroyed, as it was to be.
  const RegistrationStore::Snapshot registration = parts_.store.Find(one.registration);
  const Generation* const still =
      registration == nullptr ? nullptr : registration->FindGeneration(one.generation);
  if (still == nullptr || still->key != one.key || still->state == GenerationState::kDeleting) {
    return;
  }
  Tell(44, kHardware, "keys of registrations", one.is_needed ? Result::BROKEN : Result::SUSPICIOUS,
       absl::StrCat(ReasonName(ReasonOf(status)), ": registration ", one.registration,
                    ", generation ", one.generation,
                    one.is_needed ? "" : ", which no longer serves", ": ", status.message()),
       RemedyOf(status));
}

// Whether the hardware has each of them.
void Diagnostics::CheckKeys(std::shared_ptr<std::vector<StoredKey>> left, Next next) {
  if (parts_.keys.status().state != ProviderState::kReady) {
    Tell(44, kHardware, "keys of registrations", Result::SKIPPED, "the hardware is not ready");
    return next();
  }
  if (!left->empty()) {
    const StoredKey one = std::move(left->back());
    left->pop_back();
    parts_.keys.CheckKey(one.key, one.public_key,
                         [self = shared_from_this(), left, one,
                          next = std::move(next)](absl::Status status) mutable {
                           self->TellOfKey(one, status);
                           // A chain of as many as there are must not grow the stack.
                           self->parts_.scheduler.RunAfter(
                               absl::ZeroDuration(),
                               [self, left, next = std::move(next)]() mutable {
                                 self->CheckKeys(left, std::move(next));
                               });
                         });
    return;
  }
  Tell(44, kHardware, "keys of registrations", Result::PASSED, "those not named above are there");
  next();
}

// ---- 50: the database

void Diagnostics::CheckStore() {
  TellStatus(50, kStore, "database", parts_.store.health(), "can be read and written");
  const StoreCondition condition = parts_.maintenance.condition();
  if (!condition.copying.ok()) {
    TellStatus(51, kStore, "daily copies", condition.copying, "");
  } else {
    Tell(51, kStore, "daily copies", Result::PASSED,
         condition.copies.empty() ? "none was due yet"
                                  : absl::StrCat("kept: ", condition.copies.size()));
  }
  if (condition.of_another_machine) {
    Tell(52, kStore, "machine", Result::SUSPICIOUS, "the database was written on another computer",
         "see 'smartkeyctl store status': the two must not both go on with the same registrations");
  }
  struct statvfs space {};
  if (statvfs(parts_.info.state_dir.c_str(), &space) == 0) {
    const uint64_t free = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
    const std::string finding = absl::StrCat(free >> 20, " MiB free");
    if (free < kLittleSpace) {
      Tell(53, kStore, "disk", Result::SUSPICIOUS, finding,
           "free disk space for the state directory");
    } else {
      Tell(53, kStore, "disk", Result::PASSED, finding);
    }
  }
}

// ---- 60: the audit log

void Diagnostics::CheckAudit() {
  const AuditCondition condition = parts_.audit.condition();
  if (!condition.writing.ok()) {
    TellStatus(60, kAudit, "audit log", condition.writing, "");
  } else if (condition.lost > 0) {
    Tell(60, kAudit, "audit log", Result::SUSPICIOUS,
         absl::StrCat("is written; ", Counted(condition.lost, "line"),
                      " lost since the start, while it could not be"),
         "give the state directory more room, or set [audit] on_full = \"deny\"");
  } else {
    Tell(60, kAudit, "audit log", Result::PASSED,
         absl::StrCat("is written, ", Counted(condition.head.sequence, "line")));
  }
  if (!condition.signing.ok()) {
    TellStatus(61, kAudit, "signed checkpoints", condition.signing, "");
  } else if (condition.uncovered_since.has_value() &&
             parts_.clock.Now() - *condition.uncovered_since > kLongUncovered) {
    Tell(61, kAudit, "signed checkpoints", Result::SUSPICIOUS,
         "lines are written, and for half an hour no checkpoint was",
         "see whether the hardware is busy: 'smartkeyctl status'");
  } else {
    Tell(61, kAudit, "signed checkpoints", Result::PASSED,
         condition.checkpoint.has_value()
             ? absl::StrCat("up to line ", condition.checkpoint->sequence)
             : "none was due since the start");
  }
}

void Diagnostics::CheckChain(Next next) {
  const auto wanted = [self = shared_from_this()] { return !self->stopped_; };
  parts_.audit.Verify(
      absl::nullopt, wanted,
      [self = shared_from_this(),
       next = std::move(next)](absl::StatusOr<AuditVerification> found) mutable {
        if (!found.ok()) {
          self->TellStatus(62, kAudit, "chain", found.status(), "");
        } else if (found->first_broken.has_value() || !found->problems.empty()) {
          self->Tell(
              62, kAudit, "chain", Result::BROKEN,
              found->problems.empty() ? "does not fit" : found->problems.front(),
              "compare with the heads on the log server: 'smartkeyctl audit --verify --anchor'");
        } else {
          self->Tell(62, kAudit, "chain", Result::PASSED,
                     absl::StrCat(Counted(found->entries, "line"), " fit"));
        }
        next();
      });
}

// ---- 70: the servers

void Diagnostics::CheckServer(const Server& server, Next next) {
  HttpRequest request;
  request.url = absl::StrCat(server.fhir_base, "/.well-known/smart-configuration");
  request.ca_file = server.ca_file;
  request.allow_loopback_http = server.allow_loopback_http;
  request.timeout = kServerLimit;
  request.max_body = 1 << 20;
  const std::string name = absl::StrCat("server ", server.name);
  parts_.http.Send(std::move(request), [self = shared_from_this(), server, name,
                                        next = std::move(next)](
                                           absl::StatusOr<HttpResponse> answer) mutable {
    if (!answer.ok()) {
      self->TellStatus(70, kServers, name, answer.status(), "");
      return next();
    }
    self->Tell(
        70, kServers, name, Result::PASSED,
        absl::StrCat("answers at ", HostOf(server.fhir_base),
                     absl::StartsWith(server.fhir_base, "https:") ? ", its certificate is trusted"
                                                                  : ", without TLS"));
    const absl::optional<std::string> date = answer->FindHeader("date");
    absl::Time theirs;
    std::string error;
    if (date.has_value() && absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", *date, &theirs, &error)) {
      const absl::Duration off = theirs - answer->received_at;
      const std::string finding =
          absl::StrCat("its clock is ", absl::ToInt64Seconds(absl::AbsDuration(off)), " s ",
                       off < absl::ZeroDuration() ? "behind" : "ahead");
      if (absl::AbsDuration(off) > kClockSlack) {
        self->Tell(71, kServers, name, Result::SUSPICIOUS, finding,
                   "one of the two clocks is wrong: is time synchronised here (timedatectl)?");
      } else {
        self->Tell(71, kServers, name, Result::PASSED, finding);
      }
    }
    self->CheckDiscovery(server, std::move(next));
  });
}

void Diagnostics::CheckDiscovery(const Server& server, Next next) {
  std::string client_id;
  for (const App& app : parts_.catalog.Get()->apps) {
    const AppClient* const client = app.FindClient(server.name);
    if (client != nullptr) client_id = client->client_id;
  }
  Discovery(parts_.http)
      .Discover(server, client_id,
                [self = shared_from_this(), name = absl::StrCat("server ", server.name),
                 next = std::move(next)](absl::StatusOr<ServerEndpoints> found) mutable {
                  self->TellStatus(
                      72, kServers, name, found.status(),
                      found.ok() ? absl::StrCat("endpoints known from ", found->source) : "");
                  next();
                });
}

// ---- 80: the registrations

void Diagnostics::CheckRegistrations() {
  if (absl::Status status = parts_.store.availability(); !status.ok()) {
    return Tell(80, kRegistrations, "registrations", Result::SKIPPED,
                "the database cannot be read");
  }
  size_t all = 0, need = 0;
  for (const RegistrationStore::Snapshot& one : parts_.store.List()) {
    ++all;
    const GenerationState state = parts_.standings.StateOf(*one);
    const absl::string_view words = GenerationStateWords(state);
    if (!absl::StartsWith(words, "needs")) continue;
    ++need;
    Tell(80, kRegistrations, "registrations", Result::SUSPICIOUS,
         absl::StrCat("registration ", one->id, " of ", one->owner_name, ": ",
                      GenerationStateName(state), ", ", words),
         absl::StrCat("see 'smartkeyctl show ", one->id, "'"));
  }
  if (need == 0) {
    Tell(80, kRegistrations, "registrations", Result::PASSED,
         absl::StrCat(Counted(all, "registration"), ", none needs anybody"));
  }
}

}  // namespace smartkey
