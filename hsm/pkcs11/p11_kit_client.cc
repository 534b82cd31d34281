// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/p11_kit_client.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/account_names.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

// How often somebody who waits for the listening turn is asked whether it is still wanted.
constexpr std::chrono::milliseconds kAskAgain{20};

// What p11-kit-client.so says of itself where there is nobody to ask.
constexpr absl::string_view kNoConnection = "p11-kit (no connection)";

// What p11-kit has one of for each process cannot belong to anybody smaller.
struct Process {
  Mutex mu;
  std::string socket_path ABSL_GUARDED_BY(mu);
  // Finalized, to be taken again. All of the first module that was loaded: there is only one.
  std::vector<CK_FUNCTION_LIST*> free_lists ABSL_GUARDED_BY(mu);
  std::timed_mutex listening;  // held by the one P11KitListener
};

Process& ThisProcess() {
  static Process& process = *new Process;  // outlives whatever is destroyed at exit
  return process;
}

std::string SocketPath() {
  Process& process = ThisProcess();
  MutexLock lock(process.mu);
  return process.socket_path;
}

// As p11-kit reads it (p11_path_decode): %xx for all but a few characters.
std::string AddressOf(absl::string_view path) {
  std::string address = "unix:path=";
  for (const char c : path) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || absl::StrContains("_-/.", c)) {
      address.push_back(c);
    } else {
      absl::StrAppendFormat(&address, "%%%02x", static_cast<unsigned char>(c));
    }
  }
  return address;
}

absl::Status Unusable(absl::string_view path, absl::string_view why) {
  return MakeError(Reason::kConfigInvalid,
                   absl::StrCat("pkcs11: socket ", Printable(path), ": ", why));
}

// Whoever can write to the directory can put a socket of their own there, and be told the PIN.
absl::Status CheckDirectory(const std::string& path) {
  const std::string directory = path.substr(0, std::max<size_t>(1, path.rfind('/')));
  struct stat found = {};
  const std::string shown = Printable(directory, 100);
  if (::lstat(directory.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) {
    return WithRemedy(
        Unusable(path, "its directory is not there"),
        absl::StrCat("make it: 'install -d -m 700 -o ", UserNameOf(::geteuid()), " ", shown, "'"));
  }
  if (found.st_uid != ::geteuid()) {
    return WithRemedy(Unusable(path, "its directory belongs to another user"),
                      absl::StrCat("'chown -R ", UserNameOf(::geteuid()), " ", shown, "'",
                                   // As which it refuses to start.
                                   found.st_uid == 0 ? ""
                                                     : absl::StrCat(", or start smartkeyd as ",
                                                                    UserNameOf(found.st_uid))));
  }
  if ((found.st_mode & 077) != 0) {
    return WithRemedy(Unusable(path, "its directory is open to others"),
                      absl::StrCat("'chmod 700 ", shown, "'"));
  }
  return absl::OkStatus();
}

bool EndsUsBySigpipe() {
  struct sigaction action = {};
  ::sigaction(SIGPIPE, nullptr, &action);
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_DFL;
}

}  // namespace

const char* P11KitClient::DefaultModule() {
  return SMARTKEY_P11_KIT_MODULES "/p11-kit-client.so";
}

absl::Status P11KitClient::UseSocket(const std::string& path) {
  if (!absl::StartsWith(path, "/")) return Unusable(path, "not an absolute path");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return Unusable(path, "the path is too long");
  if (absl::Status status = CheckDirectory(path); !status.ok()) return status;
  Process& process = ThisProcess();
  MutexLock lock(process.mu);
  if (process.socket_path.empty()) {
    ::setenv("P11_KIT_SERVER_ADDRESS", AddressOf(path).c_str(), /*overwrite=*/1);
    process.socket_path = path;
  }
  return process.socket_path == path ? absl::OkStatus()
                                     : Unusable(path, "this process uses another one");
}

absl::StatusOr<std::unique_ptr<P11KitClient>> P11KitClient::Create(const std::string& module) {
  if (EndsUsBySigpipe()) {
    return MakeError(Reason::kInternal, "pkcs11: SIGPIPE must be ignored to isolate a module");
  }
  if (SocketPath().empty()) {
    return MakeError(Reason::kInternal, "pkcs11: no socket is set to isolate a module");
  }
  Process& process = ThisProcess();
  MutexLock lock(process.mu);
  if (!process.free_lists.empty()) {
    CK_FUNCTION_LIST* const functions = process.free_lists.back();
    process.free_lists.pop_back();
    return std::unique_ptr<P11KitClient>(new P11KitClient(functions));
  }
  void* library = ::dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    return MakeError(Reason::kHardwareAbsent,
                     absl::StrCat("pkcs11: p11-kit's client module: ", Printable(::dlerror())));
  }
  const auto get_function_list =
      reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* functions = nullptr;
  const CK_RV rv =
      get_function_list == nullptr ? CKR_FUNCTION_NOT_SUPPORTED : get_function_list(&functions);
  if (rv != CKR_OK) return Pkcs11Status(rv, "load p11-kit's client module");
  return std::unique_ptr<P11KitClient>(new P11KitClient(functions));
}

P11KitClient::~P11KitClient() {
  Process& process = ThisProcess();
  MutexLock lock(process.mu);
  process.free_lists.push_back(functions_);
}

CK_RV P11KitClient::Initialize(const std::string& init_args) {
  CK_C_INITIALIZE_ARGS arguments = {};
  arguments.flags = CKF_OS_LOCKING_OK;  // it does nothing without
  std::string reserved = init_args;
  if (!reserved.empty()) arguments.pReserved = reserved.data();
  if (const CK_RV rv = functions_->C_Initialize(&arguments); rv != CKR_OK) return rv;
  // Whether there is a connection behind it, it tells in words only.
  CK_INFO info = {};
  CK_RV rv = functions_->C_GetInfo(&info);
  const absl::string_view description(reinterpret_cast<const char*>(info.libraryDescription),
                                      sizeof(info.libraryDescription));
  if (rv == CKR_OK && absl::StartsWith(description, kNoConnection)) rv = CKR_DEVICE_ERROR;
  if (rv != CKR_OK) functions_->C_Finalize(nullptr);
  return rv;
}

absl::StatusOr<std::unique_ptr<P11KitListener>> P11KitListener::Create(
    const std::function<bool()>& give_up) {
  std::unique_lock<std::timed_mutex> turn(ThisProcess().listening, std::defer_lock);
  while (!turn.try_lock_for(kAskAgain)) {
    if (give_up()) {
      return MakeError(Reason::kHardwareDegraded,
                       "pkcs11: interrupted while another module starts");
    }
  }
  std::unique_ptr<P11KitListener> listener(new P11KitListener(std::move(turn)));

  const std::string path = SocketPath();
  // Looked at again each time: it is what keeps others from the PIN.
  if (absl::Status status = CheckDirectory(path); !status.ok()) return status;
  struct stat found = {};
  if (::lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) ::unlink(path.c_str());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  listener->fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  listener->bound_ = listener->fd_ && ::bind(listener->fd(), reinterpret_cast<sockaddr*>(&address),
                                             sizeof(address)) == 0;
  if (!listener->bound_ || ::listen(listener->fd(), /*backlog=*/4) != 0) {
    const int error = errno;
    return MakeError(Reason::kInternal, absl::StrCat("pkcs11: listening on ", Printable(path), ": ",
                                                     std::strerror(error)));
  }
  return listener;
}

P11KitListener::~P11KitListener() {
  if (bound_) ::unlink(SocketPath().c_str());
}

}  // namespace smartkey
