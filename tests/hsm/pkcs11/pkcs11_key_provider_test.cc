// SPDX-License-Identifier: Apache-2.0
// The key provider on SoftHSM2 with other programs beside it. What every token must do is in
// tests/contract; what SoftHSM2 cannot be brought to, in pkcs11_keys_test.cc and
// pkcs11_sessions_test.cc.
#include "hsm/pkcs11/pkcs11_key_provider.h"

#include <dlfcn.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hex.h"
#include "base/mutex.h"
#include "base/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/key_worker.h"
#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_key_reference.h"
#include "hsm/pkcs11/pkcs11_token.h"
#include "tests/support/softhsm.h"

namespace smartkey {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;
constexpr Reason kSuccess = Reason::kUnspecified;

class Pkcs11KeyProviderTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
    ASSERT_TRUE(hsm.ok()) << hsm.status();
    hsm_ = *std::move(hsm);
  }

  std::unique_ptr<Pkcs11Module> NewModule() {
    return std::make_unique<InProcessPkcs11Module>(InProcessPkcs11Module::Options{
        .path = SoftHsm::module_path(), .environment = hsm_->environment()});
  }
  // What a restarted daemon has.
  std::unique_ptr<Pkcs11KeyProvider> NewProvider(const std::string& instance = "i") {
    return std::make_unique<Pkcs11KeyProvider>(
        Pkcs11KeyProvider::Options{.uri = hsm_->uri(),
                                   .pin_file = hsm_->pin_file(),
                                   .instance_id = instance,
                                   .rejected_pin_file = hsm_->rejected_pin_file()},
        NewModule());
  }
  std::unique_ptr<Pkcs11KeyProvider> Opened(const std::string& instance = "i") {
    std::unique_ptr<Pkcs11KeyProvider> provider = NewProvider(instance);
    const auto capabilities = provider->Open();
    EXPECT_TRUE(capabilities.ok()) << capabilities.status();
    return provider;
  }
  Reason ReasonOfOpening() { return ReasonOf(NewProvider()->Open().status()); }

  CreatedKey Made(KeyProvider& provider, const std::string& instance = "i",
                  SignatureAlgorithm algorithm = kEs256) {
    absl::StatusOr<CreatedKey> key =
        provider.CreateKey(algorithm, absl::StrCat("smartkeyd:", instance, ":r", ++labels_, ":1"));
    EXPECT_TRUE(key.ok()) << key.status();
    return key.ok() ? *key : CreatedKey();
  }
  static Reason Sign(KeyProvider& provider, const CreatedKey& key) {
    const absl::StatusOr<std::string> signature =
        provider.Sign(key.reference, key.public_key, key.algorithm, "message");
    if (signature.ok()) {
      EXPECT_TRUE(VerifySignature(key.public_key, key.algorithm, "message", *signature));
    }
    return ReasonOf(signature.status());
  }
  static std::string HexIdOf(const CreatedKey& key) {
    return absl::BytesToHexString(ParsePkcs11KeyReference(key.reference.blob)->id);
  }
  // What SoftHSM2 remembers of wrong PINs since the last right one.
  bool WrongPinWasEntered() {
    const std::unique_ptr<Pkcs11Module> module = NewModule();
    const Pkcs11Token token =
        FindToken(**module->Load(), Pkcs11Uri::Parse(hsm_->uri()).value()).value();
    return (token.info.flags & CKF_USER_PIN_COUNT_LOW) != 0;
  }

  std::unique_ptr<SoftHsm> hsm_;
  int labels_ = 0;
};

// ---- The PIN

TEST_F(Pkcs11KeyProviderTest, WrongPin_IsTriedOnceEver) {
  ASSERT_TRUE(hsm_->WritePinFile("wrong-pin-31").ok());
  const absl::Status status = NewProvider()->Open().status();
  EXPECT_EQ(ReasonOf(status), Reason::kPinRejected) << status;
  EXPECT_THAT(status.ToString(), Not(HasSubstr("wrong-pin-31")));
  EXPECT_TRUE(WrongPinWasEntered());
  // Logging in with the right one clears the token's own memory, so that a second try would show.
  ASSERT_TRUE(hsm_->Pkcs11ToolLoggedIn({"--list-objects"}).ok());
  ASSERT_FALSE(WrongPinWasEntered());
  for (int restart = 0; restart < 3; ++restart) {
    EXPECT_EQ(ReasonOfOpening(), Reason::kPinRejected);
  }
  EXPECT_FALSE(WrongPinWasEntered());
}

