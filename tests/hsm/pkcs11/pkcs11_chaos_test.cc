// SPDX-License-Identifier: Apache-2.0
// SoftHSM2 behind a module that fails on purpose: each return value that hsm/pkcs11 knows, at the
// first, the middle and the last call of each operation. Whatever happens, it is told as what it
// is, nothing is left in the token or open, no signature is wrong, and the next call works.
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hsm/pkcs11/in_process_pkcs11_module.h"
#include "hsm/pkcs11/pkcs11_key_provider.h"
#include "hsm/pkcs11/pkcs11_status.h"
#include "tests/support/chaos_pkcs11.h"
#include "tests/support/softhsm.h"

namespace smartkey {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::Eq;
using testing::Not;
using Kind = Pkcs11Fault::Kind;

constexpr SignatureAlgorithm kEs256 = SignatureAlgorithm::kEs256;
constexpr char kLasting[] = "smartkeyd:i:lasting:1";
constexpr Reason kSuccess = Reason::kUnspecified;

// The one worked in and the one that keeps the login: see Pkcs11SessionPool.
constexpr int kMostSessions = 2;

enum class Operation { kOpen, kCreateKey, kCheckKey, kSign, kDestroyKey, kListKeys };

struct OperationRow {
  Operation operation;
  std::string name;

