// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "daemon/model/app.h"
#include "daemon/model/registration.h"
#include "daemon/model/server.h"

namespace smartkey {

// The apps and servers that the configuration names. Immutable once made.
struct Catalog {
  std::vector<App> apps;
  std::vector<Server> servers;

  // Errors: kUnknownApp, kUnknownServer, each listing what there is.
  absl::StatusOr<const App*> FindApp(absl::string_view id) const;
  absl::StatusOr<const Server*> FindServer(absl::string_view name) const;
  absl::StatusOr<const Server*> FindServerByFhirBase(absl::string_view fhir_base) const;

  // The server of a registration as it is configured today: the one with its FHIR base, whatever it
  // is called by now, or else the one with its name. Null if there is neither: the server was
  // removed.
  const Server* FindServerOf(const Registration& registration) const;
  // OK, or kServerRemoved: the registration is kept as it is, and gives nothing until the server is
  // back.
  absl::Status CheckServerOf(const Registration& registration) const;
};

// Holds the catalog in force; a reload swaps it whole. Thread-safe.
class CurrentCatalog {
 public:
  explicit CurrentCatalog(Catalog catalog)
      : catalog_(std::make_shared<const Catalog>(std::move(catalog))) {}

  std::shared_ptr<const Catalog> Get() const {
    MutexLock lock(mu_);
    return catalog_;
  }
  void Set(Catalog catalog) {
    auto next = std::make_shared<const Catalog>(std::move(catalog));
    MutexLock lock(mu_);
    catalog_ = std::move(next);
  }

 private:
  mutable Mutex mu_;
  std::shared_ptr<const Catalog> catalog_ ABSL_GUARDED_BY(mu_);
};

}  // namespace smartkey
