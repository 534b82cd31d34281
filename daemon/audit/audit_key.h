// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "base/scheduler.h"
#include "daemon/access/audit_log.h"
#include "hsm/key_service.h"

namespace smartkey {

// A checkpoint's signature, with all that it takes to check it.
struct AuditSignature {
  SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
  PublicKey public_key;
  std::string signature;
};

// Signs the heads of the audit log.
class AuditSigner {
 public:
  virtual ~AuditSigner() = default;
  // `done` runs once, on any thread, and must not block. Errors: those of the hardware, and
  // kStoreUnavailable.
  virtual void Sign(std::string text,
                    absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) = 0;
  // RFC 7638 thumbprint of the key that signs now; nullopt while that is not known. May block on a
  // disk.
  virtual absl::optional<std::string> thumbprint() const = 0;
  // As AuditCondition::key. Does not block.
  virtual absl::optional<std::string> proven_thumbprint() const = 0;
};

// With a key of the log's own in the hardware: made at first use, kept in `directory` as what the
// hardware needs to find it again (no private key in the clear), in a file for each kind of
// hardware, so that it is found again when the configuration goes back. It signs heads and, for
// `smartkeyctl doctor`, a text that is none. A key that is lost is replaced by a new one; a file
// that cannot be read is no lost key, and while another token is in the reader, the log's own is
// waited for. That a key was made is a line of the log. What others ask of the hardware goes first:
// a signature waits until nothing does, for a minute at most. Thread-safe.
class AuditKey : public AuditSigner {
 public:
  // `label` is what a token that stores its keys calls it. All outlive this and its tasks.
  AuditKey(KeyService& keys, Scheduler& scheduler, AuditLog& log, std::string directory,
           std::string label);

  void Sign(std::string text,
            absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) override;
  absl::optional<std::string> thumbprint() const override;
  absl::optional<std::string> proven_thumbprint() const override;

 private:
  class Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace smartkey
