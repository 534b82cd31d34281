// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace smartkey {

// The value that the part `fraction` (0 to 1) of all lies below, between the two nearest where it
// falls between them. `values` must not be empty.
double Quantile(std::vector<double> values, double fraction);

}  // namespace smartkey
