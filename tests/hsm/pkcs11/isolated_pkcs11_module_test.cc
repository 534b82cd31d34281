// SPDX-License-Identifier: Apache-2.0
// A module in a process of its own: SoftHSM2 for what works, and a module that misbehaves.
#include "hsm/pkcs11/isolated_pkcs11_module.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "tests/hsm/pkcs11/isolation.h"
#include "tests/hsm/pkcs11/raw_token.h"
#include "tests/support/process_table.h"
#include "tests/support/softhsm.h"
#include "tests/support/started_process.h"

namespace smartkey {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class IsolatedModuleTest : public testing::Test {
 protected:
  void SetUp() override {
    socket_ = IsolateModules();
    absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
    ASSERT_TRUE(hsm.ok()) << hsm.status();
    hsm_ = *std::move(hsm);
  }
  void TearDown() override { EXPECT_THAT(ModuleProcesses(), IsEmpty()); }

  IsolatedPkcs11Module::Options SoftHsmOptions() const {
    return {.path = SoftHsm::module_path(), .environment = hsm_->environment()};
  }
  static IsolatedPkcs11Module::Options Faulty(const std::string& fault) {
    return {.path = FAULTY_MODULE_PATH, .environment = {{"FAULTY_MODULE", fault}}};
  }

  // Loaded, with a token that signs.
  static std::unique_ptr<RawToken> Signing(IsolatedPkcs11Module& module) {
    absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
    EXPECT_TRUE(functions.ok()) << functions.status();
    if (!functions.ok()) return nullptr;
    auto token = std::make_unique<RawToken>(*functions);
    EXPECT_EQ(token->Open(SoftHsm::pin()), CKR_OK);
    EXPECT_EQ(token->Sign(), CKR_OK);
    return token;
  }

  // Of this process's children those that modules run in, by pid, in the order of their start.
  static std::vector<pid_t> ModuleProcesses() {
    std::vector<pid_t> pids;
    for (const ListedProcess& child : ChildrenOf(::getpid())) {
      // Before, between and after its two execs; a zombie counts, too.
      if (!absl::StartsWith(child.name, "softhsm")) pids.push_back(child.pid);
    }
    return pids;
  }
  static pid_t ModuleProcess() {
    const std::vector<pid_t> pids = ModuleProcesses();
    EXPECT_EQ(pids.size(), 1u);
    return pids.empty() ? -1 : pids[0];
  }

  std::string socket_;
  std::unique_ptr<SoftHsm> hsm_;
};

// ---- What works

TEST_F(IsolatedModuleTest, Loaded_SignsAndIsNotInOurMemory) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  const std::unique_ptr<RawToken> token = Signing(module);
  EXPECT_THAT(ReadFile("/proc/self/maps"), Not(HasSubstr("libsofthsm2")));
  EXPECT_THAT(ReadFile(absl::StrCat("/proc/", ModuleProcess(), "/maps")), HasSubstr("libsofthsm2"));
}

TEST_F(IsolatedModuleTest, LoadedAgain_StartsAfresh) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  std::unique_ptr<RawToken> token = Signing(module);
  const pid_t first = ModuleProcess();
  token = Signing(module);
  EXPECT_NE(ModuleProcess(), first);
  EXPECT_FALSE(IsRunning(first));
}

TEST_F(IsolatedModuleTest, Unloaded_IsGoneAndUnloadsTwice) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  Signing(module);
  module.Unload();
  EXPECT_THAT(ModuleProcesses(), IsEmpty());
  module.Unload();
  Signing(module);
}

TEST_F(IsolatedModuleTest, OnceLoaded_NobodyElseCanConnect) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  Signing(module);
  EXPECT_NE(::access(socket_.c_str(), F_OK), 0);
}

