// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_session_pool.h"

#include <algorithm>
#include <utility>

#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

// The one that is worked in and the one that keeps the login.
constexpr size_t kEnough = 2;

size_t LimitOf(const Pkcs11Token& token, int max_sessions) {
  CK_ULONG limit = static_cast<CK_ULONG>(std::max(max_sessions, 1));
  for (const CK_ULONG of_token : {token.info.ulMaxSessionCount, token.info.ulMaxRwSessionCount}) {
    if (of_token != CK_UNAVAILABLE_INFORMATION && of_token != CK_EFFECTIVELY_INFINITE) {
      limit = std::min(limit, of_token);
    }
  }
  return limit;
}

bool IsUserState(CK_STATE state) {
  return state == CKS_RW_USER_FUNCTIONS || state == CKS_RO_USER_FUNCTIONS;
}

}  // namespace

Pkcs11SessionPool::Pkcs11SessionPool(CK_FUNCTION_LIST& functions, const Pkcs11Token& token,
                                     int max_sessions, Pkcs11Login& login)
    : functions_(functions),
      token_(token),
      login_(login),
      limit_(LimitOf(token, max_sessions)),
      read_only_(token.write_protected()) {}

absl::Status Pkcs11SessionPool::Use(absl::FunctionRef<absl::Status(Pkcs11Session&)> use) {
  absl::StatusOr<Pkcs11Session> session = Take();
  if (!session.ok()) return session.status();
  absl::Status outcome = use(*session);
  if (MayBeKept(outcome)) idle_.push_back(*std::move(session));
  return outcome;
}

absl::StatusOr<Pkcs11Session> Pkcs11SessionPool::Take() {
  while (idle_.size() >= std::min(kEnough, limit_)) {
    Pkcs11Session session = std::move(idle_.back());
    idle_.pop_back();
    if (IsUsable(session)) return session;
  }
  absl::StatusOr<Pkcs11Session> opened = OpenLoggedIn();
  if (opened.ok() || idle_.empty() || Pkcs11CodeOf(opened.status()) != CKR_SESSION_COUNT) {
    return opened;
  }
  // Other programs have the rest: then we work with what we have.
  Pkcs11Session session = std::move(idle_.back());
  idle_.pop_back();
  if (IsUsable(session)) return session;
  return opened;
}

absl::StatusOr<Pkcs11Session> Pkcs11SessionPool::OpenLoggedIn() {
  absl::StatusOr<Pkcs11Session> session = Pkcs11Session::Open(functions_, token_.slot, read_only_);
  if (Pkcs11CodeOf(session.status()) == CKR_TOKEN_WRITE_PROTECTED && !read_only_) {
    read_only_ = true;
    session = Pkcs11Session::Open(functions_, token_.slot, read_only_);
  }
  if (!session.ok() || !token_.login_required()) return session;
  absl::StatusOr<CK_SESSION_INFO> info = session->Info();
  if (!info.ok()) return info.status();
  if (IsUserState(info->state)) return session;
  if (absl::Status status = login_.LogIn(*session, token_); !status.ok()) return status;
  return session;
}

bool Pkcs11SessionPool::IsUsable(const Pkcs11Session& session) const {
  const absl::StatusOr<CK_SESSION_INFO> info = session.Info();
  return info.ok() && info->slotID == token_.slot &&
         (!token_.login_required() || IsUserState(info->state));
}

bool Pkcs11SessionPool::MayBeKept(const absl::Status& outcome) const {
  if (outcome.ok()) return true;
  const absl::optional<CK_RV> code = Pkcs11CodeOf(outcome);
  if (!code.has_value()) return true;  // our own verdict about what the token told
  // The last one takes the login along: closed only if it is void.
  const Pkcs11Recovery recovery = RowForPkcs11Code(*code).recovery;
  return idle_.empty() && (recovery == Pkcs11Recovery::kNone || recovery == Pkcs11Recovery::kRetry);
}

}  // namespace smartkey
