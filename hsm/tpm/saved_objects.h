// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/types/optional.h"
#include "hsm/tpm/esys_context.h"

namespace smartkey {

// Loaded objects as the TPM gave them out for loading again (TPM2_ContextSave, Part 3
// section 28.2): encrypted by the TPM, loaded without their parent, and several times faster than
// by TPM2_Load. In memory only, since a TPM reset ends them: a cache, whoever finds nothing in it
// loads the long way.
//
// Not thread-safe. Takes no room in the TPM.
class SavedObjects {
 public:
  // `most`: of this many, some five kilobytes each; then it starts over.
  explicit SavedObjects(size_t most) : most_(most) {}

  bool Has(const std::string& name) const { return contexts_.count(name) > 0; }

  // Keeps a copy of `object`, or nothing where the TPM does not give it out.
  void Save(EsysContext& context, const std::string& name, const EsysObject& object);

  // The object, loaded. Absent if there is none of this name, or the TPM does not take it any more:
  // after a reset, or TPM2_Clear. Then it is forgotten.
  absl::optional<EsysObject> Load(EsysContext& context, const std::string& name);

  void Forget(const std::string& name) { contexts_.erase(name); }
  void Clear() { contexts_.clear(); }

 private:
  const size_t most_;
  std::map<std::string, EsysPtr<TPMS_CONTEXT>> contexts_;
};

}  // namespace smartkey
