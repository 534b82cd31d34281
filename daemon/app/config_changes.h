// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "daemon/app/config.h"

namespace smartkey {

// What is another after a reload, for the administrator who asked for it. Names of apps, servers
// and keys only: a value may be a secret of the hardware's maker.

// A sentence for each app and each server that is new, gone, renamed or otherwise changed, and for
// apps_dir: what a reload puts in force.
std::vector<std::string> DescribeChanges(const Config& before, const Config& after);

// The keys of [daemon], [key_provider] and [http], as "[http] proxy", in which `now` differs from
// `started`, that which the process was started with: they count at the next start.
std::vector<std::string> KeysThatNeedARestart(const Config& started, const Config& now);

}  // namespace smartkey
