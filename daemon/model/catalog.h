// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "daemon/model/app.h"
#include "daemon/model/policy.h"
#include "daemon/model/registration.h"
#include "daemon/model/server.h"

namespace smartkey {

// The apps and servers that the configuration names, and what it says of their users. Immutable
// once made.
struct Catalog {
  std::vector<App> apps;
  std::vector<Server> servers;
  std::vector<Policy> policies;  // in the order they are written in

  bool has_shares_by_policy() const;

  // Errors: kUnknownApp, kUnknownServer, each listing what there is.
  absl::StatusOr<const App*> FindApp(absl::string_view id) const;
  absl::StatusOr<const Server*> FindServer(absl::string_view name) const;
  absl::StatusOr<const Server*> FindServerByFhirBase(absl::string_view fhir_base) const;

  // The server of a registration as it is configured today: the one with its FHIR base, whatever it
  // is called by now, or else the one with its name. Null if there is neither: the server was
  // removed.
  const Server* FindServerOf(const Registration& registration) const;
  // What that one is called today, or else as at enrollment.
  const std::string& ServerNameOf(const Registration& registration) const;
  // OK, or kServerRemoved: the registration is kept as it is, and gives nothing until the server is
  // back.
  absl::Status CheckServerOf(const Registration& registration) const;
};

// Holds the catalog in force; a reload swaps it whole. Thread-safe.
class CurrentCatalog {
 public:
  explicit CurrentCatalog(Catalog catalog)
      : catalog_(std::make_shared<const Catalog>(std::move(catalog))),
        has_shares_by_policy_(catalog_->has_shares_by_policy()) {}

  std::shared_ptr<const Catalog> Get() const {
    MutexLock lock(mu_);
    return catalog_;
  }
  void Set(Catalog catalog) {
    auto next = std::make_shared<const Catalog>(std::move(catalog));
    MutexLock lock(mu_);
    has_shares_by_policy_ = next->has_shares_by_policy();
    catalog_ = std::move(next);
  }
  // Without a lock, for those who ask at every request: most have none.
  bool has_shares_by_policy() const { return has_shares_by_policy_; }

 private:
  mutable Mutex mu_;
  std::shared_ptr<const Catalog> catalog_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> has_shares_by_policy_;
};

}  // namespace smartkey
