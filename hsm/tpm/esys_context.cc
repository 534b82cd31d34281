// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/esys_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <tss2/tss2_sys.h>
#include <tss2/tss2_tctildr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/account_names.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

// The kernel's (/dev/tpmrm0) and the one in user space. Anything else talks to the chip itself.
bool NamesResourceManager(absl::string_view tcti) {
  return absl::StrContains(tcti, "tpmrm") || absl::StartsWith(tcti, "tabrmd") ||
         absl::StrContains(tcti, ":tabrmd");
}

// Who may open the device, in what the administrator has to do about it.
std::string RemedyForDevice(const std::string& device, int error) {
  struct stat info = {};
  if (error == EPERM) {
    return absl::StrCat("the unit must allow it: DeviceAllow=", device, " rw, then restart");
  }
  if (error == EBUSY) {
    return "another program has the TPM: name its resource manager, which many can use, as tcti in "
           "[key_provider]: device:/dev/tpmrm0";
  }
  if (error != EACCES || ::stat(device.c_str(), &info) != 0) {
    return "connect or enable the TPM, or correct tcti in [key_provider]";
  }
  if (info.st_gid != 0 && (info.st_mode & S_IRGRP) != 0 && (info.st_mode & S_IWGRP) != 0) {
    const std::string group = GroupNameOf(info.st_gid);
    return absl::StrCat("the device belongs to the group ", group, ": SupplementaryGroups=", group,
                        " in the unit, then restart");
  }
  return absl::StrCat("give the device to the group tss ('chgrp tss ", device, "; chmod 660 ",
                      device,
                      "'; udev's rule for TPMs does it), SupplementaryGroups=tss in the "
                      "unit, then restart");
}

// The loader has one code for all of it (no such library, no such device, nobody listening, not
// permitted): no TPM there. Of a device the kernel says more.
absl::Status NotConnected(const std::string& tcti, TSS2_RC rc) {
  absl::Status status =
      MakeError(Reason::kHardwareAbsent,
                TpmStatus(rc, absl::StrCat("connect to ", Printable(tcti, 200))).message());
  absl::string_view path = tcti;
  if (!absl::ConsumePrefix(&path, "device:")) {
    return WithRemedy(status, "start what is named there, or correct tcti in [key_provider]");
  }
  const std::string device(path);
  const UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  const int error = fd ? 0 : errno;
  if (error != 0) {
    status = MakeError(Reason::kHardwareAbsent,
                       absl::StrCat(status.message(), ": opening ", Printable(device, 200), ": ",
                                    std::strerror(error)));
  }
  return WithRemedy(status, RemedyForDevice(device, error));
}

constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Milliseconds(500);
constexpr int kMostAttempts = 10;

}  // namespace

absl::StatusOr<std::unique_ptr<EsysContext>> EsysContext::Create(const std::string& tcti) {
  // The loader would go and look for one: the machine's own, for instance.
  if (tcti.empty()) return MakeError(Reason::kHardwareAbsent, "no tcti is configured");
  std::unique_ptr<EsysContext> context(new EsysContext);
  context->has_resource_manager_ = NamesResourceManager(tcti);
  TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.c_str(), &context->tcti_);
  if (rc != TSS2_RC_SUCCESS) return NotConnected(tcti, rc);
  rc = Esys_Initialize(&context->esys_, context->tcti_, nullptr);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "initialize");
  if (!context->has_resource_manager_) {
    // A driver or a resource manager has started the TPM; an emulator may be as it was powered on.
    rc = Run([&] { return Esys_Startup(context->esys_, TPM2_SU_CLEAR); });
    if (rc != TSS2_RC_SUCCESS && NormalizedTpmCode(rc) != TPM2_RC_INITIALIZE) {
      return TpmStatus(rc, "startup");
    }
  }
  return context;
}

EsysContext::~EsysContext() {
  if (esys_ != nullptr) Esys_Finalize(&esys_);
  if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
}

TSS2_RC EsysContext::Run(absl::FunctionRef<TSS2_RC()> command) {
  absl::Duration pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    const TSS2_RC rc = command();
    if (rc == TSS2_RC_SUCCESS || attempt == kMostAttempts ||
        RowForTpmCode(rc).recovery != TpmRecovery::kRetry) {
      return rc;
    }
    absl::SleepFor(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

absl::StatusOr<TPML_HANDLE> EsysContext::ListHandles(TPM2_HANDLE first) {
  EsysPtr<TPMS_CAPABILITY_DATA> data;
  const TSS2_RC rc = Run([&] {
    TPMS_CAPABILITY_DATA* raw = nullptr;
    TPMI_YES_NO more = TPM2_NO;
    const TSS2_RC result =
        Esys_GetCapability(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                           TPM2_MAX_CAP_HANDLES, &more, &raw);
    data.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "list handles");
  return data->data.handles;
}

absl::Status EsysContext::FlushEverything() {
  // By TPM handle, hence below the ESAPI: these objects are not ours and it does not know them.
  TSS2_SYS_CONTEXT* sys = nullptr;
  if (const TSS2_RC rc = Esys_GetSysContext(esys_, &sys); rc != TSS2_RC_SUCCESS) {
    return TpmStatus(rc, "flush");
  }
  for (const TPM2_HANDLE first : {TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST}) {
    absl::StatusOr<TPML_HANDLE> handles = ListHandles(first);
    if (!handles.ok()) return handles.status();
    for (UINT32 i = 0; i < handles->count; ++i) {
      const TPM2_HANDLE handle = handles->handle[i];
      const TSS2_RC rc = Run([&] { return Tss2_Sys_FlushContext(sys, handle); });
      if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "flush");
    }
  }
  return absl::OkStatus();
}

EsysObject& EsysObject::operator=(EsysObject&& other) noexcept {
  if (this != &other) {
    Reset();
    context_ = other.context_;
    handle_ = std::exchange(other.handle_, ESYS_TR_NONE);
    flush_ = other.flush_;
  }
  return *this;
}

void EsysObject::Reset() {
  if (handle_ == ESYS_TR_NONE) return;
  ESYS_TR handle = std::exchange(handle_, ESYS_TR_NONE);
  if (flush_) {
    const TSS2_RC rc = EsysContext::Run([&] { return Esys_FlushContext(context_->get(), handle); });
    if (rc == TSS2_RC_SUCCESS) return;  // the ESAPI has forgotten it, too
  }
  // Also for an object that a reset has already taken out of the TPM.
  Esys_TR_Close(context_->get(), &handle);
}

absl::StatusOr<std::string> EsysObject::Name() const {
  TPM2B_NAME* raw = nullptr;
  const TSS2_RC rc = Esys_TR_GetName(context_->get(), handle_, &raw);
  EsysPtr<TPM2B_NAME> name(raw);
  if (rc != TSS2_RC_SUCCESS) return TpmStatus(rc, "read name");
  return std::string(reinterpret_cast<const char*>(name->name), name->size);
}

}  // namespace smartkey
