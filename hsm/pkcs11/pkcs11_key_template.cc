// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_template.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "hsm/pkcs11/pkcs11_public_key.h"

namespace smartkey {
namespace {

constexpr CK_ULONG kModulusBits = 2048;
constexpr absl::string_view kExponent("\x01\x00\x01", 3);

// What a key must not do beside signing. Asked for, but no token is refused for not taking it.
constexpr CK_ATTRIBUTE_TYPE kUnwanted[] = {CKA_DECRYPT, CKA_SIGN_RECOVER, CKA_UNWRAP, CKA_DERIVE};

enum class Demand {
  kTrue,          // must be true
  kFalse,         // must be false
  kTrueIfStrict,  // must be true under strict_attributes
  kFalseIfStrict,
  kShown,  // anything goes, but people want to see it
};

struct AttributeRow {
  CK_ATTRIBUTE_TYPE type;
  absl::string_view name;
  Demand demand;
};

constexpr AttributeRow kAttributes[] = {
    {CKA_SENSITIVE, "CKA_SENSITIVE", Demand::kTrue},
    {CKA_EXTRACTABLE, "CKA_EXTRACTABLE", Demand::kFalse},
    {CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", Demand::kTrue},
    {CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", Demand::kTrue},
    {CKA_SIGN, "CKA_SIGN", Demand::kTrue},
    {CKA_TOKEN, "CKA_TOKEN", Demand::kTrue},
    {CKA_PRIVATE, "CKA_PRIVATE", Demand::kTrue},
    {CKA_LOCAL, "CKA_LOCAL", Demand::kTrueIfStrict},
    {CKA_DECRYPT, "CKA_DECRYPT", Demand::kFalseIfStrict},
    {CKA_SIGN_RECOVER, "CKA_SIGN_RECOVER", Demand::kFalseIfStrict},
    {CKA_UNWRAP, "CKA_UNWRAP", Demand::kFalseIfStrict},
    {CKA_DERIVE, "CKA_DERIVE", Demand::kFalseIfStrict},
    {CKA_ALWAYS_AUTHENTICATE, "CKA_ALWAYS_AUTHENTICATE", Demand::kShown},
};

const KeyAttribute* FindAttribute(absl::Span<const KeyAttribute> attributes,
                                  absl::string_view name) {
  for (const KeyAttribute& attribute : attributes) {
    if (attribute.name == name) return &attribute;
  }
  return nullptr;
}

// `is` is null where the token does not tell.
bool Meets(Demand demand, const KeyAttribute* is, bool strict) {
  switch (demand) {
    case Demand::kTrue:
      return is != nullptr && is->value;
    case Demand::kFalse:
      return is != nullptr && !is->value;
    case Demand::kTrueIfStrict:
      return !strict || (is != nullptr && is->value);
    case Demand::kFalseIfStrict:
      // What a token has never heard of, no key in it can do.
      return !strict || is == nullptr || !is->value;
    case Demand::kShown:
      return true;
  }
  return false;
}

}  // namespace

std::vector<TemplateConcession> TemplateConcessions() {
  const std::vector<CK_ATTRIBUTE_TYPE> all(std::begin(kUnwanted), std::end(kUnwanted));
  std::vector<TemplateConcession> concessions = {{}};
  // Most tokens that object do so to one attribute: better one left out than all.
  for (const CK_ATTRIBUTE_TYPE one : kUnwanted) concessions.push_back({.left_out = {one}});
  concessions.push_back({.left_out = all});
  concessions.push_back({.public_half_in_session = true});
  concessions.push_back({.left_out = all, .public_half_in_session = true});
  return concessions;
}

bool IsTemplateRefusal(CK_RV code) {
  switch (code) {
    case CKR_ATTRIBUTE_TYPE_INVALID:
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_ATTRIBUTE_READ_ONLY:
    case CKR_TEMPLATE_INCONSISTENT:
    case CKR_ARGUMENTS_BAD:
    case CKR_FUNCTION_FAILED:
    case CKR_GENERAL_ERROR:
      return true;
    default:
      return false;
  }
}

KeyPairTemplate SigningKeyPairTemplate(KeyType type, absl::string_view id, absl::string_view label,
                                       const TemplateConcession& concession) {
  KeyPairTemplate pair;
  pair.public_half.AddFlag(CKA_TOKEN, !concession.public_half_in_session)
      .AddFlag(CKA_PRIVATE, false)
      .AddFlag(CKA_VERIFY, true)
      .AddOctets(CKA_LABEL, label)
      .AddOctets(CKA_ID, id);
  if (type == KeyType::kRsa) {
    pair.mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN;
    pair.public_half.AddNumber(CKA_MODULUS_BITS, kModulusBits)
        .AddOctets(CKA_PUBLIC_EXPONENT, kExponent);
  } else {
    pair.mechanism = CKM_EC_KEY_PAIR_GEN;
    pair.public_half.AddOctets(CKA_EC_PARAMS, EcParameters(type));
  }
  pair.private_half.AddFlag(CKA_TOKEN, true)
      .AddFlag(CKA_PRIVATE, true)
      .AddFlag(CKA_SENSITIVE, true)
      .AddFlag(CKA_EXTRACTABLE, false)
      .AddFlag(CKA_SIGN, true)
      .AddOctets(CKA_LABEL, label)
      .AddOctets(CKA_ID, id);
  for (const CK_ATTRIBUTE_TYPE unwanted : kUnwanted) {
    const auto& left_out = concession.left_out;
    if (std::find(left_out.begin(), left_out.end(), unwanted) == left_out.end()) {
      pair.private_half.AddFlag(unwanted, false);
    }
  }
  return pair;
}

absl::StatusOr<std::vector<KeyAttribute>> ReadKeyAttributes(Pkcs11Session& session,
                                                            CK_OBJECT_HANDLE private_key) {
  std::vector<KeyAttribute> attributes;
  for (const AttributeRow& row : kAttributes) {
    absl::StatusOr<absl::optional<bool>> value = session.ReadFlag(private_key, row.type);
    if (!value.ok()) return value.status();
    if (value->has_value()) attributes.push_back({std::string(row.name), **value});
  }
  return attributes;
}

absl::Status CheckKeyAttributes(absl::Span<const KeyAttribute> attributes, bool strict) {
  std::vector<std::string> wrong;
  for (const AttributeRow& row : kAttributes) {
    const KeyAttribute* is = FindAttribute(attributes, row.name);
    if (Meets(row.demand, is, strict)) continue;
    wrong.push_back(is == nullptr ? absl::StrCat(row.name, " not told")
                                  : absl::StrCat(row.name, "=", is->value ? 1 : 0));
  }
  if (wrong.empty()) return absl::OkStatus();
  return MakeError(Reason::kKeyNotProtected,
                   absl::StrCat("the token made a key with ", absl::StrJoin(wrong, ", ")));
}

}  // namespace smartkey
