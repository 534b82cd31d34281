// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/scheduler.h"
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
  // `done` runs once, on any thread, and must not block. Errors: those of the hardware.
  virtual void Sign(std::string text,
                    absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) = 0;
};

// With a key of the log's own in the hardware, which signs nothing else: made at first use, kept in
// the file `path` as what the hardware needs to find it again (no private key in the clear). A key
// that is lost is replaced by a new one, and so is one of another kind of hardware than is
// configured; while another token is in the reader, the log's own is waited for. What others ask of
// the hardware goes first: a signature waits until nothing does, for a minute at most. Thread-safe.
class AuditKey : public AuditSigner {
 public:
  // `label` is what a token that stores its keys calls it. All outlive this and its tasks.
  AuditKey(KeyService& keys, Scheduler& scheduler, std::string path, std::string label);

  void Sign(std::string text,
            absl::AnyInvocable<void(absl::StatusOr<AuditSignature>)> done) override;

 private:
  class Core;
  const std::shared_ptr<Core> core_;
};

}  // namespace smartkey
