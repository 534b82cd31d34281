// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "daemon/rpc/services.h"
#include "smartkey/v1/admin.pb.h"

namespace smartkey {

// Tries everything that has to work, one check after the other, and says of each what was seen and
// what to do about it. Checks have numbers that keep their meaning; docs/doctor.md lists them.
//
// A check that needs the hardware, a server or a disk waits for it without holding a thread, and
// for a limited time. Nothing that is found changes anything, but for one signature that is made,
// and the audit log's key if it has none. Thread-safe.
class Diagnostics : public std::enable_shared_from_this<Diagnostics> {
 public:
  using Result = v1::RunDiagnosticsResponse;

  // `tell` gets each result, then nullptr at the end; on any thread, one at a time. `parts`
  // outlives this.
  static std::shared_ptr<Diagnostics> Start(const ServiceParts& parts, const Caller& caller,
                                            const v1::RunDiagnosticsRequest& request,
                                            std::function<void(const Result*)> tell);

  // No check begins any more, and that of the audit log's chain ends.
  void Stop() { stopped_ = true; }

 private:
  // One check: tells any number of results, then goes on by calling what it was given, once.
  using Next = absl::AnyInvocable<void()>;
  using Check = std::function<void(Next)>;

  Diagnostics(const ServiceParts& parts, const Caller& caller,
              const v1::RunDiagnosticsRequest& request, std::function<void(const Result*)> tell)
      : parts_(parts), caller_(caller), request_(request), tell_(std::move(tell)) {}

  void Plan();
  void Add(const char* area, Check check);
  void AddSync(const char* area, void (Diagnostics::*check)());
  void Run();

  void Tell(int number, const char* area, const std::string& check, Result::Outcome outcome,
            const std::string& finding, const std::string& remedy = "");
  void TellStatus(int number, const char* area, const std::string& check,
                  const absl::Status& status, const std::string& if_ok);

  void CheckProcess();
  void CheckConfig();
  std::string WhyNobody(const Share& share) const;
  void CheckNobody();
  void CheckHardware();
  void CheckLockout(Next next);
  void CheckSigning(Next next);
  struct StoredKey {
    std::string registration;  // its id
    int generation = 0;
    KeyReference key;
    PublicKey public_key;
    bool is_needed = false;  // serves, or is to
  };
  std::vector<StoredKey> ListStoredKeys() const;
  void CheckKeys(std::shared_ptr<std::vector<StoredKey>> left, Next next);
  void TellOfKey(const StoredKey& one, const absl::Status& status);
  void CheckStore();
  void CheckAudit();
  void CheckChain(Next next);
  void CheckServer(const Server& server, Next next);
  void CheckDiscovery(const Server& server, Next next);
  void CheckRegistrations();

  const ServiceParts& parts_;
  const Caller caller_;
  const v1::RunDiagnosticsRequest request_;
  const std::function<void(const Result*)> tell_;
  std::vector<Check> checks_;  // planned; taken from the front
  size_t next_ = 0;
  BootTime begun_;  // the present check
  std::atomic<bool> stopped_{false};
};

}  // namespace smartkey
