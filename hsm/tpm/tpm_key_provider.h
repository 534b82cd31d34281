// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "hsm/key_provider.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/saved_objects.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "hsm/tpm/tpm_parents.h"
#include "hsm/tpm/tpm_secret_sealer.h"

namespace smartkey {

// Keys in a TPM 2.0. A key is wrapped by a storage key of the TPM (TpmParents says which) and lives
// in its reference's blob; the TPM stores nothing.
//
// In the TPM at once, at most: the key used last, a parent, and the object of a running command.
// The key used last stays loaded; others that have signed are loaded again from their saved
// contexts, which takes one quick command and no parent. A TPM reset in between is noticed and the
// key loaded from its blob. No session is ever started: our keys and parents have an empty
// authorization, so one would protect nothing (an unsalted, unbound HMAC session has an empty key;
// TPM 2.0 Part 1 section 19.6.8).
//
// Not thread-safe, as KeyProvider. The destructor flushes what is loaded.
class TpmKeyProvider : public KeyProvider, public ParentProvisioner {
 public:
  struct Options {
    // As tpm2-tss takes it: "device:/dev/tpmrm0", "swtpm:path=/run/x.sock",
    // "tabrmd:bus_type=system". Without a resource manager in between ("swtpm:",
    // "device:/dev/tpm0"), this provider is the TPM's only user, and Open flushes whatever is
    // loaded.
    std::string tcti;
    // /etc/machine-id or the like; may be empty.
    std::string machine_id;
  };

  // The libraries under this write their own errors to stderr, in their own form. Everything they
  // say is also in a status. Call once, before the first thread: it sets an environment variable
  // (TSS2_LOG) that they read, unless it is set.
  static void QuietLibraryLog();

  explicit TpmKeyProvider(Options options);
  ~TpmKeyProvider() override;

  // Errors: kTpmOwnerAuthRequired (no usable storage root key, and making one needs authorization).
  absl::StatusOr<ProviderCapabilities> Open() override;
  absl::StatusOr<CreatedKey> CreateKey(SignatureAlgorithm algorithm,
                                       absl::string_view label) override;
  absl::Status CheckKey(const KeyReference& reference, const PublicKey& expected) override;
  absl::StatusOr<std::string> Sign(const KeyReference& reference, const PublicKey& expected,
                                   SignatureAlgorithm algorithm,
                                   absl::string_view message) override;
  absl::Status DestroyKey(const KeyReference& reference) override;
  absl::StatusOr<HardwareCondition> Inspect() override;
  absl::StatusOr<KeyInventory> ListKeys() override;
  int reloads() const override { return reloads_; }
  // Null while not open; ends with the next Open.
  SecretSealer* secret_sealer() override;
  ParentProvisioner* parent_provisioner() override { return this; }
  // Whether open or not; afterwards it is not.
  absl::StatusOr<ProvisionedParent> ProvisionParent(const Secret& owner_auth) override;

 private:
  struct LoadedKey {
    std::string blob;
    PublicKey public_key;
    SignatureAlgorithm algorithm = SignatureAlgorithm::kEs256;
    EsysObject object;
  };

  void Close();
  // Closes, and connects anew, with nothing in the TPM where that is ours alone.
  absl::Status Connect();
  absl::StatusOr<ProviderCapabilities> Probe();
  absl::StatusOr<std::string> Describe();

  absl::StatusOr<CreatedKey> ToCreatedKey(const TpmKeyBlob& blob, SignatureAlgorithm algorithm);
  // From its saved context, or else under its parent.
  absl::StatusOr<LoadedKey> Load(const KeyReference& reference, const PublicKey& expected);
  absl::StatusOr<std::string> SignLoaded(const LoadedKey& key, absl::string_view message);

  const Options options_;
  int reloads_ = 0;

  std::unique_ptr<EsysContext> context_;  // null while not open; the rest ends before it
  std::vector<SignatureAlgorithm> algorithms_;
  absl::optional<TpmParents> parents_;
  absl::optional<TpmSecretSealer> sealer_;
  SavedObjects saved_keys_{64};  // by blob
  absl::optional<LoadedKey> last_used_;
};

// "tpm2-tss 3.2.1": what this was built with; the library has no call that says what it is.
std::string TpmLibraryVersion();

}  // namespace smartkey