TEST_F(Pkcs11KeyProviderTest, WrongPinReplacedByTheRightOne_OpensByItself) {
  ASSERT_TRUE(hsm_->WritePinFile("wrong-pin-31").ok());
  std::unique_ptr<Pkcs11KeyProvider> provider = NewProvider();
  EXPECT_EQ(ReasonOf(provider->Open().status()), Reason::kPinRejected);
  ASSERT_TRUE(hsm_->WritePinFile(SoftHsm::pin()).ok());
  EXPECT_TRUE(provider->Open().ok());
  EXPECT_EQ(Sign(*provider, Made(*provider)), kSuccess);
}

TEST_F(Pkcs11KeyProviderTest, PinFileThatOthersMayRead_IsNotUsed) {
  ASSERT_TRUE(hsm_->WritePinFile(SoftHsm::pin(), 0644).ok());
  EXPECT_EQ(ReasonOfOpening(), Reason::kConfigInvalid);
  ASSERT_TRUE(hsm_->WritePinFile(SoftHsm::pin(), 0400).ok());
  EXPECT_EQ(ReasonOfOpening(), kSuccess);
}

// ---- Which token, which module

TEST_F(Pkcs11KeyProviderTest, TwoTokensOfOneLabel_AreToldApartBySerial) {
  const CreatedKey key = Made(*Opened());
  const std::string serial = ParsePkcs11KeyReference(key.reference.blob)->token.serial;
  ASSERT_EQ(serial.size(), 16u);
  ASSERT_TRUE(hsm_->AddToken(SoftHsm::label()).ok());
  EXPECT_EQ(ReasonOfOpening(), Reason::kConfigInvalid);
  Pkcs11KeyProvider by_serial({.uri = absl::StrCat(hsm_->uri(), ";serial=", serial),
                               .pin_file = hsm_->pin_file(),
                               .instance_id = "i"},
                              NewModule());
  const auto capabilities = by_serial.Open();
  ASSERT_TRUE(capabilities.ok()) << capabilities.status();
  EXPECT_EQ(Sign(by_serial, key), kSuccess);
}

Reason ReasonOfLoading(const std::string& path) {
  return ReasonOf(InProcessPkcs11Module({.path = path}).Load().status());
}

TEST_F(Pkcs11KeyProviderTest, ModuleThatIsNone_IsAbsent) {
  EXPECT_EQ(ReasonOfLoading("/usr/lib/no-such-module.so"), Reason::kHardwareAbsent);
  EXPECT_EQ(ReasonOfLoading("/etc/hostname"), Reason::kHardwareAbsent);
  Dl_info libc = {};
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&std::fopen), &libc), 0);
  EXPECT_EQ(ReasonOfLoading(libc.dli_fname), Reason::kHardwareAbsent) << libc.dli_fname;
  EXPECT_EQ(ReasonOfLoading("libsofthsm2.so"), Reason::kConfigInvalid) << "not by a search path";
  EXPECT_EQ(ReasonOfLoading(""), Reason::kConfigInvalid);
}

TEST_F(Pkcs11KeyProviderTest, ModuleOfTwoProviders_EndsWithTheLast) {
  std::unique_ptr<Pkcs11KeyProvider> one = Opened("one");
  std::unique_ptr<Pkcs11KeyProvider> two = Opened("two");
  const CreatedKey key_one = Made(*one, "one");
  const CreatedKey key_two = Made(*two, "two");
  ASSERT_TRUE(one->Open().ok());
  EXPECT_EQ(Sign(*two, key_two), kSuccess) << "the other one opened anew";
  one.reset();
  EXPECT_EQ(Sign(*two, key_two), kSuccess) << "the other one ended";
  two.reset();
  // Now it is finalized: it reads its configuration anew.
  ASSERT_TRUE(hsm_->Replace().ok());
  EXPECT_EQ(Sign(*Opened("one"), key_one), Reason::kKeyUnavailable);
}

