// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/secret.h"
#include "daemon/http/http_client.h"
#include "nlohmann/json.hpp"

namespace smartkey {

// The JSON object in a server's answer. All its strings are wiped when it goes, wanted or not: an
// answer may hold refresh tokens and client secrets that nobody asked for. Move-only; not
// thread-safe.
class JsonAnswer {
 public:
  // Checks the media type before the body (docs/protocol.md, "transport and HTTP"): what parses but
  // is not declared as JSON was not meant as an answer. Errors: kIntercepted (HTML: something
  // answered in the server's place), kBadServerAnswer.
  static absl::StatusOr<JsonAnswer> Read(const HttpResponse& response,
                                         std::initializer_list<absl::string_view> media_types = {
                                             "application/json"});

  JsonAnswer(JsonAnswer&& other) noexcept;
  JsonAnswer& operator=(JsonAnswer&& other) noexcept;
  ~JsonAnswer();

  const nlohmann::json& object() const { return object_; }

  // Null when the member is absent or null, which servers use alike.
  const nlohmann::json* Find(absl::string_view name) const;

  // The member's text, taken out and wiped; empty if it is not a string.
  Secret TakeSecret(absl::string_view name);

 private:
  explicit JsonAnswer(nlohmann::json object) : object_(std::move(object)) {}

  nlohmann::json object_;
};

// True for the media types of a page for people.
bool IsHtml(const HttpResponse& response);

}  // namespace smartkey
