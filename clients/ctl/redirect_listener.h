// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/secret.h"
#include "clients/ctl/redirect_uri.h"

namespace smartkey::ctl {

// Listens on loopback for the one request with which the browser comes back (RFC 8252 section 7.3).
//
// It takes the first GET of exactly the registered path, addressed to exactly this host and port,
// that has a code or an error and the state of this login, and keeps its query; everything else,
// and everything after it, gets 404. Without the state any page that tries ports, or another user
// of this machine, could end the login with a code that is none. The browser is sent on to a page
// without data or script, so that the code stays neither in its address bar nor in its history. No
// connection is kept.
//
// At every address that the URI's host can be: for localhost both, or none. Bound before the
// browser opens, closed when destroyed; threads of its own. Thread-safe.
class RedirectListener {
 public:
  // Errors: kRedirectPortBusy when the registered port, or the address, cannot be had.
  static absl::StatusOr<std::unique_ptr<RedirectListener>> Start(const LoopbackUri& uri);

  // Lets the browser fetch the page, for at most two seconds, if it has come back at all.
  ~RedirectListener();

  // The redirect URI with the port it listens on.
  std::string uri() const;
  uint16_t port() const;

  // What the redirect's state must be; empty: not known, and any will do. Until this is called no
  // redirect is taken.
  void ExpectState(Secret state);

  // Readable once the redirect has arrived.
  int ready_fd() const;
  // The redirect's query; empty before it has arrived.
  Secret TakeQuery();

 private:
  struct Rep;
  explicit RedirectListener(std::unique_ptr<Rep> rep);

  std::unique_ptr<Rep> rep_;
};

}  // namespace smartkey::ctl
