// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "base/user_database.h"
#include "daemon/model/caller.h"
#include "daemon/model/registration.h"

namespace smartkey {

// Whom a share is for, as a person writes it: parts joined by '+', each kind at most once, all of
// which must be true of a caller.
//
//   user:alice   uid:1000   group:clinic   unit:viewer.service   user:alice+unit:viewer.service
//
// A unit is a *system* unit: a user can make units of his own. Executables are not asked for, since
// a process can be made to look like any (docs/THREAT_MODEL.md).
struct Principal {
  std::string user;           // empty: no such part, as the others
  absl::optional<uid_t> uid;  // never beside `user`
  std::string group;
  std::string unit;
};

// Errors: kInvalidArgument, with what is wrong; what was written is not quoted.
absl::StatusOr<Principal> ParsePrincipal(absl::string_view text);

// As ParsePrincipal reads it, the parts in the order above: two that mean the same are the same
// text.
std::string ToString(const Principal& principal);

// The principal of a share, with the numbers that its names have now. May block: see UserDatabase.
// Errors: kUnknownPrincipal for a user or group that there is not (a uid or a unit need not exist
// yet), kNotReady.
absl::StatusOr<Share> Resolve(const Principal& principal, const UserDatabase& users);

// A process of that user on the public socket, as far as the user database says what one is: of the
// user for whom root acts. May block. Errors: kUnknownPrincipal, kInvalidArgument (uid 65534),
// those of UserDatabase.
absl::StatusOr<Caller> CallerNamed(const std::string& user_name, const UserDatabase& users);

// A share without terms for whomever the configuration names. Users are known by their names, so
// that one who is made, or known, later is meant too; a group by the number that it has now; nobody
// is in one that is not to be found, which is logged. `place`: "file:line". May block.
Share ConfiguredShare(const Principal& principal, std::string place, const UserDatabase& users);

// The same for whomever it denies something: a user by his number, too, for a uid may have several
// names; kUnknownUid for one who is not to be found.
Share ConfiguredDenial(const Principal& principal, std::string place, const UserDatabase& users);

// A share without terms for the caller himself: his login, or his uid if it has none.
Share ShareFor(const Caller& caller);

// A caller on the public socket of whom just that is true, and nothing beside: to say what such a
// one may do. Whose user is not given is none that owns anything.
// `pid_pinned`: whether such a connection's process is held, which this kernel can or cannot do.
Caller CallerLike(const Share& resolved, bool pid_pinned);

}  // namespace smartkey
