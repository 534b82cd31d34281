// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/catalog.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace smartkey {
namespace {

Server MakeServer(std::string name, std::string fhir_base) {
  Server server;
  server.name = std::move(name);
  server.fhir_base = std::move(fhir_base);
  return server;
}

Registration At(std::string server_name, std::string fhir_base) {
  Registration registration;
  registration.server_name = std::move(server_name);
  registration.fhir_base = std::move(fhir_base);
  return registration;
}

TEST(CatalogFindServerOf, ServerWasRenamed_IsFoundByItsFhirBase) {
  const Catalog catalog{{}, {MakeServer("mercy-hospital", "https://ehr.example/fhir")}};
  const Server* server = catalog.FindServerOf(At("mercy", "https://ehr.example/fhir"));
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->name, "mercy-hospital");
}

TEST(CatalogFindServerOf, TwoServersHaveSwappedTheirNames_TheFhirBaseDecides) {
  const Catalog catalog{
      {}, {MakeServer("a", "https://b.example/fhir"), MakeServer("b", "https://a.example/fhir")}};
  EXPECT_EQ(catalog.FindServerOf(At("a", "https://a.example/fhir"))->name, "b");
}

TEST(CatalogFindServerOf, FhirBaseWasChanged_IsFoundByItsName) {
  const Catalog catalog{{}, {MakeServer("mercy", "https://new.example/fhir")}};
  EXPECT_NE(catalog.FindServerOf(At("mercy", "https://old.example/fhir")), nullptr);
}

TEST(CatalogFindServerOf, NeitherNameNorFhirBaseIsThere_IsRemoved) {
  const Catalog catalog{{}, {MakeServer("other", "https://other.example/fhir")}};
  const Registration registration = At("mercy", "https://ehr.example/fhir");
  EXPECT_EQ(catalog.FindServerOf(registration), nullptr);
  EXPECT_EQ(ReasonOf(catalog.CheckServerOf(registration)), Reason::kServerRemoved);
}

}  // namespace
}  // namespace smartkey
