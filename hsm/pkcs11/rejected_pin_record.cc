// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/rejected_pin_record.h"

#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/base64url.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"

namespace smartkey {
namespace {

constexpr absl::string_view kTitle = "smartkeyd pin record 1";
constexpr size_t kSaltOctets = 16;
constexpr size_t kHashOctets = 32;
constexpr size_t kMostFileOctets = 1024;

// RFC 7914 section 2; 16 MiB and some tens of milliseconds, once a login. The PIN of a token has
// few digits, so this only makes guessing it from a stolen record dear; the file's mode and the
// token's own count are what protects it.
constexpr uint64_t kScryptN = uint64_t{1} << 14;
constexpr uint64_t kScryptR = 8;
constexpr uint64_t kScryptP = 1;

std::string Hash(const Secret& pin, const std::string& salt, const Pkcs11TokenIdentity& token) {
  // Neither a serial nor a label has a NUL in it.
  std::string bound = absl::StrCat(salt, token.serial, absl::string_view("\0", 1), token.label);
  const absl::string_view secret = pin.RevealSecret();
  uint64_t n = kScryptN, r = kScryptR, p = kScryptP;
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, const_cast<char*>(secret.data()),
                                        secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, bound.data(), bound.size()),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_construct_end(),
  };
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(
      EVP_KDF_fetch(nullptr, "SCRYPT", nullptr), &EVP_KDF_free);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(
      kdf == nullptr ? nullptr : EVP_KDF_CTX_new(kdf.get()), &EVP_KDF_CTX_free);
  std::string hash(kHashOctets, '\0');
  // Fails where OpenSSL lacks scrypt: then nobody can log in safely, and nobody does.
  if (context == nullptr ||
      EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(hash.data()), hash.size(),
                     params) != 1) {
    return "";
  }
  return hash;
}

bool SameOctets(const std::string& a, const std::string& b) {
  return !a.empty() && a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string ToText(const RejectedPinRecord::Entry& entry) {
  return absl::StrFormat("%s\n%s %d\n%s\n%s\n", kTitle,
                         entry.state == RejectedPinRecord::State::kRejected ? "rejected" : "trying",
                         entry.tries, Base64UrlEncode(entry.salt), Base64UrlEncode(entry.hash));
}

absl::optional<RejectedPinRecord::Entry> FromText(absl::string_view text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (lines.size() != 5 || lines[0] != kTitle || !lines[4].empty()) return absl::nullopt;
  const std::vector<std::string> words = absl::StrSplit(lines[1], ' ');
  RejectedPinRecord::Entry entry;
  if (words.size() != 2 || !absl::SimpleAtoi(words[1], &entry.tries)) return absl::nullopt;
  if (words[0] == "rejected") {
    entry.state = RejectedPinRecord::State::kRejected;
  } else if (words[0] != "trying") {
    return absl::nullopt;
  }
  const auto salt = Base64UrlDecode(lines[2]);
  const auto hash = Base64UrlDecode(lines[3]);
  if (!salt.ok() || salt->size() != kSaltOctets || !hash.ok() || hash->size() != kHashOctets ||
      entry.tries < 1) {
    return absl::nullopt;
  }
  entry.salt = *salt;
  entry.hash = *hash;
  return entry;
}

// Nobody can say which PIN it was about, nor how the login ended: as if any had been tried once.
RejectedPinRecord::Entry Damaged() {
  RejectedPinRecord::Entry entry;
  entry.tries = 1;
  entry.salt = RandomBytes(kSaltOctets);
  return entry;
}

absl::Status CannotKeep(absl::string_view what, const std::string& path) {
  return WithRemedy(
      MakeError(Reason::kStoreUnavailable,
                absl::StrCat("record of the token's pin: ", what, " ", Printable(path), ": ",
                             std::strerror(errno))),
      "make the file's directory writable for smartkeyd, with room: without the record a wrong pin "
      "could lock the token");
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

bool SyncDirectoryOf(const std::string& path) {
  const UniqueFd fd(::open(DirectoryOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0;
}

bool WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

RejectedPinRecord::RejectedPinRecord(std::string path) : path_(std::move(path)) {}

absl::StatusOr<RejectedPinRecord::Lock> RejectedPinRecord::Acquire() const {
  if (path_.empty()) return Lock();
  const std::string path = absl::StrCat(path_, ".lock");
  Lock fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return CannotKeep("opening", path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    // Perhaps for ever: a thread may hang in its login. Not a place to wait.
    return MakeError(Reason::kHardwareBusy, "another login to the token is under way");
  }
  return fd;
}

absl::StatusOr<absl::optional<RejectedPinRecord::Entry>> RejectedPinRecord::Load() const {
  if (path_.empty()) return in_memory_;
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return absl::optional<Entry>();
    return CannotKeep("reading", path_);
  }
  char text[kMostFileOctets];
  const ssize_t size = ::read(fd.get(), text, sizeof(text));
  if (size < 0) return CannotKeep("reading", path_);
  absl::optional<Entry> entry = FromText(absl::string_view(text, static_cast<size_t>(size)));
  return entry.has_value() ? entry : Damaged();
}

absl::StatusOr<RejectedPinRecord::Entry> RejectedPinRecord::Find(
    const Secret& pin, const Pkcs11TokenIdentity& token) const {
  absl::StatusOr<absl::optional<Entry>> known = Load();
  if (!known.ok()) return known.status();
  Entry entry;
  entry.salt = known->has_value() ? (*known)->salt : RandomBytes(kSaltOctets);
  entry.hash = Hash(pin, entry.salt, token);
  if (entry.hash.empty()) {
    return MakeError(Reason::kInternal, "record of the token's pin: hashing failed");
  }
  if (!known->has_value()) return entry;
  if (SameOctets(entry.hash, (*known)->hash)) return **known;
  if ((*known)->hash.empty()) entry.tries = (*known)->tries;  // damaged: perhaps about this one
  return entry;
}

absl::Status RejectedPinRecord::Write(const Entry& entry) {
  if (path_.empty()) {
    in_memory_ = entry;
    return absl::OkStatus();
  }
  const std::string fresh = absl::StrCat(path_, ".new");
  ::unlink(fresh.c_str());  // what a crash has left, with whatever mode
  {
    const UniqueFd fd(
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd || ::fchmod(fd.get(), 0600) != 0 || !WriteAll(fd.get(), ToText(entry)) ||
        ::fsync(fd.get()) != 0) {
      return CannotKeep("writing", fresh);
    }
  }
  if (::rename(fresh.c_str(), path_.c_str()) != 0 || !SyncDirectoryOf(path_)) {
    return CannotKeep("writing", path_);
  }
  return absl::OkStatus();
}

absl::Status RejectedPinRecord::Clear() {
  in_memory_.reset();
  if (path_.empty()) return absl::OkStatus();
  if (::unlink(path_.c_str()) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CannotKeep("removing", path_);
  }
  return SyncDirectoryOf(path_) ? absl::OkStatus() : CannotKeep("removing", path_);
}

}  // namespace smartkey
