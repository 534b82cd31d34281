// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

namespace smartkey {

// For a command that a person is to type: the name of a user or a group, or its number where the
// system does not say one. May take as long as LDAP does: for the way out with an error.
std::string UserNameOf(uid_t uid);
std::string GroupNameOf(gid_t gid);

}  // namespace smartkey
