// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace smartkey {

// Who a token is, by what it says of itself. Padding is trimmed. Never a slot number: those change
// with the order in which readers and partitions come up.
struct Pkcs11TokenIdentity {
  std::string label;
  std::string manufacturer;
  std::string model;
  std::string serial;

  friend bool operator==(const Pkcs11TokenIdentity& a, const Pkcs11TokenIdentity& b) {
    return a.label == b.label && a.manufacturer == b.manufacturer && a.model == b.model &&
           a.serial == b.serial;
  }
};

// "label 'clinic', serial '0b1c'", fit for a message.
std::string Describe(const Pkcs11TokenIdentity& token);

// A PKCS#11 URI (RFC 7512) that says which token is meant. A value.
struct Pkcs11Uri {
  Pkcs11TokenIdentity token;  // empty: any
  // The file that the URI's pin-source names, an absolute path; empty if it names none.
  std::string pin_file;

  bool Matches(const Pkcs11TokenIdentity& other) const;

  // `text` as in the configuration: "pkcs11:token=clinic;serial=0b1c".
  // Errors: kConfigInvalid: not a PKCS#11 URI, something unknown in it, or something that cannot
  // say which token is meant (a slot, an object, a library) or does not belong into a configuration
  // (pin-value). No part of `text` is in the message, since it may hold a PIN.
  static absl::StatusOr<Pkcs11Uri> Parse(const std::string& text);
};

}  // namespace smartkey
