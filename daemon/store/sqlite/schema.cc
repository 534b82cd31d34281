// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/schema.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/random.h"
#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

// Version 1. Times are INTEGER, milliseconds since 1970 in UTC; NULL is never (ends_at: without
// end; elsewhere: not yet). Enums are INTEGER with the numbers of the proto, algorithms and key
// types TEXT as JOSE names them, lists TEXT holding JSON, lengths of time seconds. Text that may be
// absent is '' and not NULL, except the pair suspended_by, suspended_why, where NULL is "not
// suspended". client_id and enrollment_id are unique where they are not empty.
constexpr char kSchema[] = R"sql(
CREATE TABLE meta (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  schema_version INTEGER NOT NULL,
  instance_id TEXT NOT NULL CHECK (instance_id <> '')
) STRICT;

CREATE TABLE registrations (
  id TEXT NOT NULL PRIMARY KEY,
  kind INTEGER NOT NULL,
  owner_uid INTEGER NOT NULL,
  owner_name TEXT NOT NULL,
  app_id TEXT NOT NULL,
  server_name TEXT NOT NULL,
  fhir_base TEXT NOT NULL,
  ca_file TEXT NOT NULL,
  allow_loopback_http INTEGER NOT NULL,
  name TEXT NOT NULL,
  label TEXT NOT NULL,
  patient TEXT NOT NULL,
  fhir_user TEXT NOT NULL,
  context_varies INTEGER NOT NULL,
  created_at INTEGER,
  suspended_by TEXT,
  suspended_why TEXT,
  UNIQUE (owner_uid, owner_name, name)
) STRICT;

CREATE TABLE generations (
  registration_id TEXT NOT NULL REFERENCES registrations (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  state INTEGER NOT NULL,
  enrollment_id TEXT NOT NULL,
  request_id TEXT NOT NULL,
  key_provider TEXT NOT NULL,
  key_blob BLOB NOT NULL,
  algorithm TEXT NOT NULL,
  key_type TEXT NOT NULL,
  key_x BLOB NOT NULL,
  key_y BLOB NOT NULL,
  key_n BLOB NOT NULL,
  key_e BLOB NOT NULL,
  key_attributes TEXT NOT NULL,
  key_public_area BLOB NOT NULL,
  thumbprint TEXT NOT NULL,
  initial_client_id TEXT NOT NULL,
  software_id TEXT NOT NULL,
  client_id TEXT NOT NULL,
  requires_client_authentication INTEGER NOT NULL,
  token_endpoint TEXT NOT NULL,
  registration_endpoint TEXT NOT NULL,
  revocation_endpoint TEXT NOT NULL,
  management_endpoint TEXT NOT NULL,
  assertion_audience TEXT NOT NULL,
  granted_scope TEXT NOT NULL,
  created_at INTEGER,
  registered_at INTEGER,
  first_token_at INTEGER,
  last_token_at INTEGER,
  refusals INTEGER NOT NULL,
  first_refusal_at INTEGER,
  last_error INTEGER NOT NULL,
  PRIMARY KEY (registration_id, number)
) STRICT;
CREATE UNIQUE INDEX generations_by_client ON generations (token_endpoint, client_id)
  WHERE client_id <> '';
CREATE UNIQUE INDEX generations_by_enrollment ON generations (enrollment_id)
  WHERE enrollment_id <> '';

CREATE TABLE shares (
  id TEXT NOT NULL PRIMARY KEY,
  registration_id TEXT NOT NULL REFERENCES registrations (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  principal TEXT NOT NULL,
  uid INTEGER NOT NULL,
  gid INTEGER NOT NULL,
  unit TEXT NOT NULL,
  scopes TEXT NOT NULL,
  operations TEXT NOT NULL,
  created_at INTEGER,
  ends_at INTEGER,
  created_by INTEGER NOT NULL
) STRICT;
CREATE INDEX shares_by_registration ON shares (registration_id);
)sql";

// Version 2. Suspensions say who, as what, and since when; NULL in suspended_by_uid is "not
// suspended", NULL in suspended_since "not known". access_for is 0 where the person did not say.
// meta: machine_identity is '' where that is not known; copied_at is when this file was copied, or
// was last made to be; copies_to_purge is 1 while copies may hold what was deleted from here.
// A generation's own patient: until then every generation that served had named the pinned one.
constexpr char kToVersion2[] = R"sql(
ALTER TABLE meta ADD COLUMN machine_identity TEXT NOT NULL DEFAULT '';
ALTER TABLE meta ADD COLUMN copied_at INTEGER;
ALTER TABLE meta ADD COLUMN copies_to_purge INTEGER NOT NULL DEFAULT 0;

ALTER TABLE registrations ADD COLUMN suspended_since INTEGER;
ALTER TABLE registrations ADD COLUMN suspended_by_uid INTEGER;
ALTER TABLE registrations ADD COLUMN suspended_by_name TEXT;
ALTER TABLE registrations ADD COLUMN suspended_by_admin INTEGER;
UPDATE registrations SET
  suspended_by_uid = iif(suspended_by = 'administrator', 0, owner_uid),
  suspended_by_name = iif(suspended_by = 'administrator', '', owner_name),
  suspended_by_admin = suspended_by = 'administrator'
  WHERE suspended_by IS NOT NULL;
ALTER TABLE registrations DROP COLUMN suspended_by;
ALTER TABLE registrations ADD COLUMN earlier_lifetimes TEXT NOT NULL DEFAULT '[]';

ALTER TABLE generations ADD COLUMN patient TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN fhir_user TEXT NOT NULL DEFAULT '';
ALTER TABLE generations ADD COLUMN last_refusal_at INTEGER;
ALTER TABLE generations ADD COLUMN access_for INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generations ADD COLUMN ended_at INTEGER;
ALTER TABLE generations ADD COLUMN accepts_new_patient INTEGER NOT NULL DEFAULT 0;
UPDATE generations SET (patient, fhir_user) =
  (SELECT r.patient, r.fhir_user FROM registrations r WHERE r.id = registration_id)
  WHERE first_token_at IS NOT NULL
  AND registration_id IN (SELECT id FROM registrations WHERE NOT context_varies);
)sql";

