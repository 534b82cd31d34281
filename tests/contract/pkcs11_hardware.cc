// SPDX-License-Identifier: Apache-2.0
#include "tests/contract/pkcs11_hardware.h"

#include <dlfcn.h>

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "hsm/pkcs11/pkcs11_uri.h"
#include "hsm/thumbprint.h"

namespace smartkey {

std::unique_ptr<KeyProvider> Pkcs11HardwareUnderTest::NewProvider(const std::string& instance) {
  Pkcs11KeyProvider::Options with_instance = options();
  with_instance.instance_id = instance;
  return NewProvider(with_instance);
}

std::unique_ptr<Pkcs11KeyProvider> Pkcs11HardwareUnderTest::NewProvider(
    const Pkcs11KeyProvider::Options& options) {
  return std::make_unique<Pkcs11KeyProvider>(options, NewModule());
}

absl::Status Pkcs11HardwareUnderTest::Look(absl::FunctionRef<absl::Status(Pkcs11Session&)> look) {
  const std::unique_ptr<Pkcs11Module> module = NewModule();
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module->Load();
  if (!functions.ok()) return functions.status();
  absl::StatusOr<Pkcs11Uri> uri = Pkcs11Uri::Parse(options().uri);
  if (!uri.ok()) return uri.status();
  absl::StatusOr<Pkcs11Token> token = FindToken(**functions, *uri);
  if (!token.ok()) return token.status();
  absl::StatusOr<Pkcs11Session> session =
      Pkcs11Session::Open(**functions, token->slot, /*read_only=*/false);
  if (!session.ok()) return session.status();
  std::string secret = pin();
  auto* const octets = reinterpret_cast<CK_BYTE*>(secret.data());
  const CK_RV rv = (*functions)->C_Login(session->handle(), CKU_USER, octets, secret.size());
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) return Pkcs11Status(rv, "log in");
  return look(*session);
}

