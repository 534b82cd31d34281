// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_key_provider.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "hsm/thumbprint.h"

namespace smartkey {

using Operation = FakeHardware::Operation;

void FakeHardware::Fail(Operation operation, absl::Status status) {
  MutexLock lock(mu_);
  failures_[operation] = std::move(status);
}

void FakeHardware::FailNext(Operation operation, absl::Status status, int times) {
  MutexLock lock(mu_);
  for (int i = 0; i < times; ++i) next_failures_[operation].push_back(status);
}

void FakeHardware::CorruptNextSignatures(int times) {
  MutexLock lock(mu_);
  corrupt_signatures_ = times;
}

void FakeHardware::set_reloads(int reloads) {
  MutexLock lock(mu_);
  reloads_ = reloads;
}

void FakeHardware::Hold(Operation operation) {
  MutexLock lock(mu_);
  held_[operation] = true;
}

void FakeHardware::Release(Operation operation) {
  MutexLock lock(mu_);
  held_[operation] = false;
  changed_.NotifyAll();
}

bool FakeHardware::AwaitBegun(Operation operation, int count) {
  const absl::Time give_up = absl::Now() + absl::Seconds(30);
  MutexLock lock(mu_);
  while (begun_[operation] < count) {
    if (absl::Now() >= give_up) return false;
    changed_.WaitFor(mu_, give_up - absl::Now());
  }
  return true;
}

void FakeHardware::set_interruptible(bool interruptible) {
  MutexLock lock(mu_);
  interruptible_ = interruptible;
}

int FakeHardware::begun(Operation operation) const {
  MutexLock lock(mu_);
  const auto found = begun_.find(operation);
  return found == begun_.end() ? 0 : found->second;
}

std::vector<std::string> FakeHardware::log() const {
  MutexLock lock(mu_);
  return log_;
}

absl::Status FakeHardware::Begin(Operation operation, std::string line) {
  MutexLock lock(mu_);
  log_.push_back(std::move(line));
  ++begun_[operation];
  changed_.NotifyAll();
  const int interruptions = interruptions_;
  while (held_[operation] && interruptions_ == interruptions) changed_.Wait(mu_);
  if (interruptions_ != interruptions) return MakeError(Reason::kHardwareAbsent, "interrupted");
  std::vector<absl::Status>& next = next_failures_[operation];
  if (next.empty()) return failures_[operation];
  absl::Status first = next.front();
  next.erase(next.begin());
  return first;
}

FakeKeyProvider::~FakeKeyProvider() {
  hardware_->Begin(Operation::kClose, "close").IgnoreError();
}

int FakeKeyProvider::reloads() const {
  MutexLock lock(hardware_->mu_);
  return hardware_->reloads_;
}

void FakeKeyProvider::Interrupt() {
  hardware_->Begin(Operation::kInterrupt, "interrupt").IgnoreError();
  MutexLock lock(hardware_->mu_);
  hardware_->log_.push_back("interrupted");
  if (!hardware_->interruptible_) return;
  ++hardware_->interruptions_;
  hardware_->changed_.NotifyAll();
}

absl::StatusOr<ProviderCapabilities> FakeKeyProvider::Open() {
  open_ = false;
  const absl::Status status = hardware_->Begin(Operation::kOpen, "open");
  if (!status.ok()) return status;
  open_ = true;
  return ProviderCapabilities{
      .provider = "fake",
      .hardware = "software keys for tests",
      .algorithms = {SignatureAlgorithm::kEs256},
  };
}

absl::StatusOr<CreatedKey> FakeKeyProvider::CreateKey(SignatureAlgorithm algorithm,
                                                      absl::string_view label) {
  if (!open_) return MakeError(Reason::kHardwareAbsent, "not open");
  const absl::Status status = hardware_->Begin(Operation::kCreate, absl::StrCat("create ", label));
  if (!status.ok()) return status;
  SoftwareKey key = SoftwareKey::Generate(algorithm);
  MutexLock lock(hardware_->mu_);
  CreatedKey created{
      .reference = {.provider = "fake", .blob = absl::StrCat("key-", hardware_->next_key_++)},
      .algorithm = algorithm,
      .public_key = key.public_key(),
  };
  hardware_->keys_.emplace(created.reference.blob, std::move(key));
  return created;
}

absl::Status FakeKeyProvider::CheckKey(const KeyReference& reference, const PublicKey& expected) {
  if (!open_) return MakeError(Reason::kHardwareAbsent, "not open");
  MutexLock lock(hardware_->mu_);
  const auto found = hardware_->keys_.find(reference.blob);
  if (found == hardware_->keys_.end()) return MakeError(Reason::kKeyGone, "no such key");
  if (found->second.public_key() != expected) {
    return MakeError(Reason::kKeyDamaged, "the key is not the one expected");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FakeKeyProvider::Sign(const KeyReference& reference,
                                                  const PublicKey& expected,
                                                  SignatureAlgorithm algorithm,
                                                  absl::string_view message) {
  if (!open_) return MakeError(Reason::kHardwareAbsent, "not open");
  const absl::Status status = hardware_->Begin(Operation::kSign, absl::StrCat("sign ", message));
  if (!status.ok()) return status;
  if (absl::Status check = CheckKey(reference, expected); !check.ok()) return check;
  MutexLock lock(hardware_->mu_);
  const SoftwareKey& key = hardware_->keys_.at(reference.blob);
  if (key.algorithm() != algorithm) {
    return MakeError(Reason::kAlgorithmUnsupported, "the key is for another algorithm");
  }
  std::string signature = key.Sign(message);
  if (hardware_->corrupt_signatures_ > 0) {
    --hardware_->corrupt_signatures_;
    signature.back() = static_cast<char>(signature.back() ^ 1);
  }
  return signature;
}

absl::Status FakeKeyProvider::DestroyKey(const KeyReference& reference) {
  if (!open_) return MakeError(Reason::kHardwareAbsent, "not open");
  const absl::Status status =
      hardware_->Begin(Operation::kDestroy, absl::StrCat("destroy ", reference.blob));
  if (!status.ok()) return status;
  MutexLock lock(hardware_->mu_);
  hardware_->keys_.erase(reference.blob);
  return absl::OkStatus();
}

absl::StatusOr<KeyInventory> FakeKeyProvider::ListKeys() {
  MutexLock lock(hardware_->mu_);
  KeyInventory listed;
  for (const auto& [blob, key] : hardware_->keys_) {
    listed.keys.push_back(ListedKey{.reference = {.provider = "fake", .blob = blob},
                                    .id = Thumbprint(key.public_key())});
  }
  return listed;
}

}  // namespace smartkey
