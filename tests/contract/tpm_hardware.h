// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_key_provider.h"
#include "tests/contract/key_provider_contract.h"
#include "tests/support/swtpm.h"

namespace smartkey {

// A swtpm, reached by `tcti`, which may go through something else. What is inside is looked at past
// that.
class TpmUnderTest : public HardwareUnderTest {
 public:
  // `tpm` must outlive this.
  TpmUnderTest(Swtpm& tpm, std::string tcti) : tpm_(tpm), tcti_(std::move(tcti)) {}

  std::unique_ptr<KeyProvider> NewProvider(const std::string& /*instance*/) override {
    return std::make_unique<TpmKeyProvider>(
        TpmKeyProvider::Options{.tcti = tcti_, .machine_id = "one machine"});
  }

  absl::Status Reboot() override { return tpm_.Restart(); }
  void Unplug() override { tpm_.Kill(); }
  absl::Status PlugIn() override { return tpm_.PowerOn(); }
  absl::Status Replace() override { return tpm_.Replace(); }

  absl::StatusOr<std::string> Leftovers() override {
    absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(tpm_.tcti());
    if (!context.ok()) return context.status();
    std::string counts;
    for (const auto& [name, first] :
         {std::pair<absl::string_view, TPM2_HANDLE>{"transient", TPM2_TRANSIENT_FIRST},
          {"sessions", TPM2_LOADED_SESSION_FIRST},
          {"saved sessions", TPM2_ACTIVE_SESSION_FIRST},
          {"persistent", TPM2_PERSISTENT_FIRST},
          {"nv", TPM2_NV_INDEX_FIRST}}) {
      absl::StatusOr<TPML_HANDLE> handles = (*context)->ListHandles(first);
      if (!handles.ok()) return handles.status();
      absl::StrAppend(&counts, name, " ", handles->count, " ");
    }
    return counts;
  }

  std::vector<SignatureAlgorithm> algorithms() const override {
    return {SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs384, SignatureAlgorithm::kEs256,
            SignatureAlgorithm::kRs256};
  }
  bool stores_keys() const override { return false; }
  std::vector<KeyAttribute> required_attributes() const override {
    return {{"fixedtpm", true},     {"fixedparent", true}, {"sensitivedataorigin", true},
            {"userwithauth", true}, {"noda", true},        {"sign", true},
            {"decrypt", false},     {"restricted", false}};
  }

 private:
  Swtpm& tpm_;
  const std::string tcti_;
};

}  // namespace smartkey