// Version 3. Of whom a share speaks: the name that its uid had when it was made; shares_only is 1
// where even the owner's programs need one. No share was made before.
constexpr char kToVersion3[] = R"sql(
ALTER TABLE registrations ADD COLUMN shares_only INTEGER NOT NULL DEFAULT 0;
ALTER TABLE shares ADD COLUMN user_name TEXT NOT NULL DEFAULT '';
ALTER TABLE shares ADD COLUMN created_by_name TEXT NOT NULL DEFAULT '';
)sql";

// Version 4. Shares that somebody made who manages by a share himself name that one's id. Denials
// are of whoever asked for a share; NULL in until is "for good".
constexpr char kToVersion4[] = R"sql(
ALTER TABLE registrations ADD COLUMN resumed_at INTEGER;
ALTER TABLE shares ADD COLUMN made_under TEXT NOT NULL DEFAULT '';
CREATE TABLE denials (
  registration_id TEXT NOT NULL REFERENCES registrations (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  since INTEGER,
  until INTEGER,
  PRIMARY KEY (registration_id, position)
) STRICT;
)sql";

constexpr Migration kMigrations[] = {{2, kToVersion2}, {3, kToVersion3}, {4, kToVersion4}};

}  // namespace

absl::Span<const Migration> ReleasedMigrations() {
  return kMigrations;
}

absl::Status ApplyMigrations(SqliteConnection& db, int from,
                             absl::Span<const Migration> migrations) {
  for (const Migration& migration : migrations) {
    if (migration.version <= from) continue;
    absl::Status status = db.Execute(migration.sql);
    if (status.ok()) {
      status = db.Execute(absl::StrCat("UPDATE meta SET schema_version = ", migration.version));
    }
    if (!status.ok()) return Annotate(status, absl::StrCat("to version ", migration.version));
  }
  return absl::OkStatus();
}

absl::Status CreateTables(SqliteConnection& db, const std::string& instance_id,
                          absl::Span<const Migration> migrations) {
  if (absl::Status status = db.Execute(kSchema); !status.ok()) return status;
  absl::StatusOr<SqliteStatement> meta =
      db.Prepare("INSERT INTO meta (only_row, schema_version, instance_id) VALUES (1, ?, ?)");
  if (!meta.ok()) return meta.status();
  meta->BindInt(1);  // the version of kSchema
  meta->BindText(instance_id.empty() ? RandomId() : instance_id);
  if (absl::Status status = meta->Run(); !status.ok()) return status;
  // The path that old databases take, so that there is one way to a version and not two.
  return ApplyMigrations(db, 1, migrations);
}

absl::Status CheckIntegrity(SqliteConnection& db) {
  absl::StatusOr<std::string> verdict = db.QueryText("PRAGMA integrity_check(1)");
  if (!verdict.ok()) return verdict.status();
  if (*verdict != "ok") return DamagedDatabase("its integrity check fails");
  absl::StatusOr<SqliteStatement> orphans = db.Prepare("PRAGMA foreign_key_check");
  if (!orphans.ok()) return orphans.status();
  absl::StatusOr<bool> found = orphans->Step();
  if (!found.ok()) return found.status();
  if (*found) return DamagedDatabase("a row refers to one that is not there");
  return absl::OkStatus();
}

absl::StatusOr<int> ReadVersion(SqliteConnection& db) {
  absl::StatusOr<int64_t> version =
      db.QueryInt("SELECT schema_version FROM meta WHERE only_row = 1");
  // SQLITE_ERROR: no such table or column.
  if (!version.ok() && ReasonOf(version.status()) == Reason::kInternal) {
    return DamagedDatabase("it is not smartkeyd's");
  }
  if (!version.ok()) return version.status();
  return static_cast<int>(*version);
}

absl::StatusOr<DatabaseMeta> ReadMeta(SqliteConnection& db) {
  absl::StatusOr<SqliteStatement> row = db.Prepare(
      "SELECT instance_id, machine_identity, copied_at, copies_to_purge FROM meta WHERE only_row = "
      "1");
  if (!row.ok()) return row.status();
  absl::StatusOr<bool> found = row->Step();
  if (!found.ok()) return found.status();
  if (!*found) return DamagedDatabase("a row is missing");
  DatabaseMeta meta;
  meta.instance_id = row->NextBytes();
  meta.machine_identity = row->NextBytes();
  if (!row->NextIsNull()) {
    meta.copied_at = absl::FromUnixMillis(row->NextInt());
  } else {
    row->SkipNext();
  }
  meta.copies_to_purge = row->NextInt() != 0;
  return meta;
}

absl::Status WriteMachineIdentity(SqliteConnection& db, const std::string& identity) {
  absl::StatusOr<SqliteStatement> update = db.Prepare("UPDATE meta SET machine_identity = ?");
  if (!update.ok()) return update.status();
  update->BindText(identity);
  return update->Run();
}

absl::Status WriteCopiedAt(SqliteConnection& db, absl::Time when) {
  return db.Execute(absl::StrCat("UPDATE meta SET copied_at = ", absl::ToUnixMillis(when)));
}

absl::Status WriteCopiesToPurge(SqliteConnection& db, bool to_purge) {
  return db.Execute(absl::StrCat("UPDATE meta SET copies_to_purge = ", to_purge ? 1 : 0));
}

}  // namespace smartkey
