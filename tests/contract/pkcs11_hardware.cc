// SPDX-License-Identifier: Apache-2.0
#include "tests/contract/pkcs11_hardware.h"

#include <dlfcn.h>

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "hsm/pkcs11/pkcs11_session.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "hsm/pkcs11/pkcs11_uri.h"

namespace smartkey {

std::unique_ptr<KeyProvider> Pkcs11HardwareUnderTest::NewProvider(const std::string& instance) {
  Pkcs11KeyProvider::Options with_instance = options();
  with_instance.instance_id = instance;
  return std::make_unique<Pkcs11KeyProvider>(with_instance, NewModule());
}

absl::StatusOr<std::string> Pkcs11HardwareUnderTest::Leftovers() {
  const std::unique_ptr<Pkcs11Module> module = NewModule();
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module->Load();
  if (!functions.ok()) return functions.status();
  absl::StatusOr<Pkcs11Uri> uri = Pkcs11Uri::Parse(options().uri);
  if (!uri.ok()) return uri.status();
  absl::StatusOr<Pkcs11Token> token = FindToken(**functions, *uri);
  if (!token.ok()) return token.status();
  absl::StatusOr<Pkcs11Session> session =
      Pkcs11Session::Open(**functions, token->slot, /*read_only=*/true);
  if (!session.ok()) return session.status();
  std::string secret = pin();
  const CK_RV rv = (*functions)
                       ->C_Login(session->handle(), CKU_USER,
                                 reinterpret_cast<CK_BYTE*>(secret.data()), secret.size());
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) return Pkcs11Status(rv, "log in");

  absl::StatusOr<std::vector<CK_OBJECT_HANDLE>> objects =
      session->FindObjects(Pkcs11Template().AddFlag(CKA_TOKEN, true));
  if (!objects.ok()) return objects.status();
  std::set<std::string> private_ids;
  std::multiset<std::string> public_ids;
  int others = 0;
  for (const CK_OBJECT_HANDLE object : *objects) {
    const auto object_class = session->ReadNumber(object, CKA_CLASS);
    const auto id = session->ReadOctets(object, CKA_ID);
    const auto label = session->ReadOctets(object, CKA_LABEL);
    if (!object_class.ok() || !id.ok() || !label.ok()) return absl::InternalError("unreadable");
    if (!absl::StartsWith(label->value_or(""), "smartkeyd:")) {
      ++others;
    } else if (*object_class == CKO_PRIVATE_KEY) {
      private_ids.insert(id->value_or(""));
    } else {
      public_ids.insert(id->value_or(""));
    }
  }
  int orphans = 0;
  for (const std::string& id : public_ids) orphans += private_ids.count(id) == 0 ? 1 : 0;
  return absl::StrCat("others ", others, ", public halves alone ", orphans);
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
  const auto finalize = reinterpret_cast<CK_C_Finalize>(dlsym(library, "C_Finalize"));
  ASSERT_NE(finalize, nullptr);
  finalize(nullptr);
}

}  // namespace smartkey
