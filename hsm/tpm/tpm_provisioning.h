// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "base/secret.h"
#include "hsm/parent_provisioner.h"
#include "hsm/tpm/esys_context.h"

namespace smartkey {

// Makes the TCG's standard ECC storage key persistent at 0x81000001, as ParentProvisioner says. It
// is the very key that is made anew at each start where there is none, with the same Name, so what
// was wrapped before goes on. Two transient slots of the TPM must be free.
//
// The one function of this tree that makes a persistent object. The password is tried once, and
// goes to the TPM in the clear. The context's memory of it is overwritten; buffers that the library
// has for commands are not: whoever cares ends the context afterwards.
absl::StatusOr<ProvisionedParent> ProvisionStorageRoot(EsysContext& context,
                                                       const Secret& owner_auth);

}  // namespace smartkey
