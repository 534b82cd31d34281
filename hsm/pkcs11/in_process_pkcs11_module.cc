// SPDX-License-Identifier: Apache-2.0
#include "hsm/pkcs11/in_process_pkcs11_module.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "hsm/pkcs11/pkcs11_status.h"

namespace smartkey {

struct InProcessPkcs11Module::Shared {
  CK_FUNCTION_LIST* const functions;

  // Held while C_Initialize and C_Finalize run, too: nobody may use the module in between.
  Mutex mu;
  int users ABSL_GUARDED_BY(mu) = 0;
  bool ours_to_finalize ABSL_GUARDED_BY(mu) = false;

  explicit Shared(CK_FUNCTION_LIST* list) : functions(list) {}
};

namespace {

absl::Status NotLoadable(absl::string_view path, absl::string_view why) {
  return MakeError(Reason::kHardwareAbsent,
                   absl::StrCat("pkcs11: module ", Printable(path), ": ", Printable(why)));
}

}  // namespace

absl::StatusOr<std::shared_ptr<InProcessPkcs11Module::Shared>> InProcessPkcs11Module::Find(
    const std::string& path) {
  // What a module is to a process cannot belong to anybody smaller.
  static Mutex mu;
  static auto* const by_functions = new std::map<CK_FUNCTION_LIST*, std::shared_ptr<Shared>>();

  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return NotLoadable(path, dlerror());
  const auto get_function_list =
      reinterpret_cast<CK_C_GetFunctionList>(dlsym(library, "C_GetFunctionList"));
  if (get_function_list == nullptr) return NotLoadable(path, "not a pkcs11 module");
  CK_FUNCTION_LIST* functions = nullptr;
  const CK_RV rv = get_function_list(&functions);
  if (rv != CKR_OK) return Pkcs11Status(rv, "load module");
  if (functions == nullptr || functions->version.major != 2) {
    return NotLoadable(path, "not a module of pkcs11 version 2");
  }
  MutexLock lock(mu);
  std::shared_ptr<Shared>& shared = (*by_functions)[functions];
  if (shared == nullptr) shared = std::make_shared<Shared>(functions);
  return shared;
}

InProcessPkcs11Module::InProcessPkcs11Module(Options options) : options_(std::move(options)) {}

InProcessPkcs11Module::~InProcessPkcs11Module() {
  Unload();
}

absl::StatusOr<CK_FUNCTION_LIST*> InProcessPkcs11Module::Load() {
  Unload();
  if (!absl::StartsWith(options_.path, "/")) {
    return MakeError(Reason::kConfigInvalid, "pkcs11: the module must be an absolute path");
  }
  for (const auto& [name, value] : options_.environment) {
    setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  }
  absl::StatusOr<std::shared_ptr<Shared>> shared = Find(options_.path);
  if (!shared.ok()) return shared.status();

  CK_C_INITIALIZE_ARGS arguments = {};
  arguments.flags = CKF_OS_LOCKING_OK;  // more than one provider, each with its thread
  std::string init_args = options_.init_args;
  if (!init_args.empty()) arguments.pReserved = init_args.data();
  MutexLock lock((*shared)->mu);
  CK_RV rv = (*shared)->functions->C_Initialize(&arguments);
  if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED && (*shared)->users == 0 &&
      (*shared)->ours_to_finalize) {
    // What Unload was refused.
    (*shared)->functions->C_Finalize(nullptr);
    rv = (*shared)->functions->C_Initialize(&arguments);
  }
  if (rv == CKR_OK) {
    (*shared)->ours_to_finalize = true;
  } else if (rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
    // It may be half up. Whether it was up before is for each module to say when it likes to: where
    // another provider uses it, it is left alone.
    if ((*shared)->users == 0) (*shared)->functions->C_Finalize(nullptr);
    return Pkcs11Status(rv, "initialize module");
  }
  ++(*shared)->users;
  shared_ = *std::move(shared);
  return shared_->functions;
}

void InProcessPkcs11Module::Unload() {
  const std::shared_ptr<Shared> shared = std::exchange(shared_, nullptr);
  if (shared == nullptr) return;
  MutexLock lock(shared->mu);
  if (--shared->users > 0 || !shared->ours_to_finalize) return;
  const CK_RV rv = shared->functions->C_Finalize(nullptr);
  // Otherwise it stays ours: Load tries again, for sessions and a login are still in there.
  if (rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED) shared->ours_to_finalize = false;
}

}  // namespace smartkey