TEST_F(IsolatedModuleTest, TwoModules_BothSignAndOneSurvivesTheOther) {
  IsolatedPkcs11Module one(SoftHsmOptions());
  IsolatedPkcs11Module other(SoftHsmOptions());
  const std::unique_ptr<RawToken> token = Signing(one);
  const pid_t first = ModuleProcess();
  const std::unique_ptr<RawToken> other_token = Signing(other);
  EXPECT_EQ(token->Sign(), CKR_OK);
  ASSERT_EQ(ModuleProcesses().size(), 2u);
  ::kill(first, SIGKILL);
  EXPECT_EQ(token->Sign(), CKR_DEVICE_ERROR);
  EXPECT_EQ(other_token->Sign(), CKR_OK);
}

TEST_F(IsolatedModuleTest, TwoThreadsLoadingAtOnce_TakeTurns) {
  const auto load_often = [&] {
    IsolatedPkcs11Module module(SoftHsmOptions());
    for (int i = 0; i < 5; ++i) Signing(module);
  };
  std::jthread other(load_often);
  load_often();
  other.join();
}

TEST_F(IsolatedModuleTest, EnvironmentOfTheModule_IsItsOwnAndNothingOfOursIsInherited) {
  const UniqueFd leaky(::open("/dev/null", O_RDONLY));  // without O_CLOEXEC
  ::setenv("FAULTY_MODULE_OURS", "secret", 1);
  IsolatedPkcs11Module::Options options = Faulty("");
  options.environment["FAULTY_MODULE_TEXT"] = "from the configuration";
  IsolatedPkcs11Module module(options);
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
  ASSERT_TRUE(functions.ok()) << functions.status();
  CK_INFO info = {};
  ASSERT_EQ((*functions)->C_GetInfo(&info), CKR_OK);
  const std::string seen(reinterpret_cast<const char*>(info.libraryDescription),
                         sizeof(info.libraryDescription));
  EXPECT_EQ(seen, "from the configuration          ") << "the variable, and no descriptor";
  EXPECT_EQ(std::getenv("FAULTY_MODULE_TEXT"), nullptr);
  const std::string proc = absl::StrCat("/proc/", ModuleProcess());
  EXPECT_THAT(ReadFile(proc + "/environ"), Not(HasSubstr("FAULTY_MODULE_OURS")));
  EXPECT_THAT(ReadFile(proc + "/limits"), testing::ContainsRegex("Max core file size +0 +0 "));
}

// ---- Killed and hung

TEST_F(IsolatedModuleTest, KilledBetweenCalls_FailsUntilLoadedAgain) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  std::unique_ptr<RawToken> token = Signing(module);
  ::kill(ModuleProcess(), SIGKILL);
  EXPECT_EQ(token->Sign(), CKR_DEVICE_ERROR);
  EXPECT_EQ(token->Sign(), CKR_DEVICE_ERROR);
  token = Signing(module);
  EXPECT_EQ(token->Sign(), CKR_OK);
}

TEST_F(IsolatedModuleTest, CrashesInACall_ThatCallFails) {
  IsolatedPkcs11Module module(Faulty("crashes in C_GetSlotList"));
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
  ASSERT_TRUE(functions.ok()) << functions.status();
  CK_ULONG count = 0;
  EXPECT_EQ((*functions)->C_GetSlotList(CK_TRUE, nullptr, &count), CKR_DEVICE_ERROR);
}

TEST_F(IsolatedModuleTest, HangsInACall_InterruptMakesItReturn) {
  const TempDir directory;
  const std::string hangs = directory.File("hangs");
  IsolatedPkcs11Module::Options options = Faulty("hangs in C_GetSlotList");
  options.environment["FAULTY_MODULE_FILE"] = hangs;
  IsolatedPkcs11Module module(options);
  absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
  ASSERT_TRUE(functions.ok()) << functions.status();
  std::jthread watchdog([&] {
    EXPECT_TRUE(WaitUntil([&] { return ReadFile(hangs) == "hangs\n"; }));
    module.Interrupt();
  });
  CK_ULONG count = 0;
  EXPECT_EQ((*functions)->C_GetSlotList(CK_TRUE, nullptr, &count), CKR_DEVICE_ERROR);
  watchdog.join();
}

