// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace smartkey {

namespace {

using nlohmann::json;

// Looks at the events of a parse: depth and repeated names. nlohmann's own parser keeps the last of
// two members with one name without a word.
class StructureCheck : public nlohmann::json_sax<json> {
 public:
  explicit StructureCheck(int max_depth) : max_depth_(max_depth) {}

  const std::string& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(std::size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool key(string_t& name) override {
    if (names_.back().insert(name).second) return true;
    problem_ = "a member is there twice";
    return false;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem_ = absl::StrCat("not JSON at byte ", position);
    return false;
  }

 private:
  bool Enter() {
    names_.emplace_back();
    if (static_cast<int>(names_.size()) <= max_depth_) return true;
    problem_ = absl::StrCat("more than ", max_depth_, " levels deep");
    return false;
  }
  bool Leave() {
    names_.pop_back();
    return true;
  }

  const int max_depth_;
  std::vector<std::set<std::string>> names_;
  std::string problem_;
};

}  // namespace

absl::StatusOr<json> ParseJson(absl::string_view text, int max_depth) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") {
    return absl::InvalidArgumentError("starts with a byte order mark");
  }
  // nlohmann's lexer takes a NUL byte for the end of the text, whatever follows it.
  if (text.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError("holds a NUL byte");
  }
  StructureCheck check(max_depth);
  if (!json::sax_parse(text.begin(), text.end(), &check)) {
    return absl::InvalidArgumentError(check.problem());
  }
  json value = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return absl::InvalidArgumentError("not JSON");
  return value;
}

absl::optional<std::string> FindString(const json& object, absl::string_view name) {
  if (!object.is_object()) return absl::nullopt;
  const auto found = object.find(std::string(name));
  if (found == object.end() || !found->is_string()) return absl::nullopt;
  return found->get<std::string>();
}

std::string ToJsonText(const json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

}  // namespace smartkey
