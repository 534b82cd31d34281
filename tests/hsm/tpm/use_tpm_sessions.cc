// SPDX-License-Identifier: Apache-2.0
// Another program that uses the TPM a lot, for scripts/soak and scripts/test-vm: starts sessions
// and ends them, one after the other.
//
//   use_tpm_sessions TCTI COUNT [--stay]
//
// Each start makes a resource manager save a session's context, and the TPM counts those: once
// 65,535 were saved after one that is still there, it saves no other (TPM 2.0 Part 1 section
// 30.5.2), unless the manager does something about it. One that this program holds from the
// beginning, on a connection of its own, shows which of the two happens. With --stay it goes on
// holding that one until it is told to end, whatever happened.
#include <tss2/tss2_sys.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

constexpr TPMT_SYM_DEF kNoEncryption = {.algorithm = TPM2_ALG_NULL};

absl::StatusOr<ESYS_TR> StartSession(EsysContext& tpm) {
  ESYS_TR session = ESYS_TR_NONE;
  const TSS2_RC rc = Esys_StartAuthSession(tpm.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                           ESYS_TR_NONE, ESYS_TR_NONE, nullptr, TPM2_SE_HMAC,
                                           &kNoEncryption, TPM2_ALG_SHA256, &session);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "start session");
  // An audit session goes with any command, and not on after the first unless asked to.
  Esys_TRSess_SetAttributes(tpm.get(), session, TPMA_SESSION_AUDIT | TPMA_SESSION_CONTINUESESSION,
                            0xFF);
  return session;
}

absl::Status UseSession(EsysContext& tpm, ESYS_TR session) {
  TPM2B_DIGEST* raw = nullptr;
  const TSS2_RC rc =
      Esys_GetRandom(tpm.get(), session, ESYS_TR_NONE, ESYS_TR_NONE, /*bytesRequested=*/8, &raw);
  const EsysPtr<TPM2B_DIGEST> random(raw);
  return TpmStatus(rc, "use session");
}

// The two commands and nothing else: what the ESAPI does around them takes longer than the TPM.
absl::Status StartAndEnd(EsysContext& tpm) {
  TSS2_SYS_CONTEXT* sys = nullptr;
  TSS2_RC rc = Esys_GetSysContext(tpm.get(), &sys);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "get the system context");
  const TPM2B_NONCE ours = {.size = 16, .buffer = {}};
  const TPM2B_ENCRYPTED_SECRET unsalted = {};
  TPM2B_NONCE theirs = {};
  TPMI_SH_AUTH_SESSION session = 0;
  rc = Tss2_Sys_StartAuthSession(sys, TPM2_RH_NULL, TPM2_RH_NULL, nullptr, &ours, &unsalted,
                                 TPM2_SE_HMAC, &kNoEncryption, TPM2_ALG_SHA256, &session, &theirs,
                                 nullptr);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "start session");
  return TpmStatus(Tss2_Sys_FlushContext(sys, session), "end session");
}

absl::Status Run(const std::string& tcti, int count, bool stay) {
  absl::StatusOr<std::unique_ptr<EsysContext>> holder = EsysContext::Create(tcti);
  if (!holder.ok()) return holder.status();
  const absl::StatusOr<ESYS_TR> held = StartSession(**holder);
  if (!held.ok()) return held.status();

  absl::StatusOr<std::unique_ptr<EsysContext>> tpm = EsysContext::Create(tcti);
  if (!tpm.ok()) return tpm.status();
  absl::Status status;
  for (int i = 1; i <= count && status.ok(); ++i) {
    status = StartAndEnd(**tpm);
    if (!status.ok()) {
      std::printf("session %d failed: %s\n", i, std::string(status.message()).c_str());
    } else if (i % 1000 == 0 || i == count) {
      std::printf("%d sessions\n", i);
    }
    std::fflush(stdout);
  }
  if (status.ok() || !stay) {
    const absl::Status still = UseSession(**holder, *held);
    std::printf("the session that was held meanwhile: %s\n",
                still.ok() ? "works" : std::string(still.message()).c_str());
    std::fflush(stdout);
  }
  if (stay) pause();
  return status;
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  int count = 0;
  const bool stay = argc == 4 && std::string(argv[3]) == "--stay";
  if (argc != 3 + stay || !absl::SimpleAtoi(argv[2], &count) || count < 1) {
    std::fprintf(stderr, "usage: use_tpm_sessions TCTI COUNT [--stay]\n");
    return 2;
  }
  const absl::Status status = smartkey::Run(argv[1], count, stay);
  if (!status.ok()) std::fprintf(stderr, "use_tpm_sessions: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
