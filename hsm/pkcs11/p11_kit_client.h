// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace smartkey {

// A function list of p11-kit-client.so, whose calls go over a unix socket: C_Initialize connects,
// C_Finalize disconnects. Several are independent of each other.
//
// What p11-kit-client.so is like (0.24.1, and why this is as it is):
// - the socket's path is read from the environment (P11_KIT_SERVER_ADDRESS) when a list is made, so
//   that one process has one path, set before it has a second thread (setenv(3)). A connection,
//   once made, does not need the path: who listens there may change from one to the next;
// - a list is kept until the process ends, with its trampolines. So lists are taken again: there
//   are never more than there were owners at one time;
// - writing to a peer that has died raises SIGPIPE;
// - with nobody listening C_Initialize answers CKR_OK, and later calls find no slots.
//
// Thread-safe, but for the list itself: one owner, one thread.
class P11KitClient {
 public:
  static const char* DefaultModule();  // where Debian's p11-kit-modules has it, an absolute path

  // Sets the path for this process. Once, or again with the same one.
  // Errors: kConfigInvalid: not absolute, longer than a socket's path can be, in a directory that
  // is not there, not ours, or open to others; or another path was set before.
  static absl::Status UseSocket(const std::string& path);

  // Errors: kHardwareAbsent (`module` cannot be loaded), kInternal (no socket is set; SIGPIPE would
  // end this process).
  static absl::StatusOr<std::unique_ptr<P11KitClient>> Create(const std::string& module);

  // Must be finalized, or never have been initialized.
  ~P11KitClient();

  // C_Initialize: connects to whoever listens. CKR_DEVICE_ERROR if nobody does.
  CK_RV Initialize(const std::string& init_args);

  P11KitClient(const P11KitClient&) = delete;
  P11KitClient& operator=(const P11KitClient&) = delete;

  CK_FUNCTION_LIST* functions() const { return functions_; }

 private:
  explicit P11KitClient(CK_FUNCTION_LIST* functions) : functions_(functions) {}

  CK_FUNCTION_LIST* const functions_;
};

// The listening socket at this process's path. There is one at a time, for as long as one
// C_Initialize takes: nobody can connect afterwards, and several modules take turns. To be
// destroyed by the thread that made it.
class P11KitListener {
 public:
  // Waits for its turn, and asks meanwhile whether to `give_up`. What a killed process has left
  // there is removed, if it is a socket.
  // Errors: kHardwareDegraded (given up), kInternal (it cannot listen there).
  static absl::StatusOr<std::unique_ptr<P11KitListener>> Create(
      const std::function<bool()>& give_up);

  ~P11KitListener();
  P11KitListener(const P11KitListener&) = delete;
  P11KitListener& operator=(const P11KitListener&) = delete;

  int fd() const { return fd_.get(); }

  // Closes our descriptor once a child has inherited it. The socket is then the child's alone: when
  // that ends, a connection that it has not accepted fails instead of waiting for ever.
  void LeaveToChild() { fd_.reset(); }

 private:
  explicit P11KitListener(std::unique_lock<std::timed_mutex> turn) : turn_(std::move(turn)) {}

  std::unique_lock<std::timed_mutex> turn_;
  UniqueFd fd_;
  bool bound_ = false;
};

}  // namespace smartkey
