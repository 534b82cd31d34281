// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_reference.h"

#include <cstdint>

#include "base/error.h"

namespace smartkey {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kMostTokenOctets = 64;
constexpr size_t kMostIdOctets = 255;
constexpr size_t kMostLabelOctets = 1024;

// Written into every reference: never renumbered.
constexpr uint8_t kAlgorithmNotKnown = 0;
struct AlgorithmNumber {
  uint8_t number;
  SignatureAlgorithm algorithm;
};
constexpr AlgorithmNumber kAlgorithms[] = {
    {1, SignatureAlgorithm::kEs256},
    {2, SignatureAlgorithm::kEs384},
    {3, SignatureAlgorithm::kRs256},
    {4, SignatureAlgorithm::kRs384},
};

// Takes values off the front of a view; `ok()` turns false at the first that is not there.
class Reader {
 public:
  explicit Reader(absl::string_view rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

  uint8_t U8() {
    const absl::string_view one = Take(1);
    return one.empty() ? 0 : static_cast<uint8_t>(one[0]);
  }
  // Octets with their length in front, at most `limit`.
  std::string Field(size_t limit) {
    const size_t high = U8();
    const size_t size = high << 8 | U8();
    if (size > limit) ok_ = false;
    return std::string(Take(size));
  }

 private:
  absl::string_view Take(size_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const absl::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

  absl::string_view rest_;
  bool ok_ = true;
};

void AppendField(std::string& out, absl::string_view octets) {
  out.push_back(static_cast<char>(octets.size() >> 8));
  out.push_back(static_cast<char>(octets.size() & 0xFF));
  out.append(octets.data(), octets.size());
}

absl::Status Damaged(absl::string_view what) {
  return MakeError(Reason::kKeyDamaged, what);
}

bool FitsFormat(const Pkcs11TokenIdentity& token) {
  return token.serial.size() <= kMostTokenOctets && token.label.size() <= kMostTokenOctets &&
         token.manufacturer.size() <= kMostTokenOctets && token.model.size() <= kMostTokenOctets;
}

}  // namespace

absl::StatusOr<std::string> WritePkcs11KeyReference(const Pkcs11KeyReference& reference) {
  if (!FitsFormat(reference.token) || reference.id.empty() || reference.id.size() > kMostIdOctets ||
      reference.label.size() > kMostLabelOctets) {
    return MakeError(Reason::kInternal, "a part of a pkcs11 key reference has the wrong length");
  }
  uint8_t number = kAlgorithmNotKnown;
  for (const AlgorithmNumber& row : kAlgorithms) {
    if (reference.algorithm == row.algorithm) number = row.number;
  }
  std::string out;
  out.push_back(static_cast<char>(kVersion));
  out.push_back(static_cast<char>(number));
  AppendField(out, reference.token.serial);
  AppendField(out, reference.token.label);
  AppendField(out, reference.token.manufacturer);
  AppendField(out, reference.token.model);
  AppendField(out, reference.id);
  AppendField(out, reference.label);
  return out;
}

absl::StatusOr<Pkcs11KeyReference> ParsePkcs11KeyReference(absl::string_view bytes) {
  Reader reader(bytes);
  const uint8_t version = reader.U8();
  if (!reader.ok() || version == 0) return Damaged("pkcs11 key reference: no format version");
  if (version > kVersion) {
    return WithRemedy(
        MakeError(Reason::kKeyUnavailable, "pkcs11 key reference: unknown format version"),
        "install the newer smartkeyd that made this key again");
  }
  Pkcs11KeyReference reference;
  const uint8_t number = reader.U8();
  reference.token.serial = reader.Field(kMostTokenOctets);
  reference.token.label = reader.Field(kMostTokenOctets);
  reference.token.manufacturer = reader.Field(kMostTokenOctets);
  reference.token.model = reader.Field(kMostTokenOctets);
  reference.id = reader.Field(kMostIdOctets);
  reference.label = reader.Field(kMostLabelOctets);
  if (!reader.ok()) return Damaged("pkcs11 key reference: too short, or a part is too long");
  if (!reader.at_end()) return Damaged("pkcs11 key reference: octets after its end");
  if (reference.id.empty()) return Damaged("pkcs11 key reference: no id");
  for (const AlgorithmNumber& row : kAlgorithms) {
    if (number == row.number) reference.algorithm = row.algorithm;
  }
  if (!reference.algorithm.has_value() && number != kAlgorithmNotKnown) {
    return Damaged("pkcs11 key reference: unknown algorithm");
  }
  return reference;
}

}  // namespace smartkey
