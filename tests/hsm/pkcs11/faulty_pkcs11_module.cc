// SPDX-License-Identifier: Apache-2.0
// A PKCS#11 module without any token that misbehaves as FAULTY_MODULE in its environment says. Not
// loaded into a test's own process.
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace {

std::string Setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

[[noreturn]] void Sleep() {
  for (;;) ::pause();
}

// Says so in FAULTY_MODULE_FILE, if there is one.
[[noreturn]] void Hang() {
  if (!Setting("FAULTY_MODULE_FILE").empty()) {
    std::ofstream(Setting("FAULTY_MODULE_FILE")) << "hangs" << std::endl;
  }
  Sleep();
}

// A helper of its own, as some vendors' modules have, and where to find it.
void StartHelper() {
  const pid_t helper = ::fork();
  if (helper == 0) Sleep();
  std::ofstream(Setting("FAULTY_MODULE_FILE")) << helper << std::endl;
}

CK_RV Initialize(void*) {
  const std::string fault = Setting("FAULTY_MODULE");
  if (fault == "hangs in C_Initialize") Hang();
  if (fault == "crashes in C_Initialize") std::abort();
  if (fault == "refuses C_Initialize") return CKR_CANT_LOCK;
  if (fault == "has a helper") StartHelper();
  return CKR_OK;
}

CK_RV Finalize(void*) {
  if (Setting("FAULTY_MODULE") == "hangs in C_Finalize") Hang();
  return CKR_OK;
}

// What it can see of the world: a variable, and which descriptors beside its standard files.
CK_RV GetInfo(CK_INFO* info) {
  *info = {};
  info->cryptokiVersion = {2, 40};
  std::string seen = Setting("FAULTY_MODULE_TEXT");
  for (int fd = 3; fd < 1000; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1) seen += " fd" + std::to_string(fd);
  }
  std::memset(info->libraryDescription, ' ', sizeof(info->libraryDescription));
  std::memset(info->manufacturerID, ' ', sizeof(info->manufacturerID));
  std::memcpy(info->libraryDescription, seen.data(),
              std::min(seen.size(), sizeof(info->libraryDescription)));
  return CKR_OK;
}

CK_RV GetSlotList(CK_BBOOL, CK_SLOT_ID*, CK_ULONG* count) {
  const std::string fault = Setting("FAULTY_MODULE");
  if (fault == "hangs in C_GetSlotList") Hang();
  if (fault == "crashes in C_GetSlotList") std::abort();
  *count = 0;
  return CKR_OK;
}

}  // namespace

extern "C" CK_RV C_GetFunctionList(CK_FUNCTION_LIST** list) {
  static CK_FUNCTION_LIST functions = [] {
    CK_FUNCTION_LIST all = {};
    all.version = {2, 40};
    all.C_Initialize = &Initialize;
    all.C_Finalize = &Finalize;
    all.C_GetInfo = &GetInfo;
    all.C_GetSlotList = &GetSlotList;
    return all;
  }();
  *list = &functions;
  return CKR_OK;
}
