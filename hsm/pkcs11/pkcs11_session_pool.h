// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <cstddef>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hsm/pkcs11/pkcs11_login.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_token.h"

namespace smartkey {

// The sessions with one token, logged in where it wants that, kept between uses.
//
// Since the provider does one thing at a time there are two where the limit allows: the one that is
// worked in, and one beneath it that nobody touches, so that a session which went wrong can be
// closed without logging out. With a limit of one, closing it logs out, and the next use logs in
// again. Nothing here ever calls C_Logout or C_CloseAllSessions: both would take the login from
// everybody in the process.
//
// `functions`, `token` and `login` must outlive it. The destructor closes all sessions. Not
// thread-safe.
class Pkcs11SessionPool {
 public:
  // The limit is the smallest of `max_sessions` and what the token says of itself.
  Pkcs11SessionPool(CK_FUNCTION_LIST& functions, const Pkcs11Token& token, int max_sessions,
                    Pkcs11Login& login);

  // Runs `use` in a session that was found alive and logged in just before. If it fails with an
  // answer of the token, the session is closed rather than used again: who knows what is under way
  // in it.
  // Errors: those of `use`, Pkcs11Login::LogIn, and what the token answers.
  absl::Status Use(absl::FunctionRef<absl::Status(Pkcs11Session&)> use);

  size_t limit() const { return limit_; }

 private:
  absl::StatusOr<Pkcs11Session> Take();
  absl::StatusOr<Pkcs11Session> OpenLoggedIn();
  bool IsUsable(const Pkcs11Session& session) const;
  bool MayBeKept(const absl::Status& outcome) const;

  CK_FUNCTION_LIST& functions_;
  const Pkcs11Token& token_;
  Pkcs11Login& login_;
  const size_t limit_;
  bool read_only_;
  std::vector<Pkcs11Session> idle_;  // the last is used next
};

}  // namespace smartkey
