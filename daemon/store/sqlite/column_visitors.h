// SPDX-License-Identifier: Apache-2.0
#pragma once

// How a field of each type is kept in a column. A visitor is called with the columns of a table and
// the fields of one row, in the same order: one collects the names, one writes, one reads. Which
// columns there are says registration_rows.cc, the only file that includes this one.

#include <array>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/json.h"
#include "daemon/model/registration.h"
#include "daemon/store/sqlite/sqlite_connection.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {

// Marks bytes that are not text, and a time whose NULL means for ever.
template <typename String>
struct Blob {
  String& bytes;
};
template <typename String>
Blob(String&) -> Blob<String>;
template <typename Time>
struct EndTime {
  Time& time;
};
template <typename Time>
EndTime(Time&) -> EndTime<Time>;

// What a suspension takes; NULL in the first: there is none.
using SuspensionColumns = std::array<const char*, 5>;
inline constexpr SuspensionColumns kSuspensionColumns = {"suspended_by_uid", "suspended_by_name",
                                                         "suspended_by_admin", "suspended_why",
                                                         "suspended_since"};

inline absl::string_view KeyTypeName(KeyType type) {
  switch (type) {
    case KeyType::kEcP256:
      return "P-256";
    case KeyType::kEcP384:
      return "P-384";
    case KeyType::kRsa:
      return "RSA";
  }
  return "";
}

// Collects the names of columns.
class ColumnNames {
 public:
  template <typename Field>
  void operator()(const char* name, const Field&) {
    names_.push_back(name);
  }
  void operator()(const SuspensionColumns& names, const absl::optional<Suspension>&) {
    names_.insert(names_.end(), names.begin(), names.end());
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
};

// Binds fields to the parameters of a statement.
class ColumnWriter {
 public:
  explicit ColumnWriter(SqliteStatement& statement) : statement_(statement) {}

  void operator()(const char*, bool value) { statement_.BindInt(value ? 1 : 0); }
  void operator()(const char*, int value) { statement_.BindInt(value); }
  void operator()(const char*, int64_t value) { statement_.BindInt(value); }
  void operator()(const char*, uid_t value) { statement_.BindInt(int64_t{value}); }
  void operator()(const char*, RegistrationKind value) { statement_.BindInt(int64_t(value)); }
  void operator()(const char*, GenerationState value) { statement_.BindInt(int64_t(value)); }
  void operator()(const char*, Reason value) { statement_.BindInt(int64_t(value)); }
  void operator()(const char*, SignatureAlgorithm value) {
    statement_.BindText(AlgorithmName(value));
  }
  void operator()(const char*, KeyType value) { statement_.BindText(KeyTypeName(value)); }
  void operator()(const char*, const std::string& value) { statement_.BindText(value); }
  void operator()(const char*, Blob<const std::string> value) { statement_.BindBlob(value.bytes); }
  void operator()(const char*, const Identifying& value) {
    statement_.BindText(value.RevealIdentifying());
  }
  void operator()(const char*, absl::Time value) {
    if (value == absl::InfinitePast()) return statement_.BindNull();
    statement_.BindInt(absl::ToUnixMillis(value));
  }
  void operator()(const char*, EndTime<const absl::Time> value) {
    if (value.time == absl::InfiniteFuture()) return statement_.BindNull();
    statement_.BindInt(absl::ToUnixMillis(value.time));
  }
  void operator()(const char*, absl::Duration value) {
    statement_.BindInt(absl::ToInt64Seconds(value));
  }
  void operator()(const char*, const std::vector<absl::Duration>& value) {
    nlohmann::json list = nlohmann::json::array();
    for (const absl::Duration one : value) list.push_back(absl::ToInt64Seconds(one));
    statement_.BindText(ToJsonText(list));
  }
  void operator()(const char*, const std::vector<std::string>& value) {
    statement_.BindText(ToJsonText(nlohmann::json(value)));
  }
  void operator()(const char*, const std::vector<KeyAttribute>& value) {
    nlohmann::json list = nlohmann::json::array();
    for (const KeyAttribute& attribute : value) {
      list.push_back({{"name", attribute.name}, {"value", attribute.value}});
    }
    statement_.BindText(ToJsonText(list));
  }
  void operator()(const SuspensionColumns& names, const absl::optional<Suspension>& value) {
    if (!value) {
      for (size_t i = 0; i < names.size(); ++i) statement_.BindNull();
      return;
    }
    statement_.BindInt(int64_t{value->by_uid});
    statement_.BindText(value->by_name);
    statement_.BindInt(value->by_administrator ? 1 : 0);
    statement_.BindText(value->why);
    (*this)("", value->since);
  }

 private:
  SqliteStatement& statement_;
};

// Reads fields from the columns of a row.
class ColumnReader {
 public:
  explicit ColumnReader(SqliteStatement& statement) : statement_(statement) {}

