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
  friend bool operator==(OperationSet a, OperationSet b) { return a.bits_ == b.bits_; }
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

// For people: "token, dpop"; "nothing".
std::string DescribeOperations(OperationSet operations);
// "allows token, for patient/*.rs, until 2027-01-31 12:00 UTC".
std::string DescribeTerms(const Share& share);

// The group of a share by the configuration that this machine does not know: nobody is in it. And
// the user of a denial.
inline constexpr int64_t kUnknownGid = -2;
inline constexpr int64_t kUnknownUid = -2;

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

// Whether the scopes are some that a token of the registration can have, as far as the server said
// which: a misspelt one would make a share that is never any good. Errors: kInvalidArgument.
absl::Status CheckShareScopes(const Share& share, const Registration& registration);

// Whether all that `part` allows, `whole` allows too, until then and longer.
bool IsPartOf(const Share& part, const Share& whole);

// At most so many of one registration, and so many bytes of scopes in all of them.
inline constexpr size_t kMaxShares = 256;
inline constexpr size_t kMaxShareScopes = 64 * 1024;

// Puts it in the place of what its principal has, or beside the others. What was made under a share
// goes with it, also when another one takes its place; and so does a denial of the user. Errors:
// kRateLimited beyond kMaxShares and kMaxShareScopes.
absl::Status PutShare(Registration& registration, Share share);

// Adds it to what its principal has of the same maker: the operations and scopes of both, until the
// end of this one. The owner's takes the place of what somebody passed on to him, who may have
// given more, and whose word ends with his own share. Gives what he has now. Errors: those of
// CheckShare for both together, those of PutShare, and kNotPermitted for one that is passed on
// where he has another already.
absl::StatusOr<Share> AddShare(Registration& registration, Share share, absl::Time now);

// With what was made under it. Errors: kShareNotFound. `principal` as ToString(Principal) writes
// it.
absl::Status RemoveShare(Registration& registration, absl::string_view principal);

// Whether he was told no, and may not ask again yet.
bool IsDenied(const Registration& registration, const Caller& caller, absl::Time now);

// Remembers it in the place of an earlier one of the same user, and forgets those that are over; of
// more than kMaxShares, the one that is over first. A share for the user himself takes it back.
void PutDenial(Registration& registration, Denial denial, absl::Time now);

}  // namespace smartkey
