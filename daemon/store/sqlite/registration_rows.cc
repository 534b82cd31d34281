// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/registration_rows.h"

#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

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

using SuspensionColumns = std::array<const char*, 5>;
constexpr SuspensionColumns kSuspensionColumns = {"suspended_by_uid", "suspended_by_name",
                                                  "suspended_by_admin", "suspended_why",
                                                  "suspended_since"};

// The columns of each table, each named once with its field. `Visitor` is one of the three classes
// below; `Row` is const when the row is written.
template <typename Visitor, typename Row>
void VisitRegistration(Visitor& column, Row& r) {
  column("id", r.id);
  column("kind", r.kind);
  column("owner_uid", r.owner_uid);
  column("owner_name", r.owner_name);
  column("app_id", r.app_id);
  column("server_name", r.server_name);
  column("fhir_base", r.fhir_base);
  column("ca_file", r.ca_file);
  column("allow_loopback_http", r.allow_loopback_http);
  column("name", r.name);
  column("label", r.label);
  column("patient", r.patient);
  column("fhir_user", r.fhir_user);
  column("context_varies", r.context_varies);
  column("created_at", r.created_at);
  column("earlier_lifetimes", r.earlier_lifetimes);
  column(kSuspensionColumns, r.suspension);
}

template <typename Visitor, typename Row>
void VisitGeneration(Visitor& column, Row& g) {
  column("number", g.number);
  column("state", g.state);
  column("enrollment_id", g.enrollment_id);
  column("request_id", g.request_id);
  column("key_provider", g.key.provider);
  column("key_blob", Blob{g.key.blob});
  column("algorithm", g.algorithm);
  column("key_type", g.public_key.type);
  column("key_x", Blob{g.public_key.x});
  column("key_y", Blob{g.public_key.y});
  column("key_n", Blob{g.public_key.n});
  column("key_e", Blob{g.public_key.e});
  column("key_attributes", g.key_attributes);
  column("key_public_area", Blob{g.key_public_area});
  column("thumbprint", g.thumbprint);
  column("initial_client_id", g.initial_client_id);
  column("software_id", g.software_id);
  column("client_id", g.client_id);
  column("requires_client_authentication", g.requires_client_authentication);
  column("token_endpoint", g.token_endpoint);
  column("registration_endpoint", g.registration_endpoint);
  column("revocation_endpoint", g.revocation_endpoint);
  column("management_endpoint", g.management_endpoint);
  column("assertion_audience", g.assertion_audience);
  column("granted_scope", g.granted_scope);
  column("created_at", g.created_at);
  column("registered_at", g.registered_at);
  column("first_token_at", g.first_token_at);
  column("last_token_at", g.last_token_at);
  column("refusals", g.refusals);
  column("first_refusal_at", g.first_refusal_at);
  column("last_refusal_at", g.last_refusal_at);
  column("access_for", g.access_for);
  column("ended_at", g.ended_at);
  column("patient", g.patient);
  column("fhir_user", g.fhir_user);
  column("last_error", g.last_error);
}

template <typename Visitor, typename Row>
void VisitShare(Visitor& column, Row& s) {
  column("id", s.id);
  column("principal", s.principal);
  column("uid", s.uid);
  column("gid", s.gid);
  column("unit", s.unit);
  column("scopes", s.scopes);
  column("operations", s.operations);
  column("created_at", s.created_at);
  column("ends_at", EndTime{s.ends_at});
  column("created_by", s.created_by);
}

