// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/registration_rows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "daemon/store/sqlite/column_visitors.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

// The columns of each table, each named once with its field. `Visitor` is one of the three of
// column_visitors.h; `Row` is const when the row is written.
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
  column("shares_only", r.shares_only);
  column("resumed_at", r.resumed_at);
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
  column("accepts_new_patient", g.accepts_new_patient);
  column("last_error", g.last_error);
}

template <typename Visitor, typename Row>
void VisitShare(Visitor& column, Row& s) {
  column("id", s.id);
  column("principal", s.principal);
  column("uid", s.uid);
  column("gid", s.gid);
  column("user_name", s.user_name);
  column("unit", s.unit);
  column("scopes", s.scopes);
  column("operations", s.operations);
  column("created_at", s.created_at);
  column("ends_at", EndTime{s.ends_at});
  column("created_by", s.created_by);
  column("created_by_name", s.created_by_name);
  column("made_under", s.made_under);
}

template <typename Visitor, typename Row>
void VisitDenial(Visitor& column, Row& d) {
  column("uid", d.uid);
  column("user_name", d.user_name);
  column("since", d.since);
  column("until", EndTime{d.until});
}

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

std::vector<std::string> DenialColumns() {
  ColumnNames columns;
  Denial none;
  VisitDenial(columns, none);
  return columns.names();
}

// "INSERT INTO table (extra..., columns...) VALUES (?, ...)"
std::string InsertSql(absl::string_view table, std::vector<std::string> columns,
                      const std::vector<std::string>& extra = {}) {
  columns.insert(columns.begin(), extra.begin(), extra.end());
  return absl::StrCat("INSERT INTO ", table, " (", absl::StrJoin(columns, ", "), ") VALUES (",
                      absl::StrJoin(std::vector<std::string>(columns.size(), "?"), ", "), ")");
}

// Calls `read` for each row; the first error, of the database or of `read`, ends it.
absl::Status ScanRows(SqliteConnection& db, const std::string& sql,
                      absl::FunctionRef<absl::Status(SqliteStatement&)> read) {
  absl::StatusOr<SqliteStatement> rows = db.Prepare(sql);
  if (!rows.ok()) return rows.status();
  for (;;) {
    absl::StatusOr<bool> row = rows->Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    if (absl::Status status = read(*rows); !status.ok()) return status;
  }
}

// Strict while `complete` is null. Otherwise rows that cannot be read are left out and make it
// false: a damaged page ends a scan, so the table is read from both of its ends, without an index.
// `read` is then given most rows twice.
absl::Status ReadTable(SqliteConnection& db, const std::string& select, absl::string_view order,
                       bool* complete, absl::FunctionRef<absl::Status(SqliteStatement&)> read) {
  if (complete == nullptr) return ScanRows(db, absl::StrCat(select, " ORDER BY ", order), read);
  for (const char* direction : {"ASC", "DESC"}) {
    const absl::Status scanned =
        ScanRows(db, absl::StrCat(select, " NOT INDEXED ORDER BY rowid ", direction),
                 [&](SqliteStatement& row) {
                   if (!read(row).ok()) *complete = false;
                   return absl::OkStatus();
                 });
    if (!scanned.ok()) *complete = false;
  }
  return absl::OkStatus();
}

using ById = std::map<std::string, Registration>;

absl::Status ReadRegistrationTable(SqliteConnection& db, bool* complete, ById& by_id) {
  return ReadTable(
      db,
      absl::StrCat("SELECT ", absl::StrJoin(RegistrationColumns(), ", "), " FROM registrations"),
      "id", complete, [&](SqliteStatement& row) {
        Registration registration;
        ColumnReader reader(row);
        VisitRegistration(reader, registration);
        if (reader.status().ok()) by_id.emplace(registration.id, std::move(registration));
        return reader.status();
      });
}

