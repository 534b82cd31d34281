// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tpm_resource_manager.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace smartkey {
namespace {

// Everybody on this bus is ours: the socket is in a directory that only we can enter.
constexpr char kBusConfiguration[] = R"(<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=$SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
)";

constexpr char kName[] = "com.intel.tss2.Tabrmd";  // what the TCTI asks the bus for

}  // namespace

absl::StatusOr<std::unique_ptr<TpmResourceManager>> TpmResourceManager::Start(
    const std::string& tpm_tcti) {
  std::string path = absl::StrCat(testing::TempDir(), "/abrmd-XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("mkdtemp: ", std::strerror(errno)));
  }
  std::unique_ptr<TpmResourceManager> manager(
      new TpmResourceManager(std::filesystem::canonical(path).string(), tpm_tcti));
  absl::Status status = manager->StartBus();
  if (status.ok()) status = manager->Restart();
  if (!status.ok()) return status;
  return manager;
}

TpmResourceManager::~TpmResourceManager() {
  manager_.End();
  bus_.End();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::map<std::string, std::string> TpmResourceManager::environment() const {
  return {{"DBUS_SESSION_BUS_ADDRESS", absl::StrCat("unix:path=", bus_socket())}};
}

void TpmResourceManager::UseInThisProcess() const {
  for (const auto& [name, value] : environment()) ::setenv(name.c_str(), value.c_str(), 1);
}

absl::Status TpmResourceManager::StartBus() {
  const std::string configuration = directory_ + "/bus.conf";
  std::string text = kBusConfiguration;
  text.replace(text.find("$SOCKET"), std::strlen("$SOCKET"), bus_socket());
  std::ofstream(configuration) << text;
  absl::StatusOr<StartedProcess> bus =
      StartedProcess::Start({.argv = {"dbus-daemon", "--nofork", "--config-file=" + configuration},
                             .environment = {},
                             .log = directory_ + "/bus.log",
                             .ready = [this] { return ListensOn(bus_socket()); }});
  if (!bus.ok()) return bus.status();
  bus_ = *std::move(bus);
  return absl::OkStatus();
}

absl::Status TpmResourceManager::Restart() {
  manager_.End();
  // It says nothing when it is ready, but it is then that it owns its name.
  const auto ready = [this] {
    const std::string call = absl::StrCat(
        "dbus-send --bus=unix:path=", bus_socket(),
        " --dest=org.freedesktop.DBus --print-reply=literal / org.freedesktop.DBus.NameHasOwner"
        " string:",
        kName, " 2>/dev/null");
    FILE* pipe = ::popen(call.c_str(), "re");
    if (pipe == nullptr) return false;
    char answer[64] = {};
    const size_t size = std::fread(answer, 1, sizeof(answer) - 1, pipe);
    ::pclose(pipe);
    return absl::StrContains(absl::string_view(answer, size), "true");
  };
  absl::StatusOr<StartedProcess> manager = StartedProcess::Start(
      {.argv = {"tpm2-abrmd", "--session", "--allow-root", "--tcti=" + tpm_tcti_},
       .environment = environment(),
       .log = directory_ + "/abrmd.log",
       .ready = ready});
  if (!manager.ok()) return manager.status();
  manager_ = *std::move(manager);
  return absl::OkStatus();
}

}  // namespace smartkey
