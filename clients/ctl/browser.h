// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

namespace smartkey::ctl {

// Whether this process runs where a browser can open a window.
bool HasDesktop();

// The page that sends the browser on to a URL. Removed with this.
class BrowserPage {
 public:
  // `path`: a file that is now this object's.
  explicit BrowserPage(std::string path) : path_(std::move(path)) {}
  ~BrowserPage();
  BrowserPage(const BrowserPage&) = delete;
  BrowserPage& operator=(const BrowserPage&) = delete;

  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// Opens an http(s) URL in the person's own browser (xdg-open, no shell in between) and does not
// wait for it. Every user of the machine can read the arguments of a program, and an authorization
// URL has the login's state; so the URL stands in a page that only this user can read, in
// $XDG_RUNTIME_DIR, and xdg-open is told the page's path. The page must live until the browser is
// back.
//
// Null if there is no such directory that is this user's alone, or xdg-open could not be started.
std::unique_ptr<BrowserPage> OpenBrowser(const std::string& url);

}  // namespace smartkey::ctl