absl::string_view KeyTypeName(KeyType type) {
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

std::vector<std::string> RegistrationColumns() {
  ColumnNames columns;
  Registration none;
  VisitRegistration(columns, none);
  return columns.names();
}

std::vector<std::string> GenerationColumns() {
  ColumnNames columns;
  Generation none;
  VisitGeneration(columns, none);
  return columns.names();
}

std::vector<std::string> ShareColumns() {
  ColumnNames columns;
  Share none;
  VisitShare(columns, none);
  return columns.names();
}

// "INSERT INTO table (extra..., columns...) VALUES (?, ...)"
std::string InsertSql(absl::string_view table, std::vector<std::string> columns,
                      const std::vector<std::string>& extra = {}) {
  columns.insert(columns.begin(), extra.begin(), extra.end());
  return absl::StrCat("INSERT INTO ", table, " (", absl::StrJoin(columns, ", "), ") VALUES (",
                      absl::StrJoin(std::vector<std::string>(columns.size(), "?"), ", "), ")");
}

absl::StatusOr<std::map<std::string, Registration>> ReadRegistrationRows(SqliteConnection& db) {
  absl::StatusOr<SqliteStatement> rows = db.Prepare(
      absl::StrCat("SELECT ", absl::StrJoin(RegistrationColumns(), ", "), " FROM registrations"));
  if (!rows.ok()) return rows.status();
  std::map<std::string, Registration> by_id;
  for (;;) {
    absl::StatusOr<bool> row = rows->Step();
    if (!row.ok()) return row.status();
    if (!*row) return by_id;
    Registration registration;
    ColumnReader reader(*rows);
    VisitRegistration(reader, registration);
    if (!reader.status().ok()) return reader.status();
    by_id[registration.id] = std::move(registration);
  }
}

// Reads rows that belong to a registration: `sql` selects registration_id first, then what `read`
// takes.
template <typename Read>
absl::Status ReadChildRows(SqliteConnection& db, const std::string& sql,
                           std::map<std::string, Registration>& by_id, Read read) {
  absl::StatusOr<SqliteStatement> rows = db.Prepare(sql);
  if (!rows.ok()) return rows.status();
  for (;;) {
    absl::StatusOr<bool> row = rows->Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    const auto parent = by_id.find(rows->NextBytes());
    if (parent == by_id.end()) return DamagedDatabase("a row belongs to no registration");
    ColumnReader reader(*rows);
    read(reader, parent->second);
    if (!reader.status().ok()) return reader.status();
  }
}

}  // namespace

absl::StatusOr<std::vector<Registration>> ReadRegistrations(SqliteConnection& db) {
  absl::StatusOr<std::map<std::string, Registration>> by_id = ReadRegistrationRows(db);
  if (!by_id.ok()) return by_id.status();

  absl::Status status = ReadChildRows(
      db,
      absl::StrCat("SELECT registration_id, ", absl::StrJoin(GenerationColumns(), ", "),
                   " FROM generations ORDER BY registration_id, number"),
      *by_id, [](ColumnReader& reader, Registration& parent) {
        VisitGeneration(reader, parent.generations.emplace_back());
      });
  if (!status.ok()) return status;
  status =
      ReadChildRows(db,
                    absl::StrCat("SELECT registration_id, ", absl::StrJoin(ShareColumns(), ", "),
                                 " FROM shares ORDER BY registration_id, position"),
                    *by_id, [](ColumnReader& reader, Registration& parent) {
                      VisitShare(reader, parent.shares.emplace_back());
                    });
  if (!status.ok()) return status;

  std::vector<Registration> all;
  for (auto& [id, registration] : *by_id) {
    if (registration.generations.empty()) {
      return DamagedDatabase("a registration has no generation");
    }
    all.push_back(std::move(registration));
  }
  return all;
}

absl::Status WriteRegistration(SqliteConnection& db, const Registration& registration) {
  if (absl::Status status = DeleteRegistration(db, registration.id); !status.ok()) return status;

  absl::StatusOr<SqliteStatement> insert =
      db.Prepare(InsertSql("registrations", RegistrationColumns()));
  if (!insert.ok()) return insert.status();
  ColumnWriter writer(*insert);
  VisitRegistration(writer, registration);
  if (absl::Status status = insert->Run(); !status.ok()) return status;

  for (const Generation& generation : registration.generations) {
    insert = db.Prepare(InsertSql("generations", GenerationColumns(), {"registration_id"}));
    if (!insert.ok()) return insert.status();
    insert->BindText(registration.id);
    ColumnWriter generation_writer(*insert);
    VisitGeneration(generation_writer, generation);
    if (absl::Status status = insert->Run(); !status.ok()) return status;
  }
  for (size_t i = 0; i < registration.shares.size(); ++i) {
    insert = db.Prepare(InsertSql("shares", ShareColumns(), {"registration_id", "position"}));
    if (!insert.ok()) return insert.status();
    insert->BindText(registration.id);
    insert->BindInt(static_cast<int64_t>(i));
    ColumnWriter share_writer(*insert);
    VisitShare(share_writer, registration.shares[i]);
    if (absl::Status status = insert->Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status DeleteRegistration(SqliteConnection& db, const std::string& id) {
  // Generations and shares go with it (ON DELETE CASCADE).
  absl::StatusOr<SqliteStatement> statement = db.Prepare("DELETE FROM registrations WHERE id = ?");
  if (!statement.ok()) return statement.status();
  statement->BindText(id);
  return statement->Run();
}

}  // namespace smartkey