// The rows of a table that belong to registrations, given to `add` with theirs.
template <typename Row>
absl::Status ReadChildTable(SqliteConnection& db, absl::string_view table,
                            const std::vector<std::string>& columns, absl::string_view order,
                            void (*visit)(ColumnReader&, Row&), bool* complete, ById& by_id,
                            void (*add)(Registration&, Row)) {
  return ReadTable(
      db, absl::StrCat("SELECT registration_id, ", absl::StrJoin(columns, ", "), " FROM ", table),
      absl::StrCat("registration_id, ", order), complete, [&](SqliteStatement& row) {
        const auto parent = by_id.find(row.NextBytes());
        if (parent == by_id.end()) {
          return DamagedDatabase("a row belongs to no registration");
        }
        Row child;
        ColumnReader reader(row);
        visit(reader, child);
        if (reader.status().ok()) add(parent->second, std::move(child));
        return reader.status();
      });
}

absl::Status ReadTables(SqliteConnection& db, bool* complete, ById& by_id) {
  absl::Status status = ReadRegistrationTable(db, complete, by_id);
  if (!status.ok()) return status;
  status = ReadChildTable<Generation>(
      db, "generations", GenerationColumns(), "number",
      [](ColumnReader& reader, Generation& row) { VisitGeneration(reader, row); }, complete, by_id,
      [](Registration& parent, Generation row) {
        if (parent.FindGeneration(row.number) == nullptr) {
          parent.generations.push_back(std::move(row));
        }
      });
  if (!status.ok()) return status;
  status = ReadChildTable<Share>(
      db, "shares", ShareColumns(), "position",
      [](ColumnReader& reader, Share& row) { VisitShare(reader, row); }, complete, by_id,
      [](Registration& parent, Share row) {
        for (const Share& share : parent.shares) {
          if (share.id == row.id) return;
        }
        parent.shares.push_back(std::move(row));
      });
  if (!status.ok()) return status;
  return ReadChildTable<Denial>(
      db, "denials", DenialColumns(), "position",
      [](ColumnReader& reader, Denial& row) { VisitDenial(reader, row); }, complete, by_id,
      [](Registration& parent, Denial row) {
        for (const Denial& denial : parent.denials) {
          if (denial.uid == row.uid && denial.user_name == row.user_name) return;
        }
        parent.denials.push_back(std::move(row));
      });
}

}  // namespace

absl::StatusOr<std::vector<Registration>> ReadRegistrations(SqliteConnection& db) {
  ById by_id;
  if (absl::Status status = ReadTables(db, nullptr, by_id); !status.ok()) return status;
  std::vector<Registration> all;
  for (auto& [id, registration] : by_id) {
    if (registration.generations.empty()) {
      return DamagedDatabase("a registration has no generation");
    }
    all.push_back(std::move(registration));
  }
  return all;
}

SalvagedRegistrations SalvageRegistrations(SqliteConnection& db) {
  SalvagedRegistrations salvaged;
  ById by_id;
  ReadTables(db, &salvaged.complete, by_id).IgnoreError();  // it says so in `complete`
  for (auto& [id, registration] : by_id) {
    if (registration.generations.empty()) {
      salvaged.complete = false;
      continue;
    }
    std::sort(registration.generations.begin(), registration.generations.end(),
              [](const Generation& a, const Generation& b) { return a.number < b.number; });
    salvaged.registrations.push_back(std::move(registration));
  }
  return salvaged;
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
  for (size_t i = 0; i < registration.denials.size(); ++i) {
    insert = db.Prepare(InsertSql("denials", DenialColumns(), {"registration_id", "position"}));
    if (!insert.ok()) return insert.status();
    insert->BindText(registration.id);
    insert->BindInt(static_cast<int64_t>(i));
    ColumnWriter denial_writer(*insert);
    VisitDenial(denial_writer, registration.denials[i]);
    if (absl::Status status = insert->Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status DeleteRegistration(SqliteConnection& db, const std::string& id) {
  // Generations, shares and denials go with it (ON DELETE CASCADE).
  absl::StatusOr<SqliteStatement> statement = db.Prepare("DELETE FROM registrations WHERE id = ?");
  if (!statement.ok()) return statement.status();
  statement->BindText(id);
  return statement->Run();
}

}  // namespace smartkey
