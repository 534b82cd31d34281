// SPDX-License-Identifier: Apache-2.0
#include "hsm/tpm/saved_objects.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "hsm/tpm/tpm_key_template.h"
#include "tests/support/swtpm.h"

namespace smartkey {
namespace {

class SavedObjectsTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Swtpm>> tpm = Swtpm::Start();
    ASSERT_TRUE(tpm.ok()) << tpm.status();
    tpm_ = *std::move(tpm);
    absl::StatusOr<std::unique_ptr<EsysContext>> context = EsysContext::Create(tpm_->tcti());
    ASSERT_TRUE(context.ok()) << context.status();
    context_ = *std::move(context);
  }

  EsysObject MakePrimary() {
    const TPM2B_SENSITIVE_CREATE sensitive = {};
    const TPM2B_PUBLIC area = StorageRootTemplate();
    const TPM2B_DATA outside = {};
    const TPML_PCR_SELECTION pcrs = {};
    ESYS_TR handle = ESYS_TR_NONE;
    EXPECT_EQ(Esys_CreatePrimary(context_->get(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &sensitive, &area, &outside, &pcrs, &handle, nullptr,
                                 nullptr, nullptr, nullptr),
              TSS2_RC_SUCCESS);
    return EsysObject::Transient(*context_, handle);
  }
  UINT32 Loaded() { return context_->ListHandles(TPM2_TRANSIENT_FIRST).value().count; }

  std::unique_ptr<Swtpm> tpm_;
  std::unique_ptr<EsysContext> context_;
  SavedObjects saved_{2};
};

TEST_F(SavedObjectsTest, SavedObject_IsLoadedAgainWithoutTheFirst) {
  std::string name;
  {
    const EsysObject object = MakePrimary();
    name = object.Name().value();
    saved_.Save(*context_, "a", object);
  }
  EXPECT_EQ(Loaded(), 0u);
  {
    const absl::optional<EsysObject> again = saved_.Load(*context_, "a");
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->Name().value(), name);
    EXPECT_EQ(Loaded(), 1u);
  }
  EXPECT_EQ(Loaded(), 0u);
  EXPECT_TRUE(saved_.Load(*context_, "a").has_value()) << "as often as one likes";
}

TEST_F(SavedObjectsTest, OtherNameOrForgotten_IsAbsent) {
  saved_.Save(*context_, "a", MakePrimary());
  EXPECT_FALSE(saved_.Load(*context_, "b").has_value());
  saved_.Forget("a");
  EXPECT_FALSE(saved_.Load(*context_, "a").has_value());
}

TEST_F(SavedObjectsTest, TpmWasReset_IsAbsentAndForgotten) {
  saved_.Save(*context_, "a", MakePrimary());
  ASSERT_TRUE(tpm_->Restart().ok());
  EXPECT_FALSE(saved_.Load(*context_, "a").has_value());
  EXPECT_FALSE(saved_.Has("a"));
}

TEST_F(SavedObjectsTest, MoreThanFit_StartsOver) {
  for (const char* name : {"a", "b", "c"}) saved_.Save(*context_, name, MakePrimary());
  EXPECT_FALSE(saved_.Has("a"));
  EXPECT_FALSE(saved_.Has("b"));
  EXPECT_TRUE(saved_.Has("c"));
}

}  // namespace
}  // namespace smartkey
