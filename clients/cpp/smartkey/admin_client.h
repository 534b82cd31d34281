// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "smartkey/client.h"

namespace smartkey::client {

struct ServerHealth {
  std::string name;
  std::string
      state;  // "OK", "FAILING", "REFUSING_ALL", "REMOVED"; empty: nothing was asked of it yet.
  absl::optional<absl::Time> last_ok_at;
  absl::optional<Cause> last_error;
  absl::optional<absl::Time> last_error_at;
  absl::optional<absl::Time> next_attempt_at;
  uint32_t registrations = 0;
};

struct ConfigProblem {
  std::string file;
  uint32_t line = 0;  // 0: the file as a whole.
  std::string message;
  bool file_disabled = false;
};

// What a reload did; as smartkey.v1.ReloadConfigurationResponse, which explains each.
struct ConfigReload {
  std::vector<std::string> changes;
  std::vector<std::string> needs_restart;
  std::vector<ConfigProblem> problems;
};

// A copy of the database.
struct StoreCopy {
  std::string file;                    // its path below the state directory
  absl::optional<absl::Time> made_at;  // absent: it cannot be read
};

// As smartkey.v1.RecoverStoreResponse, which explains each.
struct StoreRecovery {
  uint32_t from_memory = 0;
  uint32_t from_damaged_file = 0;
  uint32_t from_copy = 0;
  absl::optional<StoreCopy> copy;
  bool incomplete = false;
  std::string set_aside;
};

// What a check of the audit log found; as smartkey.v1.AuditVerification and ReadAuditLogResponse.
struct AuditVerification {
  uint64_t entries = 0;
  absl::optional<uint64_t> first_broken;
  uint64_t first_sequence = 0;
  std::string head;
  uint32_t signed_checkpoints = 0;
  uint32_t unsigned_checkpoints = 0;
  uint64_t signed_sequence = 0;
  std::vector<std::string> key_thumbprints;
  uint64_t anchored_sequence = 0;
  std::vector<std::string> problems;
};

// One result of the daemon's diagnostics; as smartkey.v1.RunDiagnosticsResponse.
struct DiagnosticResult {
  uint32_t number = 0;
  std::string area;
  std::string check;
  std::string outcome;  // "PASSED", "SUSPICIOUS", "BROKEN", "SKIPPED"
  std::string finding;
  std::string remedy;
  absl::Duration took;
};

// Field for field as smartkey.v1.GetStatusResponse, which explains each.
struct DaemonStatus {
  struct StateCount {
    RegistrationState state = RegistrationState::kUnspecified;
    uint32_t count = 0;
  };

  std::string version;
  int32_t pid = 0;
  absl::Duration uptime;

  Hardware hardware;
  std::string hardware_detail;
  std::string hardware_problem;  // why it is not ready, in words
  uint32_t queue_depth = 0;
  uint32_t queue_limit = 0;
  uint32_t abandoned_operations = 0;
  absl::optional<absl::Time> hardware_next_attempt_at;

  bool store_available = false;
  absl::optional<Cause> store_cause;
  std::string store_problem;
  uint32_t schema_version = 0;
  uint32_t unsaved_changes = 0;
  std::vector<StoreCopy> store_copies;  // newest first
  absl::optional<Cause> store_copying_error;
  std::vector<std::string> store_set_aside;
  bool store_of_another_machine = false;

  std::vector<StateCount> registrations;
  uint32_t suspended_registrations = 0;
  uint32_t pending_enrollments = 0;

  uint32_t public_connections = 0;
  uint32_t admin_connections = 0;
  uint64_t accepted_connections = 0;
  uint64_t refused_connections = 0;

  uint32_t cached_tokens = 0;
  uint64_t cache_hits = 0;
  uint64_t cache_misses = 0;
  uint64_t token_requests = 0;
  uint32_t token_requests_in_flight = 0;

  std::vector<ServerHealth> servers;
  std::vector<ConfigProblem> config_problems;
  absl::optional<absl::Time> config_loaded_at;
  std::vector<ConfigProblem> reload_errors;

  bool audit_available = false;
  absl::optional<Cause> audit_cause;
  std::string audit_head;
  uint64_t audit_lost = 0;
  uint32_t audit_waiting = 0;
  std::string audit_checkpoint;
  absl::optional<absl::Time> audit_checkpoint_at;
  absl::optional<Cause> audit_checkpoint_error;
};

// Keys that the hardware itself stores; as smartkey.v1.ListStoredKeysResponse.
struct StoredKeys {
  struct Key {
    std::string label;
    std::string registration_id;  // empty: its label names none
    uint32_t generation = 0;
    bool stray = false;  // neither a registration nor the audit log needs it
    std::string id;      // what the hardware knows it by (CKA_ID), octets
  };

