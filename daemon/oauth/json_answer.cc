// SPDX-License-Identifier: Apache-2.0
#include "daemon/oauth/json_answer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"

namespace smartkey {

namespace {

using nlohmann::json;

// The depth is bounded by ParseJson. Member names stay: they are the protocol's, not secrets.
void Wipe(json& value) {
  if (value.is_string()) {
    WipeString(value.get_ref<std::string&>());
  } else if (value.is_structured()) {
    for (json& element : value) Wipe(element);
  }
}

}  // namespace

bool IsHtml(const HttpResponse& response) {
  return response.content_type == "text/html" || response.content_type == "application/xhtml+xml";
}

absl::StatusOr<JsonAnswer> JsonAnswer::Read(const HttpResponse& response,
                                            std::initializer_list<absl::string_view> media_types) {
  if (IsHtml(response)) {
    return MakeError(Reason::kIntercepted,
                     "a web page came instead of json: something answered in the server's place");
  }
  if (std::find(media_types.begin(), media_types.end(), response.content_type) ==
      media_types.end()) {
    return MakeError(
        Reason::kBadServerAnswer,
        response.content_type.empty()
            ? "the answer has no content type"
            : absl::StrCat("the answer is ", Printable(response.content_type, 60), ", not json"));
  }
  absl::StatusOr<json> parsed = ParseJson(response.body.RevealSecret());
  if (!parsed.ok()) {
    return MakeError(Reason::kBadServerAnswer,
                     absl::StrCat("the answer cannot be read: ", parsed.status().message()));
  }
  JsonAnswer answer(*std::move(parsed));
  if (!answer.object_.is_object()) {
    return MakeError(Reason::kBadServerAnswer, "the answer is json, but not an object");
  }
  return answer;
}

JsonAnswer::JsonAnswer(JsonAnswer&& other) noexcept
    : object_(std::exchange(other.object_, json())) {}

JsonAnswer& JsonAnswer::operator=(JsonAnswer&& other) noexcept {
  if (this == &other) return *this;
  Wipe(object_);
  object_ = std::exchange(other.object_, json());
  return *this;
}

JsonAnswer::~JsonAnswer() {
  Wipe(object_);
}

const json* JsonAnswer::Find(absl::string_view name) const {
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

Secret JsonAnswer::TakeSecret(absl::string_view name) {
  const auto found = object_.find(std::string(name));
  if (found == object_.end() || !found->is_string()) return Secret();
  return Secret(std::move(found->get_ref<std::string&>()));
}

}  // namespace smartkey