TEST_F(IsolatedModuleTest, StoppedProcess_InterruptMakesTheCallReturnAndLoadMendsIt) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  std::unique_ptr<RawToken> token = Signing(module);
  ::kill(ModuleProcess(), SIGSTOP);
  std::jthread watchdog([&] { module.Interrupt(); });  // before the call or in it: both must do
  EXPECT_EQ(token->Sign(), CKR_DEVICE_ERROR);
  watchdog.join();
  token = Signing(module);
}

TEST_F(IsolatedModuleTest, StoppedProcessAtTheEnd_IsKilled) {
  IsolatedPkcs11Module::Options options = SoftHsmOptions();
  options.end_limit = absl::Milliseconds(100);
  IsolatedPkcs11Module module(options);
  Signing(module);
  ::kill(ModuleProcess(), SIGSTOP);
  module.Unload();
  EXPECT_THAT(ModuleProcesses(), IsEmpty());
  Signing(module);
}

TEST_F(IsolatedModuleTest, InterruptWithNothingRunning_DoesNotSpoilTheNextLoad) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  module.Interrupt();
  Signing(module);
  module.Interrupt();
  module.Interrupt();
  Signing(module);
}

TEST_F(IsolatedModuleTest, HangsInFinalize_UnloadReturnsAndItIsGone) {
  IsolatedPkcs11Module::Options options = Faulty("hangs in C_Finalize");
  options.end_limit = absl::Milliseconds(100);
  IsolatedPkcs11Module module(options);
  ASSERT_TRUE(module.Load().ok());
  module.Unload();
  EXPECT_THAT(ModuleProcesses(), IsEmpty());
}

TEST_F(IsolatedModuleTest, HangsWhileLoading_InterruptEndsIt) {
  IsolatedPkcs11Module module(Faulty("hangs in C_Initialize"));
  std::jthread watchdog([&] {
    EXPECT_TRUE(WaitUntil([] { return !ModuleProcesses().empty(); }));
    module.Interrupt();
  });
  const absl::Status status = module.Load().status();
  watchdog.join();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded) << status;
  EXPECT_THAT(ModuleProcesses(), IsEmpty());
}

TEST_F(IsolatedModuleTest, HangsWhileLoading_EndsByItselfAtTheLimit) {
  IsolatedPkcs11Module::Options options = Faulty("hangs in C_Initialize");
  options.start_limit = absl::Milliseconds(200);
  IsolatedPkcs11Module module(options);
  const absl::Status status = module.Load().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("in time"));
}

TEST_F(IsolatedModuleTest, HangsWhileAnotherWaitsForItsTurn_TheOtherCanBeInterrupted) {
  IsolatedPkcs11Module hanging(Faulty("hangs in C_Initialize"));
  std::jthread first([&] { EXPECT_FALSE(hanging.Load().ok()); });
  ASSERT_TRUE(WaitUntil([] { return !ModuleProcesses().empty(); }));
  IsolatedPkcs11Module waiting(SoftHsmOptions());
  absl::Status status;
  std::atomic<bool> returned = false;
  std::jthread second([&] {
    status = waiting.Load().status();
    returned = true;
  });
  // Again and again: one that comes before Load begins is not meant for it.
  EXPECT_TRUE(WaitUntil([&] {
    waiting.Interrupt();
    return returned.load();
  }));
  second.join();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded) << status;
  hanging.Interrupt();
  first.join();
}

// ---- What cannot be loaded

TEST_F(IsolatedModuleTest, NoSuchModule_IsAbsent) {
  IsolatedPkcs11Module module({.path = "/nonexistent/module.so"});
  const absl::Status status = module.Load().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/module.so"));
}

