// SPDX-License-Identifier: Apache-2.0
#include "base/access_list.h"

#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstdint>

namespace smartkey {
namespace {

constexpr char kAttribute[] = "system.posix_acl_access";
constexpr size_t kMaxList = 1024;

uint16_t Little16(const unsigned char* octets) {
  return static_cast<uint16_t>(octets[0] | octets[1] << 8);
}

uint32_t Little32(const unsigned char* octets) {
  return Little16(octets) | static_cast<uint32_t>(Little16(octets + 2)) << 16;
}

// `get(buffer, size)` is one of the getxattr functions.
template <class Get>
absl::optional<std::string> ReadList(Get get) {
  char list[kMaxList];
  const ssize_t size = get(list, sizeof(list));
  if (size >= 0) return std::string(list, static_cast<size_t>(size));
  if (errno == ENODATA || errno == ENOTSUP) return std::string();
  return absl::nullopt;
}

}  // namespace

absl::optional<std::string> AccessListOf(int fd) {
  return ReadList(
      [fd](char* buffer, size_t size) { return ::fgetxattr(fd, kAttribute, buffer, size); });
}

absl::optional<std::string> AccessListOf(const std::string& path) {
  return ReadList([&path](char* buffer, size_t size) {
    return ::getxattr(path.c_str(), kAttribute, buffer, size);
  });
}

bool AccessListAllowsOthers(absl::string_view list, mode_t permissions, uid_t trusted) {
  constexpr size_t kHeader = sizeof(posix_acl_xattr_header);
  constexpr size_t kEntry = sizeof(posix_acl_xattr_entry);
  const auto* octets = reinterpret_cast<const unsigned char*>(list.data());
  if (list.size() < kHeader || (list.size() - kHeader) % kEntry != 0 ||
      Little32(octets) != POSIX_ACL_XATTR_VERSION) {
    return true;
  }
  for (size_t at = kHeader; at < list.size(); at += kEntry) {
    const uint16_t tag = Little16(octets + at);
    const uint32_t id = Little32(octets + at + 4);
    // The mask limits named users and groups; a list that needs it to be sound is none we accept.
    if (tag == ACL_USER_OBJ || tag == ACL_MASK) continue;
    if ((Little16(octets + at + 2) & permissions) == 0) continue;
    if (tag == ACL_USER && (id == 0 || id == trusted)) continue;
    return true;
  }
  return false;
}

}  // namespace smartkey
