// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_key_service.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "hsm/thumbprint.h"

namespace smartkey {
namespace {

// `done` is wanted in two places, of which exactly one runs.
template <typename Done>
std::shared_ptr<Done> Share(Done done) {
  return std::make_shared<Done>(std::move(done));
}

}  // namespace

FakeKeyService::FakeKeyService() {
  status_.state = ProviderState::kReady;
  status_.capabilities = ProviderCapabilities{
      .provider = "fake",
      .hardware = "software keys for tests",
      .algorithms = {SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs384,
                     SignatureAlgorithm::kEs256, SignatureAlgorithm::kRs256},
  };
}

FakeKeyService::~FakeKeyService() {
  std::vector<Held> held;
  {
    MutexLock lock(mu_);
    held.swap(held_);
  }
  for (Held& call : held) call.refuse(MakeError(Reason::kShuttingDown, "key service is ending"));
}

KeyService::OperationId FakeKeyService::Sign(
    SignRequest request, absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  {
    MutexLock lock(mu_);
    sign_requests_.push_back(request);
  }
  auto shared = Share(std::move(done));
  return Start(
      [this, request = std::move(request), shared]() mutable { (*shared)(DoSign(request)); },
      [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::CreateKey(
    CreateRequest request, absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) {
  {
    MutexLock lock(mu_);
    create_requests_.push_back(request);
  }
  auto shared = Share(std::move(done));
  return Start(
      [this, request = std::move(request), shared]() mutable { (*shared)(DoCreate(request)); },
      [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::DestroyKey(KeyReference key,
                                                   absl::AnyInvocable<void(absl::Status)> done) {
  {
    MutexLock lock(mu_);
    ++destroys_;
  }
  auto shared = Share(std::move(done));
  return Start([this, key = std::move(key), shared]() mutable { (*shared)(DoDestroy(key)); },
               [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::ListKeys(
    absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) {
  auto shared = Share(std::move(done));
  return Start([this, shared] { (*shared)(DoListKeys()); },
               [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::CheckKey(KeyReference key, PublicKey expected,
                                                 absl::AnyInvocable<void(absl::Status)> done) {
  auto shared = Share(std::move(done));
  return Start(
      [this, shared, key = std::move(key), expected = std::move(expected)] {
        absl::Status status;
        {
          MutexLock lock(mu_);
          const auto found = keys_.find(key.blob);
          if (found == keys_.end()) {
            status = MakeError(Reason::kKeyGone, "no such key");
          } else if (found->second.public_key() != expected) {
            status = MakeError(Reason::kKeyDamaged, "another key");
          }
        }
        (*shared)(status);
      },
      [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::Inspect(
    absl::AnyInvocable<void(absl::StatusOr<HardwareCondition>)> done) {
  auto shared = Share(std::move(done));
  return Start(
      [this, shared] {
        HardwareCondition condition;
        {
          MutexLock lock(mu_);
          condition = condition_;
        }
        (*shared)(condition);
      },
      [shared](absl::Status status) { (*shared)(std::move(status)); });
}

KeyService::OperationId FakeKeyService::ProvisionParent(
    Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) {
  {
    MutexLock lock(mu_);
    owner_auths_.emplace_back(owner_auth.RevealSecret());
  }
  auto shared = Share(std::move(done));
  return Start(
      [this, shared] {
        absl::StatusOr<ProvisionedParent> parent;
        {
          MutexLock lock(mu_);
          parent = parent_;
        }
        (*shared)(std::move(parent));
      },
      [shared](absl::Status status) { (*shared)(std::move(status)); });
}

void FakeKeyService::set_parent(absl::StatusOr<ProvisionedParent> parent) {
  MutexLock lock(mu_);
  parent_ = std::move(parent);
}

std::vector<std::string> FakeKeyService::owner_auths() const {
  MutexLock lock(mu_);
  return owner_auths_;
}

KeyService::OperationId FakeKeyService::Start(absl::AnyInvocable<void()> run,
                                              absl::AnyInvocable<void(absl::Status)> refuse) {
  OperationId id = 0;
  {
    MutexLock lock(mu_);
    id = next_id_++;
    if (hold_) {
      held_.push_back(Held{id, std::move(run), std::move(refuse)});
      return id;
    }
  }
  run();
  return id;
}

bool FakeKeyService::Cancel(OperationId id) {
  Held cancelled;
  {
    MutexLock lock(mu_);
    const auto found =
        std::find_if(held_.begin(), held_.end(), [id](const Held& call) { return call.id == id; });
    if (found == held_.end()) return false;
    cancelled = std::move(*found);
    held_.erase(found);
  }
  cancelled.refuse(MakeError(Reason::kCancelled, "key operation cancelled"));
  return true;
}

void FakeKeyService::Reopen() {
  MutexLock lock(mu_);
  ++reopenings_;
}

void FakeKeyService::Drop() {
  std::vector<Held> held;
  MutexLock lock(mu_);
  held.swap(held_);
}

int FakeKeyService::Release(int count) {
  int released = 0;
  while (released < count) {
    Held call;
    {
      MutexLock lock(mu_);
      if (held_.empty()) break;
      call = std::move(held_.front());
      held_.erase(held_.begin());
    }
    call.run();
    ++released;
  }
  return released;
}

absl::Status FakeKeyService::Take(Failures& failures) {
  if (failures.next.empty()) return failures.lasting;
  absl::Status first = failures.next.front();
  failures.next.erase(failures.next.begin());
  return first;
}

absl::StatusOr<std::string> FakeKeyService::DoSign(const SignRequest& request) {
  MutexLock lock(mu_);
  if (absl::Status failure = Take(sign_failures_); !failure.ok()) return failure;
  const auto found = keys_.find(request.key.blob);
  if (found == keys_.end()) return MakeError(Reason::kKeyGone, "no such key");
  const SoftwareKey& key = found->second;
  if (key.public_key() != request.public_key) {
    return MakeError(Reason::kKeyDamaged, "the key is not the one expected");
  }
  if (key.algorithm() != request.algorithm) {
    return MakeError(Reason::kAlgorithmUnsupported, "the key is for another algorithm");
  }
  std::string signature = key.Sign(request.message);
  if (wrong_signatures_) signature.back() = static_cast<char>(signature.back() ^ 1);
  return signature;
}

absl::StatusOr<CreatedKey> FakeKeyService::DoCreate(const CreateRequest& request) {
  MutexLock lock(mu_);
  if (absl::Status failure = Take(create_failures_); !failure.ok()) return failure;
  return MakeKeyLocked(request.algorithm);
}

absl::Status FakeKeyService::DoDestroy(const KeyReference& key) {
  MutexLock lock(mu_);
  if (absl::Status failure = Take(destroy_failures_); !failure.ok()) return failure;
  keys_.erase(key.blob);
  return absl::OkStatus();
}

KeyInventory FakeKeyService::DoListKeys() {
  MutexLock lock(mu_);
  KeyInventory inventory;
  for (const auto& [blob, key] : keys_) {
    inventory.keys.push_back(
        {.reference = {.provider = "fake", .blob = blob}, .id = Thumbprint(key.public_key())});
  }
  return inventory;
}

CreatedKey FakeKeyService::MakeKeyLocked(SignatureAlgorithm algorithm) {
  SoftwareKey key = SoftwareKey::Generate(algorithm);
  CreatedKey created{
      .reference = {.provider = "fake", .blob = absl::StrCat("fake-key-", next_key_++)},
      .algorithm = algorithm,
      .public_key = key.public_key(),
      .attributes = {{.name = "fake", .value = true}},
  };
  keys_.emplace(created.reference.blob, std::move(key));
  return created;
}

CreatedKey FakeKeyService::MakeKey(SignatureAlgorithm algorithm) {
  MutexLock lock(mu_);
  return MakeKeyLocked(algorithm);
}

void FakeKeyService::LoseKey(const KeyReference& reference) {
  MutexLock lock(mu_);
  keys_.erase(reference.blob);
}

ProviderStatus FakeKeyService::status() const {
  MutexLock lock(mu_);
  ProviderStatus status = status_;
  status.queued += static_cast<int>(held_.size());
  return status;
}

void FakeKeyService::set_hold(bool hold) {
  MutexLock lock(mu_);
  hold_ = hold;
}

void FakeKeyService::FailNextSign(absl::Status status) {
  MutexLock lock(mu_);
  sign_failures_.next.push_back(std::move(status));
}

void FakeKeyService::FailNextCreate(absl::Status status) {
  MutexLock lock(mu_);
  create_failures_.next.push_back(std::move(status));
}

void FakeKeyService::FailNextDestroy(absl::Status status) {
  MutexLock lock(mu_);
  destroy_failures_.next.push_back(std::move(status));
}

void FakeKeyService::set_sign_status(absl::Status status) {
  MutexLock lock(mu_);
  sign_failures_.lasting = std::move(status);
}

void FakeKeyService::set_create_status(absl::Status status) {
  MutexLock lock(mu_);
  create_failures_.lasting = std::move(status);
}

void FakeKeyService::set_destroy_status(absl::Status status) {
  MutexLock lock(mu_);
  destroy_failures_.lasting = std::move(status);
}

void FakeKeyService::set_condition(HardwareCondition condition) {
  MutexLock lock(mu_);
  condition_ = condition;
}

void FakeKeyService::set_status(ProviderStatus status) {
  MutexLock lock(mu_);
  status_ = std::move(status);
}

void FakeKeyService::set_wrong_signatures(bool wrong) {
  MutexLock lock(mu_);
  wrong_signatures_ = wrong;
}

int FakeKeyService::signs() const {
  MutexLock lock(mu_);
  return static_cast<int>(sign_requests_.size());
}

int FakeKeyService::creates() const {
  MutexLock lock(mu_);
  return static_cast<int>(create_requests_.size());
}

int FakeKeyService::destroys() const {
  MutexLock lock(mu_);
  return destroys_;
}

int FakeKeyService::reopenings() const {
  MutexLock lock(mu_);
  return reopenings_;
}

int FakeKeyService::held() const {
  MutexLock lock(mu_);
  return static_cast<int>(held_.size());
}

bool FakeKeyService::HasKey(const KeyReference& reference) const {
  MutexLock lock(mu_);
  return keys_.count(reference.blob) > 0;
}

int FakeKeyService::keys() const {
  MutexLock lock(mu_);
  return static_cast<int>(keys_.size());
}

std::vector<KeyService::SignRequest> FakeKeyService::sign_requests() const {
  MutexLock lock(mu_);
  return sign_requests_;
}

std::vector<KeyService::CreateRequest> FakeKeyService::create_requests() const {
  MutexLock lock(mu_);
  return create_requests_;
}

}  // namespace smartkey
