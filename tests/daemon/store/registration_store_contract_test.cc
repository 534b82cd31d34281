// SPDX-License-Identifier: Apache-2.0
#include "tests/contract/registration_store_contract.h"

#include <memory>

#include "tests/daemon/store/open_store.h"
#include "tests/daemon/store/temp_dir.h"
#include "tests/fakes/fake_registration_store.h"

namespace smartkey {
namespace {

class SqliteUnderTest : public StoreUnderTest {
 public:
  SqliteUnderTest() { Restart(); }
  RegistrationStore& store() override { return *store_; }
  void Restart() override {
    store_.reset();
    store_ = OpenStore(dir_.path()).value();
  }

 private:
  TempDir dir_;
  std::unique_ptr<SqliteRegistrationStore> store_;
};

class FakeUnderTest : public StoreUnderTest {
 public:
  RegistrationStore& store() override { return *store_; }
  void Restart() override { store_ = std::make_unique<FakeRegistrationStore>(store_->Contents()); }

 private:
  std::unique_ptr<FakeRegistrationStore> store_ = std::make_unique<FakeRegistrationStore>();
};

INSTANTIATE_TEST_SUITE_P(Sqlite, RegistrationStoreContract, testing::Values(StoreMaker([] {
                           return std::make_unique<SqliteUnderTest>();
                         })));
INSTANTIATE_TEST_SUITE_P(Fake, RegistrationStoreContract, testing::Values(StoreMaker([] {
                           return std::make_unique<FakeUnderTest>();
                         })));

}  // namespace
}  // namespace smartkey
