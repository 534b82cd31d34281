// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace smartkey {

// Which computer this is, as /etc/machine-id says it: for this process only (machine-id(5)). Empty:
// it does not say.
std::string ReadMachineId();

// Tells this computer from others and may be written down: a hash from which the id cannot be found
// again. Empty for an empty id.
std::string MachineIdentity(const std::string& machine_id);

}  // namespace smartkey
