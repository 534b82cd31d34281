// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_finder.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/random.h"
#include "hsm/pkcs11/pkcs11_public_key.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {
namespace {

constexpr absl::string_view kEveryInstance = "smartkeyd:";

CK_KEY_TYPE NumberOf(KeyType type) {
  return type == KeyType::kRsa ? CKK_RSA : CKK_EC;
}

Pkcs11Template ObjectsOf(CK_OBJECT_CLASS object_class, absl::string_view id) {
  return Pkcs11Template().AddNumber(CKA_CLASS, object_class).AddOctets(CKA_ID, id);
}

Pkcs11Template KeysOf(CK_OBJECT_CLASS object_class, const Pkcs11KeyReference& reference) {
  return ObjectsOf(object_class, reference.id)
      .AddNumber(CKA_KEY_TYPE, NumberOf(reference.key_type()));
}

absl::StatusOr<std::string> ReadLabel(Pkcs11Session& session, CK_OBJECT_HANDLE object) {
  absl::StatusOr<absl::optional<std::string>> label = session.ReadOctets(object, CKA_LABEL);
  if (!label.ok()) return label.status();
  return label->value_or("");
}

}  // namespace

Pkcs11KeyFinder::Pkcs11KeyFinder(std::string instance_id, const Pkcs11Token& token,
                                 Pkcs11Signer& signer)
    : label_prefix_(absl::StrCat(kEveryInstance, instance_id, ":")),
      token_(token),
      signer_(signer) {}

absl::StatusOr<absl::optional<PublicKey>> Pkcs11KeyFinder::ReadPublicKey(Pkcs11Session& session,
                                                                         CK_OBJECT_HANDLE object,
                                                                         KeyType type) {
  const bool rsa = type == KeyType::kRsa;
  absl::StatusOr<absl::optional<std::string>> first =
      session.ReadOctets(object, rsa ? CKA_MODULUS : CKA_EC_POINT);
  if (!first.ok()) return first.status();
  absl::StatusOr<absl::optional<std::string>> second =
      rsa ? session.ReadOctets(object, CKA_PUBLIC_EXPONENT) : first;
  if (!second.ok()) return second.status();
  // A token that does not tell an attribute may also show it empty.
  const auto told = [](const absl::optional<std::string>& value) {
    return value.has_value() && !value->empty();
  };
  absl::StatusOr<PublicKey> key = MakeError(Reason::kInternal, "not read");
  if (told(*first) && told(*second)) {
    key = rsa ? RsaPublicKey(**first, **second) : EcPublicKey(type, **first);
  } else {
    absl::StatusOr<absl::optional<std::string>> info =
        session.ReadOctets(object, CKA_PUBLIC_KEY_INFO);
    if (!info.ok()) return info.status();
    if (!told(*info)) return absl::optional<PublicKey>();
    key = PublicKeyFromInfo(type, **info);
  }
  if (!key.ok()) return key.status();
  return absl::optional<PublicKey>(*std::move(key));
}

absl::StatusOr<Pkcs11PrivateKey> Pkcs11KeyFinder::FindPrivateKey(
    Pkcs11Session& session, const Pkcs11KeyReference& reference, const PublicKey& expected) {
  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found =
      session.FindObjects(KeysOf(CKO_PRIVATE_KEY, reference));
  if (!found.ok()) return found.status();
  if (found->empty()) return GoneReason(reference);
  for (const CK_OBJECT_HANDLE handle : *found) {
    absl::StatusOr<absl::optional<bool>> asks = session.ReadFlag(handle, CKA_ALWAYS_AUTHENTICATE);
    if (!asks.ok()) return asks.status();
    const Pkcs11PrivateKey key = {.handle = handle, .always_authenticate = asks->value_or(false)};
    absl::StatusOr<Verdict> verdict =
        Judge(session, key, /*only_one=*/found->size() == 1, reference, expected);
    if (!verdict.ok()) return verdict.status();
    if (*verdict == Verdict::kIsExpected) return key;
  }
  return MakeError(Reason::kKeyDamaged, "the token's key of this id is another than expected");
}

