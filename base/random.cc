// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include <cstdlib>

#include "base/base64url.h"

namespace smartkey {

std::string RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    const ssize_t got = getrandom(bytes.data() + filled, size - filled, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();
    filled += static_cast<size_t>(got);
  }
  return bytes;
}

std::string RandomId() {
  std::string id = Base64UrlEncode(RandomBytes(16));
  while (id[0] == '-') id = Base64UrlEncode(RandomBytes(16));
  return id;
}

bool IsId(absl::string_view text) {
  return text.size() == 22 && text[0] != '-' && Base64UrlDecode(text).ok();
}

double RandomFraction() {
  const std::string bytes = RandomBytes(2);
  const int value =
      (static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]);
  return value / 65536.0;
}

}  // namespace smartkey
