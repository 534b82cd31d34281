// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace smartkey {

// Bytes nobody may see: access tokens, assertions, authorization codes, PKCE verifiers, PINs.
// Wiped when destroyed or overwritten; move-only, so that each copy is a decision (`Clone`); has no
// operator<< and no ==. `RevealSecret` is the one way in, and a word to grep for.
// Not thread-safe; a const Secret may be read by many threads.
class Secret {
 public:
  Secret() = default;
  // Takes the bytes of `value` and wipes it.
  explicit Secret(std::string&& value);
  static Secret CopyOf(absl::string_view value);

  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  Secret Clone() const { return CopyOf(RevealSecret()); }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  absl::string_view RevealSecret() const { return absl::string_view(bytes_.get(), size_); }

  // True if both hold the same bytes; takes the same time wherever they differ.
  static bool Equal(const Secret& a, absl::string_view b);

 private:
  struct Release {
    void operator()(char* bytes) const;
  };

  void Wipe();

  std::unique_ptr<char[], Release> bytes_;
  size_t size_ = 0;
};

// Where the bytes of Secrets are: malloc(3) and free(3) until something else is set. `allocate`
// gives memory for `size` octets, nullptr if there is none; `release` takes what either gave, and
// what malloc gave before. Both are called by many threads.
struct SecretMemory {
  void* (*allocate)(size_t size);
  void (*release)(void* memory);
};
// Before the second thread.
void SetSecretMemory(SecretMemory memory);

// Overwrites the characters of `value` so that the compiler cannot leave it out, then empties it.
void WipeString(std::string& value);

// What says who a patient or a person is: patient ids, fhirUser, labels, registration names.
// Never in the journal, metrics, errors or audit lines, which name a registration by its id.
// Copyable and comparable, but not printable; `RevealIdentifying` is the word to grep for.
class Identifying {
 public:
  Identifying() = default;
  explicit Identifying(std::string value) : value_(std::move(value)) {}

  bool empty() const { return value_.empty(); }
  const std::string& RevealIdentifying() const { return value_; }

  friend bool operator==(const Identifying& a, const Identifying& b) {
    return a.value_ == b.value_;
  }
  friend bool operator!=(const Identifying& a, const Identifying& b) { return !(a == b); }

 private:
  std::string value_;
};

}  // namespace smartkey