  friend void PrintTo(const OperationRow& row, std::ostream* out) { *out << row.name; }
};

const OperationRow kOperations[] = {
    {Operation::kOpen, "Open"},
    {Operation::kCreateKey, "CreateKey"},
    {Operation::kCheckKey, "CheckKey"},
    {Operation::kSign, "Sign"},
    {Operation::kDestroyKey, "DestroyKey"},
    {Operation::kListKeys, "ListKeys"},
};

// Vendors have codes of their own, which no table can know.
constexpr Pkcs11CodeRow kVendorsOwn = {CKR_VENDOR_DEFINED | 0x1234, "CKR_VENDOR_DEFINED + 0x1234",
                                       "unknown error", Reason::kHardwareDegraded,
                                       Pkcs11Recovery::kReopen};

std::vector<Pkcs11CodeRow> EveryCode() {
  std::vector<Pkcs11CodeRow> codes(AllPkcs11Codes().begin(), AllPkcs11Codes().end());
  codes.push_back(kVendorsOwn);
  return codes;
}

bool IsWrongPin(CK_RV code) {
  return code == CKR_PIN_INCORRECT || code == CKR_PIN_INVALID || code == CKR_PIN_LEN_RANGE;
}

class Pkcs11ChaosTest : public testing::TestWithParam<OperationRow> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<SoftHsm>> hsm = SoftHsm::Create();
    ASSERT_TRUE(hsm.ok()) << hsm.status();
    hsm_ = *std::move(hsm);
    StartOver();
    absl::StatusOr<CreatedKey> key = provider_->CreateKey(kEs256, kLasting);
    ASSERT_TRUE(key.ok()) << key.status();
    lasting_ = *std::move(key);
  }
  void TearDown() override { chaos_.Disarm(); }

  // What a restarted daemon has, and no memory of a PIN that was rejected.
  void StartOver() {
    provider_.reset();
    std::filesystem::remove(hsm_->rejected_pin_file());
    provider_ = std::make_unique<Pkcs11KeyProvider>(
        Pkcs11KeyProvider::Options{.uri = hsm_->uri(),
                                   .pin_file = hsm_->pin_file(),
                                   .instance_id = "i",
                                   .rejected_pin_file = hsm_->rejected_pin_file()},
        std::make_unique<InProcessPkcs11Module>(InProcessPkcs11Module::Options{
            .path = ChaosPkcs11::path(), .environment = hsm_->environment()}));
    const auto capabilities = provider_->Open();
    ASSERT_TRUE(capabilities.ok()) << capabilities.status();
  }

  // What an operation needs to be there first, done before the fault is armed.
  void Prepare(Operation operation) {
    if (operation != Operation::kDestroyKey) return;
    absl::StatusOr<CreatedKey> key =
        provider_->CreateKey(kEs256, absl::StrCat("smartkeyd:i:passing", ++labels_, ":1"));
    ASSERT_TRUE(key.ok()) << key.status();
    passing_ = *std::move(key);
  }

  absl::Status Run(Operation operation) {
    switch (operation) {
      case Operation::kOpen:
        return provider_->Open().status();
      case Operation::kCreateKey: {
        absl::StatusOr<CreatedKey> key =
            provider_->CreateKey(kEs256, absl::StrCat("smartkeyd:i:passing", ++labels_, ":1"));
        if (key.ok()) passing_ = *std::move(key);
        return key.status();
      }
      case Operation::kCheckKey:
        return provider_->CheckKey(lasting_.reference, lasting_.public_key);
      case Operation::kSign: {
        const absl::StatusOr<std::string> signature =
            provider_->Sign(lasting_.reference, lasting_.public_key, kEs256, "message");
        if (signature.ok()) {
          EXPECT_TRUE(VerifySignature(lasting_.public_key, kEs256, "message", *signature));
        }
        return signature.status();
      }
      case Operation::kDestroyKey:
        return provider_->DestroyKey(passing_->reference);
      case Operation::kListKeys:
        return provider_->ListKeys().status();
    }
    return absl::InternalError("no such operation");
  }

  // Which calls it makes when nothing fails, and it is not the first of its kind.
  std::vector<std::string> CallsOf(Operation operation) {
    for (int run = 0;; ++run) {
      Prepare(operation);
      chaos_.TakeCalls();
      const absl::Status status = Run(operation);
      EXPECT_TRUE(status.ok()) << status;
      const std::vector<std::string> calls = chaos_.TakeCalls();
      Forget();
      if (run > 0) return calls;
    }
  }

  // Takes out of the token what an operation made.
  void Forget() {
    if (!passing_.has_value()) return;
    const absl::Status status = provider_->DestroyKey(passing_->reference);
    EXPECT_TRUE(status.ok()) << status;
    passing_.reset();
  }

  // A PIN that was rejected is not tried again by itself, be it the right one.
  void ExpectNoFurtherLogin() {
    chaos_.TakeCalls();
    EXPECT_EQ(ReasonOf(provider_->Open().status()), Reason::kPinRejected);
    EXPECT_THAT(chaos_.TakeCalls(), Not(Contains("C_Login")));
    StartOver();
  }

  // What is said to be destroyed is nowhere any more.
  void ExpectDestroyed() {
    const absl::StatusOr<KeyInventory> inventory = provider_->ListKeys();
    ASSERT_TRUE(inventory.ok()) << inventory.status();
    EXPECT_EQ(inventory->keys.size(), 1u) << "said to be destroyed";
  }

  // After a fault everything works and is as it was before; where a key worker would open the
  // provider anew, after that.
  void ExpectEverythingWorks(Operation operation, const absl::Status& outcome) {
    const Reason reason = ReasonOf(outcome);
    if (reason == Reason::kHardwareDegraded || reason == Reason::kHardwareAbsent ||
        (operation == Operation::kOpen && reason != kSuccess)) {
      const auto capabilities = provider_->Open();
      EXPECT_TRUE(capabilities.ok()) << capabilities.status();
    }
    EXPECT_EQ(ReasonOf(Run(Operation::kSign)), kSuccess);
    Forget();
    const absl::StatusOr<KeyInventory> inventory = provider_->ListKeys();
    ASSERT_TRUE(inventory.ok()) << inventory.status();
    EXPECT_EQ(inventory->keys.size(), 1u) << "a key was left in the token";
    EXPECT_LE(chaos_.open_sessions(), kMostSessions);
    // Told once: the next case begins without it.
    for (const ListedKey& key : inventory->keys) {
      if (key.label != kLasting) provider_->DestroyKey(key.reference).IgnoreError();
    }
  }

  void ExpectFaultIsSurvived(Operation operation, const Pkcs11CodeRow& row, Kind kind,
                             absl::FunctionRef<void()> arm) {
    Prepare(operation);
    arm();
    const absl::Status status = Run(operation);
    SCOPED_TRACE(absl::StrCat(row.name, kind == Kind::kInstead ? " instead of " : " after ",
                              chaos_.last_faulty(), ": ", status.ToString()));
    chaos_.Disarm();
    EXPECT_EQ(chaos_.happened(), 1);
    EXPECT_THAT(ReasonOf(status), AnyOf(Eq(row.reason), Eq(kSuccess)));
    if (chaos_.last_faulty() == "C_Login" && IsWrongPin(row.code)) ExpectNoFurtherLogin();
    if (operation == Operation::kDestroyKey && status.ok()) ExpectDestroyed();
    ExpectEverythingWorks(operation, status);
  }

  ChaosPkcs11& chaos_ = ChaosPkcs11::Around(SoftHsm::module_path());
  std::unique_ptr<SoftHsm> hsm_;
  std::unique_ptr<Pkcs11KeyProvider> provider_;
  CreatedKey lasting_;
  absl::optional<CreatedKey> passing_;
  int labels_ = 0;
};

