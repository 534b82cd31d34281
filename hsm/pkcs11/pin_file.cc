// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pin_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/access_list.h"
#include "base/account_names.h"
#include "base/error.h"
#include "base/log.h"
#include "base/unique_fd.h"

namespace smartkey {
namespace {

// Longer than any token's ulMaxPinLen, shorter than a file given by mistake.
constexpr size_t kMostPinOctets = 1024;

absl::Status Unusable(Reason reason, const std::string& path, absl::string_view why) {
  return MakeError(reason, absl::StrCat("pin file ", Printable(path), ": ", why));
}

// There is a pin_file: what is to be done differs from having to set one.
absl::Status Unreadable(const std::string& path, int error) {
  const std::string user = UserNameOf(::geteuid());
  return WithRemedy(
      Unusable(Reason::kPinMissing, path, std::strerror(error)),
      error == ENOENT
          ? "write the PIN into that file, or correct pin_file in [key_provider]"
          : absl::StrCat("let ", user, " read the pin file, and nobody else: 'chown ", user,
                         "' and 'chmod 0400', or LoadCredential= of the service"));
}

absl::Status CheckAccess(int fd, const std::string& path) {
  struct stat info = {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return Unusable(Reason::kConfigInvalid, path, "not a regular file");
  }
  // A list too long to read is not one for a PIN.
  const absl::optional<std::string> list = AccessListOf(fd);
  if (!list.has_value() || OthersMayRead(info.st_uid, info.st_mode, *list, ::geteuid())) {
    return WithRemedy(Unusable(Reason::kConfigInvalid, path, "others may read it"),
                      "make the pin file readable for smartkeyd's user only: 'chmod 0400' and "
                      "'chown', or use LoadCredential= of the service");
  }
  return absl::OkStatus();
}

}  // namespace

bool OthersMayRead(uid_t owner, mode_t mode, absl::string_view access_acl, uid_t reader) {
  if (owner != 0 && owner != reader) return true;
  if (access_acl.empty()) return (mode & (S_IRWXG | S_IRWXO)) != 0;
  // Not only reading: nothing but the PIN's reader has to do with it.
  return AccessListAllowsOthers(access_acl, S_IRWXO, reader);
}

absl::StatusOr<Secret> ReadPinFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) return Unreadable(path, errno);
  if (absl::Status status = CheckAccess(fd.get(), path); !status.ok()) return status;
  std::string text(kMostPinOctets + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      WipeString(text);
      return Unreadable(path, error);
    }
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  const bool too_long = size > kMostPinOctets;
  if (size > 0 && text[size - 1] == '\n') --size;
  if (size > 0 && text[size - 1] == '\r') --size;
  Secret pin = Secret::CopyOf(absl::string_view(text.data(), too_long ? 0 : size));
  WipeString(text);
  if (too_long) return Unusable(Reason::kConfigInvalid, path, "too long to be a pin");
  if (pin.empty()) {
    return WithRemedy(Unusable(Reason::kPinMissing, path, "empty"), "write the PIN into that file");
  }
  return pin;
}

}  // namespace smartkey