  std::vector<Key> keys;
  uint32_t of_other_instances = 0;
};

// The storage root key of a TPM; as smartkey.v1.ProvisionTpmResponse.
struct ProvisionedTpm {
  uint32_t handle = 0;
  std::string name;  // Octets.
  bool already_there = false;
};

// smartkeyd on its second socket, for root and the administrators' group. ListRegistrations() shows
// those of all owners there, DeleteRegistration() deletes any of them; tokens are not to be had.
// Thread-safe.
class AdminClient : public Client {
 public:
  // Does no I/O. Empty path: AdminSocketPath(). Errors: as for Client::Connect().
  static absl::StatusOr<std::unique_ptr<AdminClient>> Connect(std::string socket_path = "");

  // Never waits for hardware, network or disk. Default deadline: 30 s. Errors: kNotImplemented on
  // the public socket, which does not know this service.
  absl::StatusOr<DaemonStatus> GetStatus(CallOptions options = {});

  // Has the configuration read again. Default deadline: 30 s. Errors: kConfigInvalid for mistakes
  // in the main file: nothing was changed, and DaemonStatus::reload_errors has them all.
  absl::StatusOr<ConfigReload> ReloadConfiguration(CallOptions options = {});

  // Checks the chain of the audit log, with `anchor` (a head kept elsewhere, "n:hash") that it is
  // the log that had that head; empty: none. Default deadline: 10 min. Errors: kInvalidArgument for
  // a malformed anchor, kStoreUnavailable for files that cannot be read.
  absl::StatusOr<AuditVerification> VerifyAuditLog(const std::string& anchor,
                                                   CallOptions options = {});

  // Tries everything; `tell` gets each result as it comes. Empty `area` and `server`: all. Default
  // deadline: 10 min.
  absl::Status RunDiagnostics(const std::string& area, const std::string& server,
                              const std::function<void(const DiagnosticResult&)>& tell,
                              CallOptions options = {});

  // The metrics in the text format of Prometheus. Default deadline: 30 s.
  absl::StatusOr<std::string> GetMetrics(CallOptions options = {});

  // "error", "warning", "info" or "debug", until the next start; gives what it was. Default
  // deadline: 30 s. Errors: kInvalidArgument for another word.
  absl::StatusOr<std::string> SetLogLevel(const std::string& level, CallOptions options = {});

  // Asks the hardware. Default deadline: 30 s. Errors: those of the hardware, as kHardwareAbsent.
  absl::StatusOr<StoredKeys> ListStoredKeys(CallOptions options = {});

  // Destroys the stray keys with these ids, or all if absent; gives those that were. Default
  // deadline: 30 s. Errors: kInvalidArgument for an id that is not a stray key's (nothing was
  // removed), kStoreUnavailable, those of the hardware (the message says how many were removed
  // before).
  absl::StatusOr<std::vector<StoredKeys::Key>> RemoveStrayKeys(
      const absl::optional<std::vector<std::string>>& ids, CallOptions options = {});

  // Makes the TPM's storage root key persistent; `owner_password` is that of the owner hierarchy,
  // and empty where it has none. Default deadline: 30 s. Errors: kTpmOwnerAuthRequired (wrong or
  // missing: it is tried once), kTpmHandleTaken, kHardwareFull, kTpmLockout, kNotImplemented (not a
  // TPM), kInvalidArgument (longer than a TPM takes), kHardwareAbsent and the like.
  absl::StatusOr<ProvisionedTpm> ProvisionTpm(const Secret& owner_password,
                                              CallOptions options = {});

  // Takes up what is still known after the database was damaged or lost; with `copy` only that one.
  // Default deadline: 60 s. Errors: kInvalidArgument if it is in order or there is no such copy,
  // kStoreUnavailable if nothing is known any more.
  absl::StatusOr<StoreRecovery> RecoverStore(const std::string& copy, CallOptions options = {});

  // Begins anew with an empty database in the place of one that cannot be read. Gives the folder
  // that has the old files now; empty if there were none. Default deadline: 60 s. Errors:
  // kInvalidArgument if it can be read.
  absl::StatusOr<std::string> ResetStore(CallOptions options = {});

  // This computer is now the one that uses the database. Default deadline: 30 s.
  absl::Status AdoptStore(CallOptions options = {});

 private:
  using Client::Client;
};

}  // namespace smartkey::client
