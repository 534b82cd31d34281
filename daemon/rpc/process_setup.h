// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace smartkey {

// What a process has to do before it uses gRPC for the first time and before it starts a thread.
//
// Removes every GRPC_* variable from the environment: GRPC_TRACE prints whole messages, tokens too,
// and whoever starts the process should not be able to ask for that. Ignores SIGPIPE: a peer that
// goes away in the middle of an answer must not end the daemon. Sends gRPC's own complaints to the
// log.
//
// Must be called first in main(): unsetenv is not thread-safe, and gRPC reads the variables once.
void PrepareProcessForRpc();

// Raises the soft limit of open files to the hard one (two are needed for each connection) and
// returns what it is then.
int RaiseFileLimit();

// "gRPC 1.51.1": what this process runs with.
std::string RpcLibraryVersion();

}  // namespace smartkey
