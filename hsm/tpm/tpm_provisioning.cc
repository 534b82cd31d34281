// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/tpm_provisioning.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "base/error.h"
#include "hsm/tpm/tpm_lockout.h"
#include "hsm/tpm/tpm_parents.h"
#include "hsm/tpm/tpm_status.h"

namespace smartkey {
namespace {

// The owner hierarchy's authorization, in the context for as long as this lives.
class OwnerAuthorization {
 public:
  OwnerAuthorization(EsysContext& context, absl::string_view password) : context_(context) {
    TPM2B_AUTH auth = {};
    auth.size = static_cast<UINT16>(password.size());
    std::copy(password.begin(), password.end(), auth.buffer);
    Set(auth);
    OPENSSL_cleanse(&auth, sizeof(auth));
  }
  ~OwnerAuthorization() {
    // The library keeps the octets that it is not told to overwrite.
    TPM2B_AUTH nothing = {};
    nothing.size = sizeof(nothing.buffer);
    Set(nothing);
    nothing.size = 0;
    Set(nothing);
  }
  OwnerAuthorization(const OwnerAuthorization&) = delete;
  OwnerAuthorization& operator=(const OwnerAuthorization&) = delete;

 private:
  void Set(const TPM2B_AUTH& auth) { Esys_TR_SetAuth(context_.get(), ESYS_TR_RH_OWNER, &auth); }

  EsysContext& context_;
};

absl::StatusOr<ProvisionedParent> MakePersistent(EsysContext& context, const TpmParent& primary) {
  ESYS_TR persistent = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run([&] {
    return Esys_EvictControl(context.get(), ESYS_TR_RH_OWNER, primary.object.get(),
                             ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, kStorageRootHandle,
                             &persistent);
  });
  if (rc != TSS2_RC_SUCCESS) {
    const absl::Status status = TpmFailure(context, rc, "make persistent");
    if (ReasonOf(status) != Reason::kHardwareFull) return status;
    return WithRemedy(status,
                      "free a persistent object of the TPM that is not needed: 'tpm2_getcap "
                      "handles-persistent' lists them");
  }
  const EsysObject made = EsysObject::Persistent(context, persistent);
  return ProvisionedParent{.handle = kStorageRootHandle, .name = primary.name};
}

}  // namespace

absl::StatusOr<ProvisionedParent> ProvisionStorageRoot(EsysContext& context,
                                                       const Secret& owner_auth) {
  if (owner_auth.size() > sizeof(TPM2B_AUTH::buffer)) {
    return MakeError(Reason::kInvalidArgument, "no tpm has an owner password as long as that");
  }
  absl::StatusOr<absl::optional<TpmParent>> found = FindPersistentParent(context);
  if (!found.ok()) return found.status();
  if (found->has_value()) {
    absl::StatusOr<bool> usable = IsUsableParent(context, (*found)->object);
    if (!usable.ok()) return usable.status();
    if (*usable) {
      return ProvisionedParent{
          .handle = kStorageRootHandle, .name = (*found)->name, .already_there = true};
    }
    return MakeError(Reason::kTpmHandleTaken,
                     "something that is no storage root key for us is at 0x81000001");
  }
  const OwnerAuthorization authorization(context, owner_auth.RevealSecret());
  absl::StatusOr<TpmParent> primary = CreateStoragePrimary(context, ESYS_TR_RH_OWNER);
  if (!primary.ok()) return primary.status();
  return MakePersistent(context, *primary);
}

}  // namespace smartkey