TEST_F(Pkcs11KeyProviderTest, ModuleThatAnotherPartOfTheProcessInitialized_IsNotFinalized) {
  // From here on SoftHSM2 belongs to somebody else.
  const std::unique_ptr<Pkcs11Module> unused = NewModule();
  CK_FUNCTION_LIST* functions = *unused->Load();
  unused->Unload();
  ASSERT_EQ(functions->C_Initialize(nullptr), CKR_OK);
  {
    std::unique_ptr<Pkcs11KeyProvider> provider = Opened();
    EXPECT_EQ(Sign(*provider, Made(*provider)), kSuccess);
  }
  EXPECT_EQ(functions->C_Finalize(nullptr), CKR_OK) << "still initialized";
}

// ---- Other programs at the same token

TEST_F(Pkcs11KeyProviderTest, KeyTakenOutByPkcs11Tool_IsGoneAndOthersWork) {
  std::unique_ptr<Pkcs11KeyProvider> provider = Opened();
  const CreatedKey key = Made(*provider);
  const CreatedKey other = Made(*provider);
  ASSERT_EQ(Sign(*provider, key), kSuccess);
  ASSERT_EQ(Sign(*provider, other), kSuccess);
  for (const char* type : {"privkey", "pubkey"}) {
    const auto deleted =
        hsm_->Pkcs11ToolLoggedIn({"--delete-object", "--type", type, "--id", HexIdOf(key)});
    ASSERT_TRUE(deleted.ok()) << deleted.status();
  }
  EXPECT_EQ(Sign(*provider, key), Reason::kKeyGone);
  EXPECT_EQ(Sign(*provider, other), kSuccess);
  EXPECT_EQ(provider->ListKeys()->keys.size(), 1u);
  EXPECT_TRUE(provider->DestroyKey(key.reference).ok()) << "absent is success";
}

TEST_F(Pkcs11KeyProviderTest, KeySeenByPkcs11Tool_IsNamedAndProtected) {
  const CreatedKey key = Made(*Opened());
  const auto listed = hsm_->Pkcs11ToolLoggedIn({"--list-objects", "--type", "privkey"});
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, HasSubstr("smartkeyd:i:r1:1"));
  EXPECT_THAT(*listed, HasSubstr(HexIdOf(key)));
  EXPECT_THAT(*listed,
              HasSubstr("Access:     sensitive, always sensitive, never extractable, local"));
  EXPECT_THAT(*listed, testing::ContainsRegex("Usage: +sign\n"));
}

TEST_F(Pkcs11KeyProviderTest, KeyWrappedForExportByItsUser_IsRefusedAsUnextractable) {
  std::unique_ptr<Pkcs11KeyProvider> provider = Opened();  // its login is this process's
  const CreatedKey key = Made(*provider);
  const std::unique_ptr<Pkcs11Module> module = NewModule();
  CK_FUNCTION_LIST& functions = **module->Load();
  const Pkcs11Token token = FindToken(functions, Pkcs11Uri::Parse(hsm_->uri()).value()).value();
  Pkcs11Session session = Pkcs11Session::Open(functions, token.slot, /*read_only=*/false).value();

  CK_MECHANISM generate = {CKM_AES_KEY_GEN, nullptr, 0};
  Pkcs11Template wrapper;
  wrapper.AddFlag(CKA_WRAP, true).AddNumber(CKA_VALUE_LEN, 32);
  std::vector<CK_ATTRIBUTE> wanted = wrapper.attributes();
  CK_OBJECT_HANDLE wrapping = CK_INVALID_HANDLE;
  ASSERT_EQ(
      functions.C_GenerateKey(session.handle(), &generate, wanted.data(), wanted.size(), &wrapping),
      CKR_OK);
  const auto found = session.FindObjects(Pkcs11Template()
                                             .AddNumber(CKA_CLASS, CKO_PRIVATE_KEY)
                                             .AddOctets(CKA_ID, HexDecode(HexIdOf(key)).value()));
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1u);
  CK_MECHANISM wrap = {CKM_AES_KEY_WRAP_PAD, nullptr, 0};
  CK_BYTE out[4096];
  CK_ULONG size = sizeof(out);
  EXPECT_EQ(functions.C_WrapKey(session.handle(), &wrap, wrapping, found->at(0), out, &size),
            CKR_KEY_UNEXTRACTABLE);
}