absl::StatusOr<Pkcs11KeyFinder::Verdict> Pkcs11KeyFinder::Judge(Pkcs11Session& session,
                                                                const Pkcs11PrivateKey& key,
                                                                bool only_one,
                                                                const Pkcs11KeyReference& reference,
                                                                const PublicKey& expected) {
  if (expected.type != reference.key_type()) {
    // P-256 and P-384 are one CKA_KEY_TYPE.
    return Verdict::kIsAnother;
  }
  absl::StatusOr<absl::optional<PublicKey>> own = ReadPublicKey(session, key.handle, expected.type);
  if (own.ok() && own->has_value()) {
    return **own == expected ? Verdict::kIsExpected : Verdict::kIsAnother;
  }
  if (!own.ok() && Pkcs11CodeOf(own.status()).has_value()) return own.status();
  if (only_one) {
    absl::StatusOr<Verdict> verdict = JudgeByPublicObjects(session, reference, expected);
    if (!verdict.ok() || *verdict != Verdict::kCannotTell) return verdict;
  }
  return JudgeBySignature(session, key, reference, expected);
}

absl::StatusOr<Pkcs11KeyFinder::Verdict> Pkcs11KeyFinder::JudgeByPublicObjects(
    Pkcs11Session& session, const Pkcs11KeyReference& reference, const PublicKey& expected) {
  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found =
      session.FindObjects(KeysOf(CKO_PUBLIC_KEY, reference));
  if (!found.ok()) return found.status();
  Verdict verdict = Verdict::kCannotTell;
  for (const CK_OBJECT_HANDLE handle : *found) {
    absl::StatusOr<absl::optional<PublicKey>> key = ReadPublicKey(session, handle, expected.type);
    if (!key.ok() && Pkcs11CodeOf(key.status()).has_value()) return key.status();
    if (!key.ok() || !key->has_value()) continue;
    // Several public halves of one id, with a single private one: anybody may have put some there.
    if (verdict != Verdict::kCannotTell) return Verdict::kCannotTell;
    verdict = **key == expected ? Verdict::kIsExpected : Verdict::kIsAnother;
  }
  return verdict;
}

absl::StatusOr<Pkcs11KeyFinder::Verdict> Pkcs11KeyFinder::JudgeBySignature(
    Pkcs11Session& session, const Pkcs11PrivateKey& key, const Pkcs11KeyReference& reference,
    const PublicKey& expected) {
  const absl::string_view purpose = "smartkeyd asks which key this is: ";
  for (const SignatureAlgorithm algorithm : signer_.algorithms()) {
    const bool fits = reference.algorithm.has_value() ? algorithm == *reference.algorithm
                                                      : KeyTypeFor(algorithm) == expected.type;
    if (!fits) continue;
    const std::string message = absl::StrCat(purpose, RandomId());
    absl::StatusOr<std::string> signature = signer_.Sign(session, key, algorithm, message);
    if (!signature.ok()) {
      // A key of another curve or size may be unable to; a token that is gone says nothing.
      const Reason reason = ReasonOf(signature.status());
      if (reason == Reason::kSignatureWrong || reason == Reason::kKeyDamaged) {
        return Verdict::kIsAnother;
      }
      return signature.status();
    }
    return VerifySignature(expected, algorithm, message, *signature) ? Verdict::kIsExpected
                                                                     : Verdict::kIsAnother;
  }
  return MakeError(Reason::kAlgorithmUnsupported, "the token does not sign with this key any more");
}

absl::Status Pkcs11KeyFinder::GoneReason(const Pkcs11KeyReference& reference) const {
  if (reference.token == token_.identity) {
    return MakeError(Reason::kKeyGone, "the key is not in the token any more");
  }
  return MakeError(Reason::kKeyUnavailable,
                   absl::StrCat("the key is not in this token (", Describe(token_.identity),
                                "); it was made in ", Describe(reference.token)));
}

absl::Status Pkcs11KeyFinder::DestroyKey(Pkcs11Session& session,
                                         const Pkcs11KeyReference& reference) {
  absl::StatusOr<bool> destroyed = DestroyObjects(session, reference.id);
  if (!destroyed.ok()) return destroyed.status();
  if (*destroyed || reference.token == token_.identity) return absl::OkStatus();
  return GoneReason(reference);  // it may lie in a drawer, with the key in it
}

absl::StatusOr<bool> Pkcs11KeyFinder::DestroyObjects(Pkcs11Session& session, absl::string_view id) {
  bool ours = false;
  bool of_others = false;
  // The private half first: what a crash leaves then is only public.
  for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
    absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found =
        session.FindObjects(ObjectsOf(object_class, id));
    if (!found.ok()) return found.status();
    for (const CK_OBJECT_HANDLE handle : *found) {
      absl::StatusOr<std::string> label = ReadLabel(session, handle);
      if (!label.ok()) return label.status();
      if (!absl::StartsWith(*label, label_prefix_)) {
        of_others = of_others || object_class == CKO_PRIVATE_KEY;
        continue;
      }
      ours = true;
      if (absl::Status status = session.DestroyObject(handle); !status.ok()) return status;
    }
  }
  if (of_others && !ours) {
    return MakeError(Reason::kKeyUnavailable,
                     "the token's key of this id does not bear our label, so it is left alone");
  }
  return ours;
}

