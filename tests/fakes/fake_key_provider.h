// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "hsm/key_provider.h"
#include "tests/fakes/software_key.h"

namespace smartkey {

// The chip behind FakeKeyProviders: keys, faults, and a brake. It outlives every provider made on
// it (shared), also one whose thread was given up. Thread-safe.
class FakeHardware {
 public:
  enum class Operation { kOpen, kCreate, kSign, kDestroy, kInterrupt, kClose };

  // Every call of this kind answers `status` until it is set to OK.
  void Fail(Operation operation, absl::Status status);
  // The next `times` calls of this kind answer `status`; before Fail().
  void FailNext(Operation operation, absl::Status status, int times = 1);

  // The next `times` signatures come out with one bit wrong: hardware that lies.
  void CorruptNextSignatures(int times);
  // What a provider counts in reloads().
  void set_reloads(int reloads);

  // Calls of this kind that begin from now on wait, until Release().
  void Hold(Operation operation);
  void Release(Operation operation);
  // Waits until `count` calls of this kind have begun since the start. False after 30 seconds.
  bool AwaitBegun(Operation operation, int count);

  // Interrupt() makes the calls that are held at that time return, with kHardwareAbsent.
  void set_interruptible(bool interruptible);

  int begun(Operation operation) const;
  // What was asked, in order: "open", "create LABEL", "sign MESSAGE", "destroy BLOB", "interrupt"
  // and "interrupted" around an interruption, "close" as the provider ends.
  std::vector<std::string> log() const;

 private:
  friend class FakeKeyProvider;

  // Notes the call, waits while held, and gives what it has to answer.
  absl::Status Begin(Operation operation, std::string line);

  mutable Mutex mu_;
  CondVar changed_;
  std::map<Operation, absl::Status> failures_ ABSL_GUARDED_BY(mu_);
  std::map<Operation, std::vector<absl::Status>> next_failures_ ABSL_GUARDED_BY(mu_);
  std::map<Operation, bool> held_ ABSL_GUARDED_BY(mu_);
  int corrupt_signatures_ ABSL_GUARDED_BY(mu_) = 0;
  int reloads_ ABSL_GUARDED_BY(mu_) = 0;
  bool interruptible_ ABSL_GUARDED_BY(mu_) = false;
  int interruptions_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<Operation, int> begun_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> log_ ABSL_GUARDED_BY(mu_);
  int next_key_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::string, SoftwareKey> keys_ ABSL_GUARDED_BY(mu_);  // by blob
};

// A KeyProvider on OpenSSL keys, for tests of what stands above it.
class FakeKeyProvider : public KeyProvider {
 public:
  explicit FakeKeyProvider(std::shared_ptr<FakeHardware> hardware)
      : hardware_(std::move(hardware)) {}
  ~FakeKeyProvider() override;

  absl::StatusOr<ProviderCapabilities> Open() override;
  absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                       absl::string_view label) override;
  absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) override;
  absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                   SignatureAlgorithm algorithm,
                                   absl::string_view message) override;
  absl::Status DestroyKey(const KeyReference& reference) override;
  absl::StatusOr<KeyInventory> ListKeys() override;
  int reloads() const override;
  void Interrupt() override;

 private:
  std::shared_ptr<FakeHardware> hardware_;
  bool open_ = false;
};

}  // namespace smartkey