TEST_F(Pkcs11KeyProviderTest, DestroyedKey_IsNotSeenByPkcs11Tool) {
  std::unique_ptr<Pkcs11KeyProvider> provider = Opened();
  const CreatedKey key = Made(*provider);
  ASSERT_TRUE(provider->DestroyKey(key.reference).ok());
  const auto listed = hsm_->Pkcs11ToolLoggedIn({"--list-objects"});
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, Not(HasSubstr("smartkeyd:")));
}

TEST_F(Pkcs11KeyProviderTest, KeysOfOtherPrograms_AreNoneOfOurs) {
  const auto made = hsm_->Pkcs11ToolLoggedIn(
      {"--keypairgen", "--key-type", "EC:prime256v1", "--label", "web server", "--id", "01"});
  ASSERT_TRUE(made.ok()) << made.status();
  std::unique_ptr<Pkcs11KeyProvider> provider = Opened();
  EXPECT_TRUE(provider->ListKeys()->keys.empty());
  EXPECT_EQ(provider->ListKeys()->of_other_instances, 0);
  CreatedKey theirs = Made(*provider);
  Pkcs11KeyReference reference = ParsePkcs11KeyReference(theirs.reference.blob).value();
  reference.id = "\x01";
  theirs.reference.blob = WritePkcs11KeyReference(reference).value();
  EXPECT_EQ(ReasonOf(provider->DestroyKey(theirs.reference)), Reason::kKeyUnavailable);
  EXPECT_EQ(Sign(*provider, theirs), Reason::kKeyDamaged);
}

// ---- Under the daemon's worker

TEST_F(Pkcs11KeyProviderTest, UnderAWorkerWithEightCallers_EverySignatureIsRight) {
  constexpr int kCallers = 8;
  constexpr int kEach = 50;
  SystemClock clock;
  TimerThread timers(clock);
  KeyWorker worker([this] { return NewProvider(); }, clock, timers, {});
  Mutex mu;
  CondVar changed;
  std::vector<CreatedKey> keys(kCallers);
  int answers = 0;
  std::vector<std::string> failures;
  const auto answered = [&](const std::string& failure) {
    MutexLock lock(mu);
    ++answers;
    if (!failure.empty()) failures.push_back(failure);
    changed.NotifyAll();
  };
  const auto await = [&](int count) {
    MutexLock lock(mu);
    while (answers < count) changed.Wait(mu);
  };
  for (int i = 0; i < kCallers; ++i) {
    worker.CreateKey({.caller = static_cast<KeyService::CallerKey>(i),
                      .algorithm = i % 2 == 0 ? kEs256 : SignatureAlgorithm::kEs384,
                      .label = absl::StrCat("smartkeyd:i:r", i, ":1")},
                     [&, i](absl::StatusOr<CreatedKey> key) {
                       if (key.ok()) keys[static_cast<size_t>(i)] = *key;
                       answered(std::string(key.status().message()));
                     });
  }
  await(kCallers);
  ASSERT_THAT(failures, testing::IsEmpty());

  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      const CreatedKey& key = keys[static_cast<size_t>(i)];
      for (int n = 0; n < kEach; ++n) {
        const std::string message = absl::StrCat("caller ", i, " message ", n);
        Mutex own;
        CondVar done;
        bool finished = false;
        worker.Sign({.caller = static_cast<KeyService::CallerKey>(i),
                     .key = key.reference,
                     .public_key = key.public_key,
                     .algorithm = key.algorithm,
                     .message = message},
                    [&](absl::StatusOr<std::string> signature) {
                      std::string failure(signature.status().message());
                      if (signature.ok() &&
                          !VerifySignature(key.public_key, key.algorithm, message, *signature)) {
                        failure = "wrong signature";
                      }
                      answered(failure);
                      MutexLock lock(own);
                      finished = true;
                      done.NotifyAll();
                    });
        MutexLock lock(own);
        while (!finished) done.Wait(own);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answers, kCallers * (kEach + 1));
  EXPECT_THAT(failures, testing::IsEmpty());
}

}  // namespace
}  // namespace smartkey
