// SPDX-License-Identifier: Apache-2.0
// The API says what it means: every element has a comment, and the enums of errors are the same
// here and in base/error.h.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "smartkey/v1/error.pb.h"
#include "tests/proto/api_list.h"

namespace smartkey {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;

// What is installed as smartkey.protoset, read back.
class Protoset : public testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("SMARTKEY_PROTOSET");
    ASSERT_NE(path, nullptr) << "SMARTKEY_PROTOSET must name the descriptor set; run through ctest";
    std::ifstream file(path, std::ios::binary);
    FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromIstream(&file)) << path;
    for (const FileDescriptorProto& proto : set.file()) {
      const FileDescriptor* built = pool_.BuildFile(proto);
      ASSERT_NE(built, nullptr) << proto.name() << ": an import is missing from the set";
      if (proto.package() == "smartkey.v1" || proto.package() == "google.rpc") {
        files_.push_back(built);
      }
    }
    ASSERT_FALSE(files_.empty());
  }

  DescriptorPool pool_;
  std::vector<const FileDescriptor*> files_;
};

template <typename Element>
void ExpectComment(const Element& element) {
  SourceLocation location;
  ASSERT_TRUE(element.GetSourceLocation(&location)) << element.full_name();
  EXPECT_FALSE(location.leading_comments.empty()) << element.full_name() << " has no comment";
}

void ExpectComments(const EnumDescriptor& type) {
  ExpectComment(type);
  for (int i = 0; i < type.value_count(); ++i) ExpectComment(*type.value(i));
}

void ExpectComments(const Descriptor& type) {
  if (type.options().map_entry()) return;
  ExpectComment(type);
  for (int i = 0; i < type.field_count(); ++i) ExpectComment(*type.field(i));
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) ExpectComment(*type.oneof_decl(i));
  for (int i = 0; i < type.nested_type_count(); ++i) ExpectComments(*type.nested_type(i));
  for (int i = 0; i < type.enum_type_count(); ++i) ExpectComments(*type.enum_type(i));
}

void ExpectComments(const ServiceDescriptor& service) {
  ExpectComment(service);
  for (int i = 0; i < service.method_count(); ++i) ExpectComment(*service.method(i));
}

TEST_F(Protoset, EveryElementHasAComment) {
  for (const FileDescriptor* file : files_) {
    for (int i = 0; i < file->message_type_count(); ++i) ExpectComments(*file->message_type(i));
    for (int i = 0; i < file->enum_type_count(); ++i) ExpectComments(*file->enum_type(i));
    for (int i = 0; i < file->service_count(); ++i) ExpectComments(*file->service(i));
  }
}

TEST_F(Protoset, HasEveryServiceWithItsMethods) {
  std::map<std::string, std::set<std::string>> methods;
  for (const FileDescriptor* file : files_) {
    for (int i = 0; i < file->service_count(); ++i) {
      const ServiceDescriptor* service = file->service(i);
      for (int k = 0; k < service->method_count(); ++k) {
        methods[service->name()].insert(service->method(k)->name());
      }
    }
  }
  const std::map<std::string, std::set<std::string>> expected = {
      {"EnrollmentService",
       {"BeginEnrollment", "CompleteEnrollment", "CancelEnrollment", "WatchEnrollment",
        "EnrollWithInitialToken"}},
      {"RegistrationService",
       {"ReadAuditLog", "ListRegistrations", "GetRegistration", "UpdateRegistration",
        "DeleteRegistration", "WatchRegistrations", "RotateKey", "GetKeyAttestation",
        "SuspendRegistrations", "ResumeRegistrations"}},
      {"SharingService",
       {"ShareRegistration", "UnshareRegistration", "RequestAccess", "ListAccessRequests",
        "ResolveAccessRequest", "ExplainAccess"}},
      {"TokenService", {"GetAccessToken", "WatchAccessToken", "ReportRejectedToken"}},
      {"SigningService", {"SignClientAssertion", "SignJwt", "SignDpopProof", "GetJwks"}},
      {"AdminService",
       {"GetMetrics", "GetStatus", "ListStoredKeys", "RemoveStrayKeys", "RunDiagnostics",
        "ReadAuditLog", "ReloadConfiguration", "SetLogLevel", "ProvisionTpm", "RecoverStore",
        "ResetStore", "AdoptStore"}},
      {"ServerInfoService", {"GetServerInfo", "ListServers", "ListApps"}},
  };
  EXPECT_EQ(methods, expected);
}

TEST(ErrorProto, ReasonsAreThoseOfTheTable) {
  const EnumDescriptor& type = *v1::ErrorDetail::Reason_descriptor();
  EXPECT_EQ(type.value_count(), static_cast<int>(AllReasons().size()) + 1);
  EXPECT_EQ(type.value(0)->name(), "REASON_UNSPECIFIED");
  EXPECT_EQ(type.value(0)->number(), static_cast<int>(Reason::kUnspecified));
  for (const ReasonRow& row : AllReasons()) {
    const auto* value = type.FindValueByName(std::string(row.name));
    ASSERT_NE(value, nullptr) << row.name;
    EXPECT_EQ(value->number(), static_cast<int>(row.reason)) << row.name;
  }
}

TEST(ErrorProto, UserActionsAreThoseOfTheTable) {
  const EnumDescriptor& type = *v1::ErrorDetail::UserAction_descriptor();
  EXPECT_EQ(type.value_count(), static_cast<int>(AllUserActions().size()));
  for (const UserActionRow& row : AllUserActions()) {
    const auto* value = type.FindValueByName(std::string(row.name));
    ASSERT_NE(value, nullptr) << row.name;
    EXPECT_EQ(value->number(), static_cast<int>(row.action)) << row.name;
  }
}

// What gRPC libraries of other languages look for.
TEST(ErrorProto, DetailTravelsInTheStatusThatEveryGrpcLibraryKnows) {
  v1::ErrorDetail detail;
  detail.set_reason(v1::ErrorDetail::NO_NETWORK);
  google::rpc::Status status;
  status.set_code(14);
  status.set_message("m");
  status.add_details()->PackFrom(detail);
  EXPECT_EQ(status.details(0).type_url(), "type.googleapis.com/smartkey.v1.ErrorDetail");
  EXPECT_EQ(status.SerializeAsString().substr(0, 5), std::string("\x08\x0e\x12\x01m"));
}

// What a release had stays: fields keep number and type, values their number, methods their
// messages. The lists are what ApiList gave for the release.
TEST_F(Protoset, ApiOfEarlierReleases_IsStillThere) {
  const char* fixtures = std::getenv("SMARTKEY_FIXTURES");
  ASSERT_NE(fixtures, nullptr) << "run through ctest";
  std::set<std::string> now;
  for (const FileDescriptor* file : files_) now.merge(ApiList::Of(*file));
  int releases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(fixtures)) {
    std::ifstream list(entry.path() / "api.txt");
    if (!list) continue;
    ++releases;
    for (std::string line; std::getline(list, line);) {
      EXPECT_EQ(now.count(line), 1u) << entry.path().filename() << ": " << line;
    }
  }
  EXPECT_GE(releases, 1);
}

}  // namespace
}  // namespace smartkey
