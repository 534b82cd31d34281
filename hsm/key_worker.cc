// SPDX-License-Identifier: Apache-2.0
#include "hsm/key_worker.h"

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "hsm/key_worker_core.h"

namespace smartkey {

KeyWorker::KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler,
                     Options options, KeyObserver* observer)
    : core_(std::make_shared<Core>(std::move(factory), clock, scheduler, options, observer)) {
  core_->Start();
}

KeyWorker::KeyWorker(ProviderFactory factory, const Clock& clock, Scheduler& scheduler)
    : KeyWorker(std::move(factory), clock, scheduler, Options(), /*observer=*/nullptr) {}

KeyWorker::~KeyWorker() {
  core_->Shutdown();
}

namespace {

// Makes `call` an operation: what it returns is kept until `done` gets it.
template <typename T>
KeyOperation Returning(absl::AnyInvocable<absl::StatusOr<T>(KeyProvider&)> call,
                       absl::AnyInvocable<void(absl::StatusOr<T>)> done) {
  KeyOperation operation;
  const auto result = std::make_shared<T>();
  operation.attempt = [call = std::move(call), result](KeyProvider& provider) mutable {
    absl::StatusOr<T> answer = call(provider);
    if (!answer.ok()) return answer.status();
    *result = *std::move(answer);
    return absl::OkStatus();
  };
  operation.finish = [result, done = std::move(done)](absl::Status status) mutable {
    if (status.ok()) {
      done(std::move(*result));
    } else {
      done(std::move(status));
    }
  };
  return operation;
}

}  // namespace

KeyService::OperationId KeyWorker::Sign(
    SignRequest request, absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) {
  const CallerKey caller = request.caller;
  const BootTime deadline = request.deadline;
  KeyOperation operation = Returning<std::string>(
      [request = std::move(request)](KeyProvider& provider) {
        return provider.Sign(request.key, request.public_key, request.algorithm, request.message);
      },
      std::move(done));
  operation.caller = caller;
  operation.deadline = deadline;
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::CreateKey(
    CreateRequest request, absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) {
  const CallerKey caller = request.caller;
  const BootTime deadline = request.deadline;
  KeyOperation operation = Returning<CreatedKey>(
      [request = std::move(request)](KeyProvider& provider) {
        return provider.CreateKey(request.algorithm, request.label);
      },
      std::move(done));
  operation.caller = caller;
  operation.deadline = deadline;
  operation.kind = KeyOperationKind::kCreate;
  operation.repeatable = false;  // the first try may have left a key in a token
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::DestroyKey(KeyReference key,
                                              absl::AnyInvocable<void(absl::Status)> done) {
  KeyOperation operation;
  operation.kind = KeyOperationKind::kDestroy;
  operation.attempt = [key = std::move(key)](KeyProvider& provider) {
    return provider.DestroyKey(key);
  };
  operation.finish = std::move(done);
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::ListKeys(
    absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) {
  KeyOperation operation = Returning<KeyInventory>(
      [](KeyProvider& provider) { return provider.ListKeys(); }, std::move(done));
  operation.kind = KeyOperationKind::kList;
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::CheckKey(KeyReference key, PublicKey expected,
                                            absl::AnyInvocable<void(absl::Status)> done) {
  KeyOperation operation;
  operation.kind = KeyOperationKind::kList;  // it looks at a key
  operation.attempt = [key = std::move(key), expected = std::move(expected)](
                          KeyProvider& provider) { return provider.CheckKey(key, expected); };
  operation.finish = std::move(done);
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::Inspect(
    absl::AnyInvocable<void(absl::StatusOr<HardwareCondition>)> done) {
  KeyOperation operation = Returning<HardwareCondition>(
      [](KeyProvider& provider) { return provider.Inspect(); }, std::move(done));
  operation.kind = KeyOperationKind::kList;
  return core_->Submit(std::move(operation));
}

KeyService::OperationId KeyWorker::ProvisionParent(
    Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) {
  KeyOperation operation = Returning<ProvisionedParent>(
      [owner_auth =
           std::move(owner_auth)](KeyProvider& provider) -> absl::StatusOr<ProvisionedParent> {
        ParentProvisioner* const provisioner = provider.parent_provisioner();
        if (provisioner == nullptr) {
          return WithRemedy(
              MakeError(Reason::kNotImplemented,
                        "only a TPM has a parent key, and this machine's keys are in a PKCS#11 "
                        "token"),
              "nothing is to be done: a token keeps its keys by itself");
        }
        return provisioner->ProvisionParent(owner_auth);
      },
      std::move(done));
  operation.kind = KeyOperationKind::kProvision;
  operation.repeatable = false;  // an authorization is tried once
  return core_->Submit(std::move(operation));
}

bool KeyWorker::Cancel(OperationId id) {
  return core_->Cancel(id);
}

void KeyWorker::Reopen() {
  core_->Reopen();
}

ProviderStatus KeyWorker::status() const {
  return core_->status();
}

}  // namespace smartkey