  // What was wrong first, if anything.
  const absl::Status& status() const { return status_; }

  void operator()(const char*, bool& value) { value = statement_.NextInt() != 0; }
  void operator()(const char*, int& value) { value = static_cast<int>(statement_.NextInt()); }
  void operator()(const char*, int64_t& value) { value = statement_.NextInt(); }
  void operator()(const char*, uid_t& value) { value = static_cast<uid_t>(statement_.NextInt()); }
  void operator()(const char* name, RegistrationKind& value) {
    value = static_cast<RegistrationKind>(NextNumber(name, 1, 3));
  }
  void operator()(const char* name, GenerationState& value) {
    value =
        static_cast<GenerationState>(NextNumber(name, static_cast<int>(GenerationState::kPending),
                                                static_cast<int>(GenerationState::kDeleting)));
  }
  void operator()(const char*, Reason& value) {
    // Shown only; an unknown number is no reason to refuse the database.
    value = ReasonFromNumber(static_cast<int>(statement_.NextInt())).value_or(Reason::kUnspecified);
  }
  void operator()(const char* name, SignatureAlgorithm& value) {
    const absl::optional<SignatureAlgorithm> read = AlgorithmFromName(statement_.NextBytes());
    if (!read) return Damaged(name);
    value = *read;
  }
  void operator()(const char* name, KeyType& value) {
    const std::string read = statement_.NextBytes();
    for (const KeyType type : {KeyType::kEcP256, KeyType::kEcP384, KeyType::kRsa}) {
      if (KeyTypeName(type) != read) continue;
      value = type;
      return;
    }
    Damaged(name);
  }
  void operator()(const char*, std::string& value) { value = statement_.NextBytes(); }
  void operator()(const char*, Blob<std::string> value) { value.bytes = statement_.NextBytes(); }
  void operator()(const char*, Identifying& value) { value = Identifying(statement_.NextBytes()); }
  void operator()(const char*, absl::Time& value) { value = NextTime(absl::InfinitePast()); }
  void operator()(const char*, EndTime<absl::Time> value) {
    value.time = NextTime(absl::InfiniteFuture());
  }
  void operator()(const char*, absl::Duration& value) {
    value = absl::Seconds(statement_.NextInt());
  }
  void operator()(const char* name, std::vector<absl::Duration>& value) {
    const nlohmann::json list = NextList(name);
    for (const nlohmann::json& item : list) {
      if (!item.is_number_integer()) return Damaged(name);
      value.push_back(absl::Seconds(item.get<int64_t>()));
    }
  }
  void operator()(const char* name, std::vector<std::string>& value) {
    const nlohmann::json list = NextList(name);
    for (const nlohmann::json& item : list) {
      if (!item.is_string()) return Damaged(name);
      value.push_back(item.get<std::string>());
    }
  }
  void operator()(const char* name, std::vector<KeyAttribute>& value) {
    const nlohmann::json list = NextList(name);
    for (const nlohmann::json& item : list) {
      const absl::optional<std::string> attribute = FindString(item, "name");
      if (!attribute || !item.contains("value") || !item["value"].is_boolean())
        return Damaged(name);
      value.push_back({*attribute, item["value"].get<bool>()});
    }
  }
  void operator()(const SuspensionColumns& names, absl::optional<Suspension>& value) {
    if (statement_.NextIsNull()) {
      for (size_t i = 0; i < names.size(); ++i) statement_.SkipNext();
      return;
    }
    value.emplace();
    value->by_uid = static_cast<uid_t>(statement_.NextInt());
    value->by_name = statement_.NextBytes();
    value->by_administrator = statement_.NextInt() != 0;
    value->why = statement_.NextBytes();
    value->since = NextTime(absl::InfinitePast());
  }

 private:
  void Damaged(const char* column) {
    if (status_.ok()) status_ = DamagedDatabase(absl::StrCat("a value of ", column, " is unknown"));
  }
  int NextNumber(const char* column, int least, int most) {
    const int64_t number = statement_.NextInt();
    if (number >= least && number <= most) return static_cast<int>(number);
    Damaged(column);
    return least;
  }
  absl::Time NextTime(absl::Time if_null) {
    if (!statement_.NextIsNull()) return absl::FromUnixMillis(statement_.NextInt());
    statement_.SkipNext();
    return if_null;
  }
  nlohmann::json NextList(const char* column) {
    absl::StatusOr<nlohmann::json> list = ParseJson(statement_.NextBytes());
    if (list.ok() && list->is_array()) return *std::move(list);
    Damaged(column);
    return nlohmann::json::array();
  }

  SqliteStatement& statement_;
  absl::Status status_;
};

}  // namespace smartkey