TEST_F(IsolatedModuleTest, FileThatIsNoModule_IsAbsent) {
  IsolatedPkcs11Module module({.path = "/etc/hostname"});
  const absl::Status status = module.Load().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent) << status;
}

TEST_F(IsolatedModuleTest, RelativePath_IsRefused) {
  IsolatedPkcs11Module module({.path = "libsofthsm2.so"});
  EXPECT_EQ(ReasonOf(module.Load().status()), Reason::kConfigInvalid);
}

TEST_F(IsolatedModuleTest, WithoutP11Kit_SaysWhichPackageIsMissing) {
  IsolatedPkcs11Module::Options options = SoftHsmOptions();
  options.program = "/nonexistent/p11-kit";
  IsolatedPkcs11Module module(options);
  const absl::Status status = module.Load().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent);
  EXPECT_THAT(std::string(status.message()), HasSubstr("package p11-kit"));
}

TEST_F(IsolatedModuleTest, CrashesInInitialize_IsDegradedAndNamesTheSignal) {
  IsolatedPkcs11Module module(Faulty("crashes in C_Initialize"));
  const absl::Status status = module.Load().status();
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareDegraded) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("signal 6"));
}

TEST_F(IsolatedModuleTest, RefusesToInitialize_SaysWhatItAnswered) {
  IsolatedPkcs11Module module(Faulty("refuses C_Initialize"));
  const absl::Status status = module.Load().status();
  EXPECT_EQ(Pkcs11CodeOf(status), absl::make_optional<CK_RV>(CKR_CANT_LOCK)) << status;
}

TEST_F(IsolatedModuleTest, SigpipeWouldEndUs_IsRefused) {
  ::signal(SIGPIPE, SIG_DFL);
  IsolatedPkcs11Module module(SoftHsmOptions());
  EXPECT_EQ(ReasonOf(module.Load().status()), Reason::kInternal);
  ::signal(SIGPIPE, SIG_IGN);
}

// ---- The socket

TEST_F(IsolatedModuleTest, SocketOfAKilledDaemonIsStillThere_IsReplaced) {
  {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket_.data(), socket_.size());
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_EQ(::access(socket_.c_str(), F_OK), 0);
  IsolatedPkcs11Module module(SoftHsmOptions());
  Signing(module);
}

TEST_F(IsolatedModuleTest, AnotherFileInTheSocketsPlace_IsLeftAlone) {
  std::ofstream(socket_) << "somebody's";
  IsolatedPkcs11Module module(SoftHsmOptions());
  EXPECT_EQ(ReasonOf(module.Load().status()), Reason::kInternal);
  EXPECT_EQ(ReadFile(socket_), "somebody's");
  ::unlink(socket_.c_str());
  Signing(module);
}

TEST_F(IsolatedModuleTest, SocketInADirectoryOpenToOthers_IsRefused) {
  const TempDir open_to_all;
  const std::string path = open_to_all.File("module.sock");
  ASSERT_EQ(::chmod(path.substr(0, path.rfind('/')).c_str(), 0711), 0);
  const absl::Status refused = IsolatedPkcs11Module::UseSocket(path);
  EXPECT_EQ(ReasonOf(refused), Reason::kConfigInvalid);
  EXPECT_NE(RemedyOf(refused).find("chmod 700 "), std::string::npos);
  EXPECT_EQ(ReasonOf(IsolatedPkcs11Module::UseSocket("relative")), Reason::kConfigInvalid);
  EXPECT_EQ(ReasonOf(IsolatedPkcs11Module::UseSocket("/nonexistent/module.sock")),
            Reason::kConfigInvalid);
  EXPECT_EQ(ReasonOf(IsolatedPkcs11Module::UseSocket("/" + std::string(200, 'x'))),
            Reason::kConfigInvalid);
  const TempDir another;
  EXPECT_EQ(ReasonOf(IsolatedPkcs11Module::UseSocket(another.File("module.sock"))),
            Reason::kConfigInvalid);
  EXPECT_TRUE(IsolatedPkcs11Module::UseSocket(socket_).ok()) << "the same again";
}

