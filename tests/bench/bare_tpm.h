// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_key_blob.h"
#include "tests/bench/duel.h"

namespace smartkey {

// What a program without any of our code around the ESAPI would do with the same keys: hash with
// OpenSSL, Esys_Sign, take r and s. One thread, one connection of its own to the same TPM.
class BareTpm : public Contestant {
 public:
  enum class Loading {
    kOnce,      // the key, before the round; Esys_Sign is all that is timed
    kEachCall,  // Esys_Load, Esys_Sign, Esys_FlushContext; the parent stays loaded
    kSaved,     // Esys_ContextLoad, Esys_Sign, Esys_FlushContext; saved before the round
  };

  // The keys' parent must be the transient one: made before each round, flushed after it, since the
  // TPM has three slots for both sides. Errors: those of the ESAPI, and of reading the blobs.
  static absl::StatusOr<std::unique_ptr<BareTpm>> Connect(const std::string& tcti,
                                                          const std::vector<DuelKey>& keys,
                                                          Loading loading);

  absl::Status BeginRound() override;
  absl::StatusOr<DuelRound> Run(int calls) override;
  void EndRound() override;

 private:
  BareTpm(std::unique_ptr<EsysContext> context, std::vector<TpmKeyBlob> blobs, Loading loading)
      : context_(std::move(context)), blobs_(std::move(blobs)), loading_(loading) {}

  absl::Status MakeParent();
  absl::StatusOr<EsysObject> Load(const TpmKeyBlob& blob);
  absl::StatusOr<EsysObject> LoadSaved(const TPMS_CONTEXT& saved);
  absl::Status SaveAll();
  // The key to sign call `index` with, where each call loads its own.
  absl::StatusOr<EsysObject> LoadForCall(size_t index);
  absl::StatusOr<std::string> Sign(const EsysObject& key);

  const std::unique_ptr<EsysContext> context_;
  const std::vector<TpmKeyBlob> blobs_;
  const Loading loading_;
  EsysObject parent_;                         // kEachCall
  EsysObject key_;                            // kOnce
  std::vector<EsysPtr<TPMS_CONTEXT>> saved_;  // kSaved
};

}  // namespace smartkey