absl::StatusOr<KeyInventory> Pkcs11KeyFinder::ListKeys(Pkcs11Session& session) {
  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found = session.FindObjects(
      Pkcs11Template().AddNumber(CKA_CLASS, CKO_PRIVATE_KEY).AddFlag(CKA_TOKEN, true));
  if (!found.ok()) return found.status();
  KeyInventory inventory;
  for (const CK_OBJECT_HANDLE handle : *found) {
    absl::StatusOr<std::string> label = ReadLabel(session, handle);
    // Somebody else's, taken out while we look.
    if (Pkcs11CodeOf(label.status()) == CKR_OBJECT_HANDLE_INVALID) continue;
    if (!label.ok()) return label.status();
    if (!absl::StartsWith(*label, label_prefix_)) {
      if (absl::StartsWith(*label, kEveryInstance)) ++inventory.of_other_instances;
      continue;
    }
    absl::StatusOr<absl::optional<ListedKey>> key = ToListedKey(session, handle, *label);
    if (!key.ok()) return key.status();
    if (key->has_value()) inventory.keys.push_back(**std::move(key));
  }
  if (absl::Status status = ListPublicRemains(session, inventory); !status.ok()) return status;
  return inventory;
}

absl::Status Pkcs11KeyFinder::ListPublicRemains(Pkcs11Session& session, KeyInventory& inventory) {
  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found = session.FindObjects(
      Pkcs11Template().AddNumber(CKA_CLASS, CKO_PUBLIC_KEY).AddFlag(CKA_TOKEN, true));
  if (!found.ok()) return found.status();
  for (const CK_OBJECT_HANDLE handle : *found) {
    absl::StatusOr<std::string> label = ReadLabel(session, handle);
    if (Pkcs11CodeOf(label.status()) == CKR_OBJECT_HANDLE_INVALID) continue;
    if (!label.ok()) return label.status();
    if (!absl::StartsWith(*label, label_prefix_)) continue;
    absl::StatusOr<absl::optional<ListedKey>> key = ToListedKey(session, handle, *label);
    if (!key.ok()) return key.status();
    if (!key->has_value()) continue;
    absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> private_halves =
        session.FindObjects(ObjectsOf(CKO_PRIVATE_KEY, (*key)->id));
    if (!private_halves.ok()) return private_halves.status();
    if (private_halves->empty()) inventory.keys.push_back(**std::move(key));
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::optional<ListedKey>> Pkcs11KeyFinder::ToListedKey(Pkcs11Session& session,
                                                                       CK_OBJECT_HANDLE object,
                                                                       const std::string& label) {
  absl::StatusOr<absl::optional<std::string>> id = session.ReadOctets(object, CKA_ID);
  if (!id.ok()) return id.status();
  absl::StatusOr<absl::optional<CK_ULONG>> type = session.ReadNumber(object, CKA_KEY_TYPE);
  if (!type.ok()) return type.status();
  if (!id->has_value() || (*id)->empty()) return absl::optional<ListedKey>();
  Pkcs11KeyReference reference = {.token = token_.identity, .id = **id, .label = label};
  if (*type == CKK_EC) {
    absl::StatusOr<absl::optional<std::string>> curve = session.ReadOctets(object, CKA_EC_PARAMS);
    if (!curve.ok()) return curve.status();
    const absl::optional<KeyType> ec = KeyTypeOfEcParameters(curve->value_or(""));
    if (!ec.has_value()) return absl::optional<ListedKey>();
    reference.algorithm =
        *ec == KeyType::kEcP256 ? SignatureAlgorithm::kEs256 : SignatureAlgorithm::kEs384;
  } else if (*type != CKK_RSA) {
    return absl::optional<ListedKey>();
  }
  absl::StatusOr<std::string> blob = WritePkcs11KeyReference(reference);
  if (!blob.ok()) return blob.status();
  return absl::optional<ListedKey>(
      {.reference = {.provider = "pkcs11", .blob = *std::move(blob)}, .label = label, .id = **id});
}

}  // namespace smartkey