TEST_P(Pkcs11ChaosTest, EachCodeAtThreePlaces_IsToldAsWhatItIsAndTheNextCallWorks) {
  const int calls = static_cast<int>(CallsOf(GetParam().operation).size());
  ASSERT_GT(calls, 0);
  for (const int place : std::set<int>{1, (calls + 1) / 2, calls}) {
    for (const Pkcs11CodeRow& row : EveryCode()) {
      for (const Kind kind : {Kind::kInstead, Kind::kAfterwards}) {
        // Who refuses to do a thing does not do it.
        if (kind == Kind::kAfterwards && row.recovery == Pkcs11Recovery::kNone) continue;
        const Pkcs11Fault fault = {.kind = kind, .code = row.code};
        ExpectFaultIsSurvived(GetParam().operation, row, kind, [&] { chaos_.Arm(place, fault); });
      }
    }
  }
}

TEST_P(Pkcs11ChaosTest, EachFunctionFailsBeforeAndAfterItsWork_NothingIsLeftBehind) {
  const std::vector<std::string> calls = CallsOf(GetParam().operation);
  for (const std::string& function : std::set<std::string>(calls.begin(), calls.end())) {
    for (const CK_RV code : {CKR_DEVICE_ERROR, CKR_SESSION_HANDLE_INVALID, CKR_FUNCTION_FAILED}) {
      for (const Kind kind : {Kind::kInstead, Kind::kAfterwards}) {
        const Pkcs11Fault fault = {.kind = kind, .code = code};
        ExpectFaultIsSurvived(GetParam().operation, RowForPkcs11Code(code), kind,
                              [&] { chaos_.ArmNext(function, fault); });
      }
    }
  }
}

TEST_P(Pkcs11ChaosTest, DeviceIsGoneForALongTime_IsToldUntilItComesBack) {
  const Operation operation = GetParam().operation;
  Prepare(operation);
  chaos_.Arm(1, {.code = CKR_DEVICE_REMOVED}, /*times=*/1'000'000);
  const absl::Status status = Run(operation);
  EXPECT_EQ(ReasonOf(status), Reason::kHardwareAbsent) << status;
  EXPECT_EQ(ReasonOf(provider_->Open().status()), Reason::kHardwareAbsent);
  chaos_.Disarm();
  ExpectEverythingWorks(operation, status);
}

TEST_P(Pkcs11ChaosTest, CallHangsForAWhile_GoesOnAsIfNothingHadBeen) {
  const Operation operation = GetParam().operation;
  const int calls = static_cast<int>(CallsOf(operation).size());
  for (const int place : std::set<int>{1, (calls + 1) / 2, calls}) {
    Prepare(operation);
    chaos_.Arm(place, {.kind = Kind::kHang});
    std::thread releaser([this] {
      EXPECT_TRUE(chaos_.AwaitHanging());
      chaos_.Release();
    });
    const absl::Status status = Run(operation);
    releaser.join();
    EXPECT_TRUE(status.ok()) << status;
    ExpectEverythingWorks(operation, status);
  }
}

INSTANTIATE_TEST_SUITE_P(Operations, Pkcs11ChaosTest, testing::ValuesIn(kOperations),
                         [](const testing::TestParamInfo<OperationRow>& info) {
                           return info.param.name;
                         });

}  // namespace
}  // namespace smartkey