absl::StatusOr<std::string> Pkcs11HardwareUnderTest::Leftovers() {
  std::set<std::string> private_ids;
  std::multiset<std::string> public_ids;
  int others = 0;
  const absl::Status status = Look([&](Pkcs11Session& session) {
    for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
      absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> objects =
          session.FindObjects(Pkcs11Template().AddNumber(CKA_CLASS, object_class));
      if (!objects.ok()) return objects.status();
      for (const CK_OBJECT_HANDLE object : *objects) {
        const auto id = session.ReadOctets(object, CKA_ID);
        const auto label = session.ReadOctets(object, CKA_LABEL);
        if (!id.ok() || !label.ok()) return absl::InternalError("unreadable object");
        if (!absl::StartsWith(label->value_or(""), "smartkeyd:")) {
          ++others;
        } else if (object_class == CKO_PRIVATE_KEY) {
          private_ids.insert(id->value_or(""));
        } else {
          public_ids.insert(id->value_or(""));
        }
      }
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  int alone = 0;
  for (const std::string& id : public_ids) alone += private_ids.count(id) == 0 ? 1 : 0;
  return absl::StrCat("keys of others ", others, ", public halves alone ", alone);
}

std::vector<SignatureAlgorithm> Pkcs11HardwareUnderTest::algorithms() const {
  return {SignatureAlgorithm::kEs384, SignatureAlgorithm::kRs384, SignatureAlgorithm::kEs256,
          SignatureAlgorithm::kRs256};
}

std::vector<KeyAttribute> Pkcs11HardwareUnderTest::required_attributes() const {
  return {{"CKA_SENSITIVE", true},
          {"CKA_EXTRACTABLE", false},
          {"CKA_ALWAYS_SENSITIVE", true},
          {"CKA_NEVER_EXTRACTABLE", true},
          {"CKA_SIGN", true},
          {"CKA_TOKEN", true},
          {"CKA_PRIVATE", true}};
}

void FinalizeModuleInThisProcess(const std::string& path) {
  // Loaded once more at most: the loader knows the file, and the module is one for the process.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto get_function_list =
      reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  ASSERT_NE(get_function_list, nullptr);
  CK_FUNCTION_LIST* functions = nullptr;
  ASSERT_EQ(get_function_list(&functions), CKR_OK);
  functions->C_Finalize(nullptr);
}

namespace {

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;

absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> ObjectsOf(Pkcs11Session& session,
                                                        CK_OBJECT_CLASS object_class,
                                                        const CreatedKey& key) {
  const std::string id = ParsePkcs11KeyReference(key.reference.blob)->id;
  return session.FindObjects(
      Pkcs11Template().AddNumber(CKA_CLASS, object_class).AddOctets(CKA_ID, id));
}

TEST_P(Pkcs11ProviderContract, Key_IsKnownByItsThumbprintWhereTheTokenAllowsThat) {
  std::unique_ptr<KeyProvider> provider = Opened();
  for (const SignatureAlgorithm algorithm : token().algorithms()) {
    const absl::StatusOr<CreatedKey> key = provider->CreateKey(algorithm, Label());
    ASSERT_TRUE(key.ok()) << key.status();
    const Pkcs11KeyReference reference = ParsePkcs11KeyReference(key->reference.blob).value();
    EXPECT_EQ(reference.id == Thumbprint(key->public_key), token().changes_ids());
    EXPECT_EQ(reference.algorithm, algorithm);
  }
}

TEST_P(Pkcs11ProviderContract, StrictAttributes_RefuseExactlyWhatIsListed) {
  Pkcs11KeyProvider::Options strict = token().options();
  strict.instance_id = kInstance;
  strict.strict_attributes = true;
  const std::unique_ptr<Pkcs11KeyProvider> provider = token().NewProvider(strict);
  ASSERT_TRUE(provider->Open().ok());
  const absl::Status status = provider->CreateKey(kEs256, Label()).status();
  const std::vector<std::string> refused = token().refused_if_strict();
  if (refused.empty()) {
    EXPECT_TRUE(status.ok()) << status;
    return;
  }
  EXPECT_EQ(ReasonOf(status), Reason::kKeyNotProtected) << status;
  EXPECT_THAT(std::string(status.message()),
              testing::EndsWith(absl::StrCat("made a key with ", absl::StrJoin(refused, ", "))));
  EXPECT_TRUE(provider->ListKeys()->keys.empty()) << "destroyed at once";
}

TEST_P(Pkcs11ProviderContract, PrivateValue_IsNotToldEvenToTheUser) {
  for (const SignatureAlgorithm algorithm : {kEs256, SignatureAlgorithm::kRs256}) {
    absl::StatusOr<CreatedKey> key = Opened()->CreateKey(algorithm, Label());
    ASSERT_TRUE(key.ok()) << key.status();
    const absl::Status status = token().Look([&](Pkcs11Session& session) {
      absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found =
          ObjectsOf(session, CKO_PRIVATE_KEY, *key);
      if (!found.ok()) return found.status();
      EXPECT_EQ(found->size(), 1u);
      for (const CK_ATTRIBUTE_TYPE secret : {CKA_VALUE, CKA_PRIVATE_EXPONENT, CKA_PRIME_1}) {
        const absl::StatusOr<absl::optional<std::string>> value =
            session.ReadOctets(found->at(0), secret);
        EXPECT_FALSE(value.ok() && value->has_value()) << secret;
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_P(Pkcs11ProviderContract, KeyTakenOutByAnotherProgram_IsGoneAndOthersWork) {
  absl::StatusOr<CreatedKey> key = Opened()->CreateKey(kEs256, Label());
  absl::StatusOr<CreatedKey> other = Opened()->CreateKey(kEs256, Label());
  ASSERT_TRUE(key.ok() && other.ok());
  const absl::Status status = token().Look([&](Pkcs11Session& session) {
    for (const CK_OBJECT_CLASS object_class : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
      absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> found = ObjectsOf(session, object_class, *key);
      if (!found.ok()) return found.status();
      for (const CK_OBJECT_HANDLE object : *found) {
        if (absl::Status destroyed = session.DestroyObject(object); !destroyed.ok()) {
          return destroyed;
        }
      }
    }
    return absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
  std::unique_ptr<KeyProvider> provider = Opened();
  EXPECT_EQ(ReasonOf(provider->CheckKey(key->reference, key->public_key)), Reason::kKeyGone);
  EXPECT_TRUE(provider->CheckKey(other->reference, other->public_key).ok());
}

TEST_P(Pkcs11ProviderContract, PinMissing_SaysSo) {
  Pkcs11KeyProvider::Options without_pin = token().options();
  without_pin.pin_file.clear();
  const absl::Status status = token().NewProvider(without_pin)->Open().status();
  EXPECT_EQ(ReasonOf(status), Reason::kPinMissing) << status;
}

TEST_P(Pkcs11ProviderContract, TokenThatIsNotThere_IsAbsentAndNamesThoseThatAre) {
  Pkcs11KeyProvider::Options another = token().options();
  another.uri = "pkcs11:token=no-such-token";
  const absl::Status status = token().NewProvider(another)->Open().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("label 'no-such-token'"));
}

}  // namespace
}  // namespace smartkey
