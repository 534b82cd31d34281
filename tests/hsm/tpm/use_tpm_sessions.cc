// SPDX-License-Identifier: Apache-2.0
// Another program that uses the TPM a lot, for scripts/soak: starts sessions, uses each once, and
// ends it.
//
//   use_tpm_sessions TCTI COUNT
//
// Each use makes a resource manager save a session's context, and the TPM counts those: a session
// that stays saved while 65,535 others are is one that it will not take back (TPM 2.0 Part 1
// section 30.5.2), unless the manager does something about it. One that this program holds from the
// beginning, on a connection of its own, shows at the end which of the two happened.
#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "hsm/tpm/esys_context.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

absl::StatusOr<ESYS_TR> StartSession(EsysContext& tpm) {
  const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
  ESYS_TR session = ESYS_TR_NONE;
  const TSS2_RC rc =
      Esys_StartAuthSession(tpm.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                            ESYS_TR_NONE, nullptr, TPM2_SE_HMAC, &none, TPM2_ALG_SHA256, &session);
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

absl::Status StartUseAndEnd(EsysContext& tpm) {
  const absl::StatusOr<ESYS_TR> session = StartSession(tpm);
  if (!session.ok()) return session.status();
  if (absl::Status used = UseSession(tpm, *session); !used.ok()) return used;
  return TpmStatus(Esys_FlushContext(tpm.get(), *session), "end session");
}

absl::Status Run(const std::string& tcti, int count) {
  absl::StatusOr<std::unique_ptr<EsysContext>> holder = EsysContext::Create(tcti);
  if (!holder.ok()) return holder.status();
  const absl::StatusOr<ESYS_TR> held = StartSession(**holder);
  if (!held.ok()) return held.status();

  absl::StatusOr<std::unique_ptr<EsysContext>> tpm = EsysContext::Create(tcti);
  if (!tpm.ok()) return tpm.status();
  for (int i = 1; i <= count; ++i) {
    if (absl::Status status = StartUseAndEnd(**tpm); !status.ok()) {
      std::printf("failed at session %d\n", i);
      return status;
    }
    if (i % 1000 == 0 || i == count) std::printf("%d sessions\n", i);
    std::fflush(stdout);
  }
  const absl::Status still = UseSession(**holder, *held);
  std::printf("the session that was held meanwhile: %s\n",
              still.ok() ? "works" : std::string(still.message()).c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace smartkey

int main(int argc, char** argv) {
  int count = 0;
  if (argc != 3 || !absl::SimpleAtoi(argv[2], &count) || count < 1) {
    std::fprintf(stderr, "usage: use_tpm_sessions TCTI COUNT\n");
    return 2;
  }
  const absl::Status status = smartkey::Run(argv[1], count);
  if (!status.ok()) std::fprintf(stderr, "use_tpm_sessions: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
