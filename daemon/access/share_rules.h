// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "daemon/model/access_token.h"
#include "daemon/model/caller.h"
#include "daemon/model/registration.h"

namespace smartkey {

// What somebody may do with a registration. What is below the line can be shared.
enum class Operation {
  kSee,   // list it, read its facts
  kJwks,  // its public key
  // ---
  kToken,      // be given access tokens
  kDpop,       // have DPoP proofs signed
  kJwt,        // have app JWTs signed
  kAssertion,  // be given client assertions (an unscoped credential)
  kManage,     // label, name, renewal, deletion, shares
};

// A set of operations.
class OperationSet {
 public:
  OperationSet() = default;
  OperationSet(std::initializer_list<Operation> operations) {
    for (const Operation one : operations) Add(one);
  }
  static OperationSet All();

  void Add(Operation one) { bits_ |= BitOf(one); }
  void Add(OperationSet others) { bits_ |= others.bits_; }
  bool Has(Operation one) const { return (bits_ & BitOf(one)) != 0; }
  bool HasAll(OperationSet others) const { return (bits_ & others.bits_) == others.bits_; }
  bool empty() const { return bits_ == 0; }
  std::vector<Operation> list() const;  // in the order of the enum

 private:
  static unsigned BitOf(Operation one) { return 1u << static_cast<unsigned>(one); }
  unsigned bits_ = 0;
};

// As a share's record and `smartkeyctl share --allow` write those that can be shared: "token",
// "dpop", "jwt", "assertion", "manage". Empty for the others.
absl::string_view OperationName(Operation operation);
absl::optional<Operation> OperationFromName(absl::string_view name);

// What a share allows. Names that this version does not know allow nothing.
OperationSet OperationsOf(const Share& share);

// Whether a share is the caller's, or the first thing that is not so.
enum class ShareMatch {
  kYes,
  kEnded,        // it had an end
  kOtherUser,    // another uid
  kUserChanged,  // the uid, but under another name than when the share was made
  kOtherGroup,   // not in the group
  kOtherUnit,    // not a process of the unit
  kUnitUnsure,   // of the unit, as far as a process id says; alone that is not enough
};
ShareMatch Match(const Share& share, const Caller& caller, absl::Time now);

// Whether `share` may be made. Errors: kInvalidArgument (nothing allowed; assertions together with
// a subset of the scopes, which an assertion would get around; an end that is past).
absl::Status CheckShare(const Share& share, absl::Time now);

// At most so many of one registration.
inline constexpr size_t kMaxShares = 256;

// Puts it in the place of what its principal has, or beside the others. Errors: kRateLimited beyond
// kMaxShares.
absl::Status PutShare(Registration& registration, Share share);

// Errors: kShareNotFound. `principal` as ToString(Principal) writes it.
absl::Status RemoveShare(Registration& registration, absl::string_view principal);

}  // namespace smartkey
