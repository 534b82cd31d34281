// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tss2/tss2_esys.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// Frees what the ESAPI hands out.
struct EsysFree {
  void operator()(void* memory) const { Esys_Free(memory); }
};
template <typename T>
using EsysPtr = std::unique_ptr<T, EsysFree>;

// A connection to a TPM: the transport (TCTI) and the ESAPI context on it. Everything obtained
// through it must be gone before it. Not thread-safe: the thread that owns the provider makes every
// call.
class EsysContext {
 public:
  // `tcti` as Tss2_TctiLdr_Initialize takes it: "device:/dev/tpmrm0", "swtpm:path=...",
  // "tabrmd:...". Starts the TPM (TPM2_Startup) where no resource manager or driver has done so.
  // Errors: kHardwareAbsent (nothing answers there), kHardwareDegraded.
  static absl::StatusOr<std::unique_ptr<EsysContext>> Create(const std::string& tcti);

  ~EsysContext();
  EsysContext(const EsysContext&) = delete;
  EsysContext& operator=(const EsysContext&) = delete;

  ESYS_CONTEXT* get() const { return esys_; }

  // True if something between us and the chip gives each process its own objects and sessions.
  bool has_resource_manager() const { return has_resource_manager_; }

  // Runs one ESAPI command, again with growing pauses while the TPM says "not now" (for about two
  // seconds). `command` returns the call's code and must be repeatable.
  static TSS2_RC Run(absl::FunctionRef<TSS2_RC()> command);

  // Takes every transient object and loaded session out of the TPM, whoever put it there. Only
  // where there is no resource manager: what a killed process had loaded stays there for good
  // otherwise.
  absl::Status FlushEverything();

  // How many handles of a range the TPM reports: TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST,
  // TPM2_PERSISTENT_FIRST.
  absl::StatusOr<TPML_HANDLE> ListHandles(TPM2_HANDLE first);

 private:
  EsysContext() = default;

  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  bool has_resource_manager_ = false;
};

// An object the ESAPI knows: a loaded transient one, flushed from the TPM when this ends, or a
// persistent one, merely forgotten. Must end before its context. Not thread-safe.
class EsysObject {
 public:
  EsysObject() = default;
  static EsysObject Transient(EsysContext& context, ESYS_TR handle) {
    return EsysObject(&context, handle, /*flush=*/true);
  }
  static EsysObject Persistent(EsysContext& context, ESYS_TR handle) {
    return EsysObject(&context, handle, /*flush=*/false);
  }
  EsysObject(EsysObject&& other) noexcept
      : context_(other.context_),
        handle_(std::exchange(other.handle_, ESYS_TR_NONE)),
        flush_(other.flush_) {}
  EsysObject& operator=(EsysObject&& other) noexcept;
  ~EsysObject() { Reset(); }

  ESYS_TR get() const { return handle_; }
  explicit operator bool() const { return handle_ != ESYS_TR_NONE; }
  void Reset();

  // The object's Name (Part 1 section 16): the hash algorithm and hash of its public area.
  absl::StatusOr<std::string> Name() const;

 private:
  EsysObject(EsysContext* context, ESYS_TR handle, bool flush)
      : context_(context), handle_(handle), flush_(flush) {}

  EsysContext* context_ = nullptr;
  ESYS_TR handle_ = ESYS_TR_NONE;
  bool flush_ = false;
};

}  // namespace smartkey
