// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace smartkey::ctl {

// Whether this process runs where a browser can open a window.
bool HasDesktop();

// Opens an http(s) URL in the person's own browser (xdg-open, no shell in between) and does not
// wait for it. False if that could not be started.
bool OpenBrowser(const std::string& url);

}  // namespace smartkey::ctl
