// SPDX-License-Identifier: Apache-2.0
#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

#include <cstring>
#include <new>
#include <utility>

namespace smartkey {
namespace {

SecretMemory secret_memory = {malloc, free};

}  // namespace

void SetSecretMemory(SecretMemory memory) {
  secret_memory = memory;
}

void Secret::Release::operator()(char* bytes) const {
  secret_memory.release(bytes);
}

void WipeString(std::string& value) {
  // The whole buffer: what a longer earlier value left behind the end counts too.
  value.resize(value.capacity());
  explicit_bzero(value.data(), value.size());
  value.clear();
}

Secret Secret::CopyOf(absl::string_view value) {
  Secret secret;
  if (value.empty()) return secret;
  secret.bytes_.reset(static_cast<char*>(secret_memory.allocate(value.size())));
  if (!secret.bytes_) throw std::bad_alloc();
  std::memcpy(secret.bytes_.get(), value.data(), value.size());
  secret.size_ = value.size();
  return secret;
}

Secret::Secret(std::string&& value) {
  *this = CopyOf(value);
  WipeString(value);
}

Secret::Secret(Secret&& other) noexcept
    : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  Wipe();
  bytes_ = std::move(other.bytes_);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Secret::~Secret() {
  Wipe();
}

void Secret::Wipe() {
  if (bytes_) explicit_bzero(bytes_.get(), size_);
  bytes_.reset();
  size_ = 0;
}

bool Secret::Equal(const Secret& a, absl::string_view b) {
  if (a.size_ != b.size()) return false;
  // Each octet is looked at, whatever the first ones were. Not OpenSSL's CRYPTO_memcmp: smartkeyctl
  // would load libcrypto for it alone, at each start.
  volatile unsigned char difference = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a.bytes_[i] ^ b[i]));
  }
  return difference == 0;
}

}  // namespace smartkey
