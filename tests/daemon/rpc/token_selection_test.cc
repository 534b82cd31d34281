// SPDX-License-Identifier: Apache-2.0
// Which registration an app's request means, where others share theirs with its user.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/access/principal.h"
#include "tests/daemon/rpc/services_fixture.h"

namespace smartkey {
namespace {

class TokenSelection : public Services {
 protected:
  void ShareWithBob(const std::string& id) {
    Change(id, [this](Registration& registration) {
      Share share = ShareFor(bob_);
      share.id = absl::StrCat("share-of-", registration.id);
      share.operations = {"token"};
      EXPECT_TRUE(PutShare(registration, share).ok());
    });
  }

  void Change(const std::string& id, std::function<void(Registration&)> change) {
    store_.Update(
        id,
        [&](Registration& registration) {
          change(registration);
          return absl::OkStatus();
        },
        [](absl::StatusOr<RegistrationStore::Snapshot> updated) { EXPECT_TRUE(updated.ok()); });
  }

  // The registration whose token Bob's app is given, or the reason why none.
  std::string Given(Client& client, const v1::GetAccessTokenRequest& request) {
    grpc::ClientContext context;
    v1::GetAccessTokenResponse response;
    const grpc::Status status =
        v1::TokenService::NewStub(client.channel)->GetAccessToken(&context, request, &response);
    return status.ok() ? response.registration()
                       : v1::ErrorDetail::Reason_Name(DetailOf(status).reason());
  }

  std::string ByContext(Client& client, const std::string& patient = "") {
    v1::GetAccessTokenRequest request;
    request.mutable_context()->set_app("org.example.viewer");
    request.mutable_context()->set_fhir_base("https://ehr.example/fhir");
    request.mutable_context()->set_patient(patient);
    return Given(client, request);
  }

  std::string ByName(Client& client, const std::string& name) {
    v1::GetAccessTokenRequest request;
    request.set_registration(name);
    return Given(client, request);
  }
};

TEST_F(TokenSelection, SharedUnasked_ContextGoesOnMeaningHisOwn) {
  const std::string alices = AddRegistration("mercy");
  auto client = Connect(bob_);
  EXPECT_EQ(ByContext(*client), "REGISTRATION_NOT_FOUND");
  ShareWithBob(alices);
  EXPECT_EQ(ByContext(*client), alices);  // he has none himself
  const std::string bobs = AddRegistration("mercy", 1001, "bob");
  EXPECT_EQ(ByContext(*client), bobs);
  EXPECT_EQ(ByContext(*client, "patient-1"), bobs);
}

TEST_F(TokenSelection, HisOwnNeverWorked_TheSharedOneDoesNotTakeItsPlace) {
  const std::string bobs = AddRegistration("mercy", 1001, "bob");
  Change(bobs, [](Registration& registration) {
    registration.generations[0].state = GenerationState::kVerifying;
    registration.generations[0].first_token_at = absl::InfinitePast();
  });
  ShareWithBob(AddRegistration("mercy"));
  auto client = Connect(bob_);
  EXPECT_EQ(ByContext(*client), "NOT_READY");
}

TEST_F(TokenSelection, HisOwnIsPrivate_HeIsToldSoAndNotGivenTheSharedOne) {
  const std::string bobs = AddRegistration("mercy", 1001, "bob");
  Change(bobs, [](Registration& registration) { registration.shares_only = true; });
  ShareWithBob(AddRegistration("mercy"));
  auto client = Connect(bob_);
  EXPECT_EQ(ByContext(*client), "NOT_PERMITTED");
}

TEST_F(TokenSelection, TwoOfHisOwn_AreAmbiguousWhateverIsShared) {
  AddRegistration("mercy", 1001, "bob");
  const std::string second = AddRegistration("mercy-2", 1001, "bob");
  ShareWithBob(AddRegistration("mercy"));
  auto client = Connect(bob_);
  EXPECT_EQ(ByContext(*client), "REGISTRATION_AMBIGUOUS");
  EXPECT_EQ(ByName(*client, "mercy-2"), second);
}

// Looking through others' registrations costs something, and is counted; what is his own does not.
TEST_F(TokenSelection, AskedForWithoutEnd_OwnAndIdsAreNotCountedAndOthersNamesAre) {
  const std::string alices = AddRegistration("clinic");
  const std::string hidden = AddRegistration("hidden");
  const std::string bobs = AddRegistration("mercy", 1001, "bob");
  ShareWithBob(alices);
  auto client = Connect(bob_);
  int refused_by_id = 0;
  int refused_by_name = 0;
  // Until the budget is used up, by a name that is none and by an id that is another's alike.
  for (int i = 0; i < 2'000 && (refused_by_id == 0 || refused_by_name == 0); ++i) {
    refused_by_id += ByName(*client, hidden) == "RATE_LIMITED";
    refused_by_name += ByName(*client, "no-such") == "RATE_LIMITED";
  }
  EXPECT_GT(refused_by_id, 0);
  EXPECT_GT(refused_by_name, 0);
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(ByName(*client, "mercy"), bobs);
    ASSERT_EQ(ByName(*client, alices), alices);
    ASSERT_EQ(ByContext(*client), bobs);
  }
}

TEST_F(TokenSelection, RequestsThatStayOpen_AreShort) {
  AddRegistration("mercy");
  auto client = Connect(alice_);
  v1::GetAccessTokenRequest request;
  request.set_registration("mercy");
  for (int i = 0; i < 65; ++i) request.add_scopes(absl::StrCat("patient/Type", i, ".rs"));
  EXPECT_EQ(Given(*client, request), "INVALID_ARGUMENT");
  request.clear_scopes();
  request.add_scopes(std::string(257, 's'));
  EXPECT_EQ(Given(*client, request), "INVALID_ARGUMENT");
  request.clear_scopes();
  // What this version does not know is kept with the request as well.
  request.GetReflection()->MutableUnknownFields(&request)->AddLengthDelimited(
      1000, std::string(21 * 1024, 'x'));
  EXPECT_EQ(Given(*client, request), "INVALID_ARGUMENT");

  grpc::ClientContext context;
  v1::WatchRegistrationsRequest watch;
  watch.mutable_filter()->set_app(std::string(21 * 1024, 'x'));
  auto reader =
      v1::RegistrationService::NewStub(client->channel)->WatchRegistrations(&context, watch);
  v1::WatchRegistrationsResponse event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(DetailOf(reader->Finish()).reason(), v1::ErrorDetail::INVALID_ARGUMENT);
}

TEST_F(TokenSelection, RenamedByAGrantee_TheNamesOfTheOwnersOthersAreNotTold) {
  const std::string id = AddRegistration("clinic");
  AddRegistration("secret");
  Change(id, [this](Registration& registration) {
    Share share = ShareFor(bob_);
    share.id = "share-1";
    share.operations = {"manage"};
    EXPECT_TRUE(PutShare(registration, share).ok());
  });
  auto client = Connect(bob_);
  const auto rename = [&](const std::string& name) {
    grpc::ClientContext context;
    v1::UpdateRegistrationRequest request;
    v1::UpdateRegistrationResponse response;
    request.set_registration(id);
    request.set_name(name);
    return DetailOf(v1::RegistrationService::NewStub(client->channel)
                        ->UpdateRegistration(&context, request, &response))
        .reason();
  };
  EXPECT_EQ(rename("secret"), v1::ErrorDetail::NOT_PERMITTED);
  EXPECT_EQ(rename("free"), v1::ErrorDetail::NOT_PERMITTED);
}

}  // namespace
}  // namespace smartkey
