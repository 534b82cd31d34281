// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_token.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

// No module has as many; one that says so shall not make us allocate them.
constexpr CK_ULONG kMostSlots = 65'536;

template <size_t kSize>
std::string Trimmed(const unsigned char (&field)[kSize]) {
  size_t size = 0;
  // Up to the first NUL, then without blanks: a label may have blanks inside.
  while (size < kSize && field[size] != 0) ++size;
  while (size > 0 && field[size - 1] == ' ') --size;
  return std::string(reinterpret_cast<const char*>(field), size);
}

absl::StatusOr<std::vector<CK_SLOT_ID>> SlotsWithTokens(CK_FUNCTION_LIST& functions) {
  // A token may come between asking how many there are and asking which.
  for (int attempt = 0; attempt < 4; ++attempt) {
    CK_ULONG count = 0;
    CK_RV rv = functions.C_GetSlotList(CK_TRUE, nullptr, &count);
    if (rv != CKR_OK) return Pkcs11Status(rv, "list slots");
    if (count > kMostSlots) {
      return MakeError(Reason::kHardwareError, "pkcs11 list slots: more than any module has");
    }
    std::vector<CK_SLOT_ID> slots(count);
    if (count == 0) return slots;
    rv = functions.C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv == CKR_BUFFER_TOO_SMALL) continue;
    if (rv != CKR_OK) return Pkcs11Status(rv, "list slots");
    slots.resize(std::min<size_t>(count, slots.size()));
    return slots;
  }
  return Pkcs11Status(CKR_BUFFER_TOO_SMALL, "list slots");
}

std::string DescribeAll(const std::vector<Pkcs11Token>& tokens) {
  return absl::StrJoin(tokens, "; ", [](std::string* out, const Pkcs11Token& token) {
    absl::StrAppend(out, Describe(token.identity));
  });
}

}  // namespace

Pkcs11TokenIdentity IdentityOf(const CK_TOKEN_INFO& info) {
  return {.label = Trimmed(info.label),
          .manufacturer = Trimmed(info.manufacturerID),
          .model = Trimmed(info.model),
          .serial = Trimmed(info.serialNumber)};
}

absl::StatusOr<CK_TOKEN_INFO> ReadTokenInfo(CK_FUNCTION_LIST& functions, CK_SLOT_ID slot) {
  CK_TOKEN_INFO info = {};
  const CK_RV rv = functions.C_GetTokenInfo(slot, &info);
  if (rv != CKR_OK) return Pkcs11Status(rv, "read token information");
  return info;
}

absl::StatusOr<Pkcs11Token> FindToken(CK_FUNCTION_LIST& functions, const Pkcs11Uri& uri) {
  absl::StatusOr<std::vector<CK_SLOT_ID>> slots = SlotsWithTokens(functions);
  if (!slots.ok()) return slots.status();
  std::vector<Pkcs11Token> matching, others;
  absl::Status unreadable;
  for (const CK_SLOT_ID slot : *slots) {
    absl::StatusOr<CK_TOKEN_INFO> info = ReadTokenInfo(functions, slot);
    if (!info.ok()) {
      // Gone in between, or a broken neighbour of ours: a failure only if ours is not found.
      if (ReasonOf(info.status()) != Reason::kHardwareAbsent) unreadable = info.status();
      continue;
    }
    // SoftHSM2 always offers one more, for the next to come.
    if ((info->flags & CKF_TOKEN_INITIALIZED) == 0) continue;
    const Pkcs11Token token = {.slot = slot, .identity = IdentityOf(*info), .info = *info};
    (uri.Matches(token.identity) ? matching : others).push_back(token);
  }
  if (matching.size() == 1) return matching[0];
  if (matching.size() > 1) {
    return WithRemedy(
        MakeError(Reason::kConfigInvalid,
                  absl::StrCat("pkcs11: the uri fits several tokens: ", DescribeAll(matching))),
        "add 'serial' to the uri, so that it fits one token only");
  }
  if (!unreadable.ok()) return unreadable;
  return MakeError(Reason::kHardwareAbsent,
                   absl::StrCat("pkcs11: no token with ", Describe(uri.token), "; there ",
                                others.empty() ? "is none" : "is: ", DescribeAll(others)));
}

}  // namespace smartkey
