// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mutex.h"
#include "hsm/key_service.h"
#include "tests/fakes/software_key.h"

namespace smartkey {

// A KeyService on OpenSSL keys. By default each call is answered inside itself; with
// `set_hold(true)` calls wait until the test releases them. Deadlines are not looked at (no clock):
// use KeyWorker where they matter. A key that was destroyed or never made: kKeyGone; another public
// key than the caller expects: kKeyDamaged. Thread-safe. The destructor answers what is still held
// with kShuttingDown.
//
//   FakeKeyService keys;
//   CreatedKey key = keys.MakeKey(SignatureAlgorithm::kEs256);   // at once, not counted
//   keys.FailNextSign(MakeError(Reason::kHardwareBusy, "busy"));
//   keys.set_hold(true);  ...  keys.Release(1);
class FakeKeyService : public KeyService {
 public:
  FakeKeyService();
  ~FakeKeyService() override;

  OperationId Sign(SignRequest request,
                   absl::AnyInvocable<void(absl::StatusOr<std::string>)> done) override;
  OperationId CreateKey(CreateRequest request,
                        absl::AnyInvocable<void(absl::StatusOr<CreatedKey>)> done) override;
  OperationId DestroyKey(KeyReference key, absl::AnyInvocable<void(absl::Status)> done) override;
  OperationId ListKeys(absl::AnyInvocable<void(absl::StatusOr<KeyInventory>)> done) override;
  OperationId CheckKey(KeyReference key, PublicKey expected,
                       absl::AnyInvocable<void(absl::Status)> done) override;
  OperationId Inspect(absl::AnyInvocable<void(absl::StatusOr<HardwareCondition>)> done) override;
  OperationId ProvisionParent(
      Secret owner_auth, absl::AnyInvocable<void(absl::StatusOr<ProvisionedParent>)> done) override;
  bool Cancel(OperationId id) override;
  void Reopen() override;
  ProviderStatus status() const override;

  // What a test sets. A failure "of the next" is for one call and comes before the lasting one,
  // which lasts until it is set to OK. Failures are decided when the call is answered, not when it
  // is made.
  void set_hold(bool hold);
  void FailNextSign(absl::Status status);
  void FailNextCreate(absl::Status status);
  void FailNextDestroy(absl::Status status);
  void set_sign_status(absl::Status status);
  void set_create_status(absl::Status status);
  void set_destroy_status(absl::Status status);
  void set_status(ProviderStatus status);
  // What Inspect answers.
  void set_condition(HardwareCondition condition);
  // What ProvisionParent answers; kNotImplemented until then.
  void set_parent(absl::StatusOr<ProvisionedParent> parent);
  // Signatures come out with one bit wrong: hardware that lies.
  void set_wrong_signatures(bool wrong);

  // Answers the first `count` held calls, in order, on the caller's thread.
  // Returns how many there were.
  int Release(int count);
  int ReleaseAll() { return Release(1 << 30); }
  // Forgets what is held, without calling `done`: what a kill does.
  void Drop();

  // A key made at once, whatever is held or failing. Counted nowhere.
  CreatedKey MakeKey(SignatureAlgorithm algorithm);
  // Takes a key away, as a cleared TPM does.
  void LoseKey(const KeyReference& reference);

  // What happened. Counts are of calls made, held or not, successful or not.
  int signs() const;
  int creates() const;
  int destroys() const;
  int reopenings() const;
  int held() const;
  bool HasKey(const KeyReference& reference) const;
  std::vector<std::string> owner_auths() const;  // of ProvisionParent
  int keys() const;                              // made and not destroyed
  std::vector<SignRequest> sign_requests() const;
  std::vector<CreateRequest> create_requests() const;

 private:
  // Failures to come for one kind of operation.
  struct Failures {
    std::vector<absl::Status> next;
    absl::Status lasting;
  };
  struct Held {
    OperationId id = 0;
    absl::AnyInvocable<void()> run;
    absl::AnyInvocable<void(absl::Status)> refuse;
  };

  OperationId Start(absl::AnyInvocable<void()> run, absl::AnyInvocable<void(absl::Status)> refuse);
  absl::Status Take(Failures& failures) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  CreatedKey MakeKeyLocked(SignatureAlgorithm algorithm) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::string> DoSign(const SignRequest& request);
  absl::StatusOr<CreatedKey> DoCreate(const CreateRequest& request);
  absl::Status DoDestroy(const KeyReference& key);
  KeyInventory DoListKeys();

  mutable Mutex mu_;
  bool hold_ ABSL_GUARDED_BY(mu_) = false;
  bool wrong_signatures_ ABSL_GUARDED_BY(mu_) = false;
  Failures sign_failures_ ABSL_GUARDED_BY(mu_);
  Failures create_failures_ ABSL_GUARDED_BY(mu_);
  Failures destroy_failures_ ABSL_GUARDED_BY(mu_);
  ProviderStatus status_ ABSL_GUARDED_BY(mu_);
  HardwareCondition condition_ ABSL_GUARDED_BY(mu_);
  OperationId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  int next_key_ ABSL_GUARDED_BY(mu_) = 1;
  std::vector<std::string> owner_auths_ ABSL_GUARDED_BY(mu_);
  absl::StatusOr<ProvisionedParent> parent_ ABSL_GUARDED_BY(mu_) =
      MakeError(Reason::kNotImplemented, "a fake has no parent key");
  int destroys_ ABSL_GUARDED_BY(mu_) = 0;
  int reopenings_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<SignRequest> sign_requests_ ABSL_GUARDED_BY(mu_);
  std::vector<CreateRequest> create_requests_ ABSL_GUARDED_BY(mu_);
  std::vector<Held> held_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, SoftwareKey> keys_ ABSL_GUARDED_BY(mu_);  // by blob
};

}  // namespace smartkey
