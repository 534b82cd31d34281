// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "tests/fakes/fake_pkcs11_module.h"
#include "tests/hsm/pkcs11/temporary_directory.h"

namespace smartkey {

// A key provider of instance "i" on a token that has whatever peculiarity and fault a test plants.
class FakeTokenTest : public testing::Test {
 protected:
  FakeTokenTest() : token_(module_.AddToken()) { directory_.Write("pin", "1234\n"); }

  void Open(bool strict = true, int max_sessions = 8) {
    provider_ = std::make_unique<Pkcs11KeyProvider>(
        Pkcs11KeyProvider::Options{.uri = "pkcs11:token=fake",
                                   .pin_file = directory_ / "pin",
                                   .max_sessions = max_sessions,
                                   .strict_attributes = strict,
                                   .instance_id = "i",
                                   .rejected_pin_file = directory_ / "record"},
        std::make_unique<FakePkcs11Module>(module_));
    const absl::StatusOr<ProviderCapabilities> capabilities = provider_->Open();
    ASSERT_TRUE(capabilities.ok()) << capabilities.status();
    capabilities_ = *capabilities;
  }

  static constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;
  static constexpr Reason kSuccess = Reason::kUnspecified;

  absl::StatusOr<CreatedKey> Create(SignatureAlgorithm algorithm = kEs256) {
    return provider_->CreateKey(algorithm, absl::StrCat("smartkeyd:i:r", ++labels_, ":1"));
  }
  CreatedKey Made(SignatureAlgorithm algorithm = kEs256) {
    absl::StatusOr<CreatedKey> key = Create(algorithm);
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() ? *key : CreatedKey();
  }
  // kSuccess only for a signature that OpenSSL accepts.
  Reason Sign(const CreatedKey& key) {
    const absl::StatusOr<std::string> signature =
        provider_->Sign(key.reference, key.public_key, key.algorithm, "message");
    last_ = signature.status();
    if (signature.ok()) {
      EXPECT_TRUE(VerifySignature(key.public_key, key.algorithm, "message", *signature));
    }
    return ReasonOf(last_);
  }
  FakePkcs11Token::Object& PrivateObject() {
    for (auto& [handle, object] : token_.objects) {
      if (object.key != nullptr) return object;
    }
    ADD_FAILURE() << "no private key";
    static FakePkcs11Token::Object none;
    return none;
  }
  static std::string IdOf(const CreatedKey& key) {
    return ParsePkcs11KeyReference(key.reference.blob)->id;
  }

  TemporaryDirectory directory_;
  FakePkcs11 module_;
  FakePkcs11Token& token_;
  std::unique_ptr<Pkcs11KeyProvider> provider_;
  ProviderCapabilities capabilities_;
  absl::Status last_;
  int labels_ = 0;
};

}  // namespace smartkey