TEST_F(IsolatedModuleTest, DirectoryWasOpenedToOthersSince_IsRefused) {
  const std::string directory = socket_.substr(0, socket_.rfind('/'));
  ASSERT_EQ(::chmod(directory.c_str(), 0770), 0);
  IsolatedPkcs11Module module(SoftHsmOptions());
  EXPECT_EQ(ReasonOf(module.Load().status()), Reason::kConfigInvalid);
  ASSERT_EQ(::chmod(directory.c_str(), 0700), 0);
}

// ---- Nothing is left behind

TEST_F(IsolatedModuleTest, AHundredReloadsHalfOfThemKilled_LeaveNothing) {
  IsolatedPkcs11Module module(SoftHsmOptions());
  Signing(module);
  const int descriptors = CountDescriptors();
  for (int i = 0; i < 100; ++i) {
    if (i % 2 == 0) ::kill(ModuleProcess(), SIGKILL);
    absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
    ASSERT_TRUE(functions.ok()) << functions.status();
    ASSERT_EQ(ModuleProcesses().size(), 1u) << "a zombie is left";
  }
  EXPECT_EQ(CountDescriptors(), descriptors);
}

TEST_F(IsolatedModuleTest, AHundredModulesOneAfterTheOther_UseOneFunctionList) {
  CK_FUNCTION_LIST* first = nullptr;
  for (int i = 0; i < 100; ++i) {
    IsolatedPkcs11Module module(Faulty(""));
    absl::StatusOr<CK_FUNCTION_LIST*> functions = module.Load();
    ASSERT_TRUE(functions.ok()) << functions.status();
    if (first == nullptr) first = *functions;
    ASSERT_EQ(*functions, first);
  }
}

TEST_F(IsolatedModuleTest, HelperOfTheModule_EndsWithIt) {
  const TempDir directory;
  IsolatedPkcs11Module::Options options = Faulty("has a helper");
  options.environment["FAULTY_MODULE_FILE"] = directory.File("helper");
  options.end_limit = absl::Milliseconds(200);  // p11-kit waits for nobody, the pipe's end does
  for (const bool interrupted : {false, true}) {
    IsolatedPkcs11Module module(options);
    ASSERT_TRUE(module.Load().ok());
    const pid_t helper = std::stoi(ReadFile(directory.File("helper")));
    EXPECT_TRUE(IsRunning(helper));
    if (interrupted) module.Interrupt();
    module.Unload();
    EXPECT_TRUE(WaitUntil([&] { return !IsRunning(helper); }));
  }
}

TEST_F(IsolatedModuleTest, KilledDaemon_TakesAHungModuleWithIt) {
  const TempDir directory;
  const std::string out = directory.File("out");
  const std::string hangs = directory.File("hangs");
  absl::StatusOr<StartedProcess> daemon = StartedProcess::Start(
      {.argv = {MODULE_HOLDER_PATH, FAULTY_MODULE_PATH, directory.File("module.sock"),
                "FAULTY_MODULE=hangs in C_GetSlotList", "FAULTY_MODULE_FILE=" + hangs},
       .environment = {},
       .log = out,
       .ready = [&] { return absl::StrContains(ReadFile(out), "\n"); }});
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  ASSERT_EQ(ReadFile(out), "OK\n");
  const std::vector<ListedProcess> children = ChildrenOf(daemon->pid());
  ASSERT_EQ(children.size(), 1u);
  ASSERT_TRUE(WaitUntil([&] { return ReadFile(hangs) == "hangs\n"; }));
  ::kill(daemon->pid(), SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return !IsRunning(children[0].pid); }));
  daemon->End();
}

}  // namespace
}  // namespace smartkey
