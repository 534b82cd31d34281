// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/pkcs11_key_creation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/crash_point.h"
#include "base/error.h"
#include "base/random.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_key_template.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "hsm/thumbprint.h"

namespace smartkey {
namespace {

// As long as a thumbprint, so that a token which takes the one takes the other.
constexpr size_t kIdOctets = 32;

// Some tokens refuse a template with what others say when they are in trouble. What does not repeat
// itself was trouble, and nothing is conceded for it: a weaker key is no cure.
bool MayPass(const absl::Status& status) {
  const absl::optional<CK_RV> code = Pkcs11CodeOf(status);
  return code.has_value() && IsTemplateRefusal(*code) &&
         RecoveryOf(status) == Pkcs11Recovery::kReopen;
}

}  // namespace

absl::StatusOr<CreatedKey> Pkcs11KeyCreation::Run(Pkcs11Session& session, Pkcs11KeyFinder& finder) {
  if (absl::Status status = DestroyLeftovers(session, finder); !status.ok()) return status;
  first_id_ = RandomBytes(kIdOctets);
  leftovers_ = {first_id_};
  absl::StatusOr<Pkcs11Session::KeyPair> pair = Generate(session, finder);
  if (!pair.ok()) {
    DestroyLeftovers(session, finder).IgnoreError();
    return pair.status();
  }
  absl::StatusOr<CreatedKey> key = Finish(session, finder, *pair);
  if (key.ok()) {
    // In a session that is kept, it would stay for as long.
    if (!public_half_is_stored_) session.DestroyObject(pair->public_half).IgnoreError();
    leftovers_.clear();
    return key;
  }
  // A key that is not as it must be shall not be there a moment longer.
  absl::Status destroyed = session.DestroyObject(pair->private_half);
  destroyed.Update(session.DestroyObject(pair->public_half));
  if (destroyed.ok()) leftovers_.clear();
  return key;
}

absl::Status Pkcs11KeyCreation::DestroyLeftovers(Pkcs11Session& session, Pkcs11KeyFinder& finder) {
  for (const std::string& id : leftovers_) {
    if (absl::Status status = finder.DestroyObjects(session, id).status(); !status.ok())
      return status;
  }
  leftovers_.clear();
  return absl::OkStatus();
}

absl::StatusOr<Pkcs11Session::KeyPair> Pkcs11KeyCreation::Generate(Pkcs11Session& session,
                                                                   Pkcs11KeyFinder& finder) {
  // What the first attempt was answered is the reason; later ones may be refused for what they
  // concede.
  absl::Status refusal;
  for (const TemplateConcession& concession : TemplateConcessions()) {
    public_half_is_stored_ = !concession.public_half_in_session;
    const KeyPairTemplate wanted =
        SigningKeyPairTemplate(KeyTypeFor(wish_.algorithm), first_id_, wish_.label, concession);
    const auto attempt = [&] {
      return session.GenerateKeyPair(wanted.mechanism, wanted.public_half, wanted.private_half);
    };
    absl::StatusOr<Pkcs11Session::KeyPair> pair = attempt();
    // A token that reports a failure may have made the key all the same: none of it stays.
    if (refusal.ok() && MayPass(pair.status())) {
      if (absl::Status status = finder.DestroyObjects(session, first_id_).status(); !status.ok())
        return status;
      pair = attempt();
    }
    if (pair.ok()) return pair;
    const absl::optional<CK_RV> code = Pkcs11CodeOf(pair.status());
    if (!code.has_value() || !IsTemplateRefusal(*code)) return pair;
    refusal.Update(pair.status());
    if (absl::Status status = finder.DestroyObjects(session, first_id_).status(); !status.ok())
      return status;
  }
  return refusal;
}

absl::StatusOr<CreatedKey> Pkcs11KeyCreation::Finish(Pkcs11Session& session,
                                                     Pkcs11KeyFinder& finder,
                                                     const Pkcs11Session::KeyPair& pair) {
  CrashPoint("hardware.key_generated");
  CreatedKey created;
  created.algorithm = wish_.algorithm;
  absl::StatusOr<std::vector<KeyAttribute>> attributes =
      ReadKeyAttributes(session, pair.private_half);
  if (!attributes.ok()) return attributes.status();
  created.attributes = *std::move(attributes);
  absl::Status status = CheckKeyAttributes(created.attributes, wish_.strict_attributes);
  if (!status.ok()) return status;

  absl::StatusOr<PublicKey> public_key = ReadPublicKey(session, pair);
  if (!public_key.ok()) return public_key.status();
  created.public_key = *std::move(public_key);
  absl::StatusOr<absl::optional<bool>> asks =
      session.ReadFlag(pair.private_half, CKA_ALWAYS_AUTHENTICATE);
  if (!asks.ok()) return asks.status();
  const Pkcs11PrivateKey key = {.handle = pair.private_half,
                                .always_authenticate = asks->value_or(false)};
  status = ProveThatItSigns(session, finder.signer(), key, created.public_key);
  if (!status.ok()) return status;

  absl::StatusOr<std::string> id = SetId(session, pair, Thumbprint(created.public_key));
  if (!id.ok()) return id.status();
  CrashPoint("hardware.key_named");
  absl::StatusOr<std::string> blob = WritePkcs11KeyReference({.algorithm = wish_.algorithm,
                                                              .token = finder.token().identity,
                                                              .id = *id,
                                                              .label = wish_.label});
  if (!blob.ok()) return blob.status();
  created.reference = {.provider = "pkcs11", .blob = *std::move(blob)};
  return created;
}

absl::StatusOr<PublicKey> Pkcs11KeyCreation::ReadPublicKey(Pkcs11Session& session,
                                                           const Pkcs11Session::KeyPair& pair) {
  const KeyType type = KeyTypeFor(wish_.algorithm);
  for (const CK_OBJECT_HANDLE half : {pair.public_half, pair.private_half}) {
    if (half == CK_INVALID_HANDLE) continue;
    absl::StatusOr<absl::optional<PublicKey>> key =
        Pkcs11KeyFinder::ReadPublicKey(session, half, type);
    if (!key.ok()) return key.status();
    if (key->has_value()) return **std::move(key);
  }
  return MakeError(Reason::kHardwareError, "the token does not tell the new key's public half");
}

absl::Status Pkcs11KeyCreation::ProveThatItSigns(Pkcs11Session& session, Pkcs11Signer& signer,
                                                 const Pkcs11PrivateKey& key,
                                                 const PublicKey& public_key) {
  const std::string message = absl::StrCat("smartkeyd tries its new key: ", RandomId());
  absl::StatusOr<std::string> signature = signer.Sign(session, key, wish_.algorithm, message);
  if (!signature.ok()) return signature.status();
  if (VerifySignature(public_key, wish_.algorithm, message, *signature)) return absl::OkStatus();
  return MakeError(Reason::kSignatureWrong, "the new key's first signature is wrong");
}

absl::StatusOr<std::string> Pkcs11KeyCreation::SetId(Pkcs11Session& session,
                                                     const Pkcs11Session::KeyPair& pair,
                                                     const std::string& thumbprint) {
  leftovers_.push_back(thumbprint);
  absl::Status status = session.WriteOctets(pair.private_half, CKA_ID, thumbprint);
  if (status.ok() && pair.public_half != CK_INVALID_HANDLE) {
    status = session.WriteOctets(pair.public_half, CKA_ID, thumbprint);
    // Only one of the two would be worse than neither: they could not be told to belong together.
    if (!status.ok()) session.WriteOctets(pair.private_half, CKA_ID, first_id_).IgnoreError();
  }
  // A token may refuse (it may change no attribute, or no id): the key goes on with the id it has.
  // One that is in trouble is not asked on.
  if (RecoveryOf(status) != Pkcs11Recovery::kNone &&
      !IsTemplateRefusal(Pkcs11CodeOf(status).value_or(CKR_OK))) {
    return status;
  }
  absl::StatusOr<absl::optional<std::string>> id = session.ReadOctets(pair.private_half, CKA_ID);
  if (!id.ok()) return id.status();
  if (id->has_value() && (**id == thumbprint || **id == first_id_)) {
    // What was reported as a failure may have been done all the same, to either half.
    if (!status.ok() && pair.public_half != CK_INVALID_HANDLE) {
      session.WriteOctets(pair.public_half, CKA_ID, **id).IgnoreError();
    }
    return **std::move(id);
  }
  return MakeError(Reason::kHardwareError, "the token gave the new key an id of its own");
}

}  // namespace smartkey
