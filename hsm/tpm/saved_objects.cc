// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/saved_objects.h"

#include <utility>

namespace smartkey {

void SavedObjects::Save(EsysContext& context, const std::string& name, const EsysObject& object) {
  EsysPtr<TPMS_CONTEXT> saved;
  const TSS2_RC rc = EsysContext::Run([&] {
    TPMS_CONTEXT* raw = nullptr;
    const TSS2_RC result = Esys_ContextSave(context.get(), object.get(), &raw);
    saved.reset(raw);
    return result;
  });
  if (rc != TSS2_RC_SUCCESS) return;
  if (contexts_.size() >= most_) contexts_.clear();
  contexts_.insert_or_assign(name, std::move(saved));
}

absl::optional<EsysObject> SavedObjects::Load(EsysContext& context, const std::string& name) {
  const auto found = contexts_.find(name);
  if (found == contexts_.end()) return absl::nullopt;
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc = EsysContext::Run(
      [&] { return Esys_ContextLoad(context.get(), found->second.get(), &handle); });
  if (rc == TSS2_RC_SUCCESS) return EsysObject::Transient(context, handle);
  contexts_.erase(found);
  return absl::nullopt;
}

}  // namespace smartkey
