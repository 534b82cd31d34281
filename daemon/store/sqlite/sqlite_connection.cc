// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/sqlite/sqlite_connection.h"

#include <utility>

#include "daemon/store/sqlite/sqlite_status.h"

namespace smartkey {
namespace {

constexpr char kReading[] = "reading the database";
constexpr char kWriting[] = "writing the database";
constexpr char kOpening[] = "opening the database";
constexpr int kBusyMilliseconds = 5000;
// Writers must not wait long for a reader that is only in the way of truncating.
constexpr int kTruncateBusyMilliseconds = 200;

// secure_delete: what is removed is overwritten, not merely forgotten. temp_store: nothing of the
// contents in files elsewhere. trusted_schema, cell_size_check: a tampered file does less harm.
constexpr char kPragmas[] =
    "PRAGMA synchronous=FULL;"
    "PRAGMA secure_delete=ON;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA cell_size_check=ON;";

}  // namespace

void SqliteStatement::BindInt(int64_t value) {
  const int rc = sqlite3_bind_int64(statement_.get(), ++parameter_, value);
  if (rc != SQLITE_OK) bind_error_ = rc;
}

void SqliteStatement::BindText(absl::string_view value) {
  // A null pointer would be NULL, not the empty text.
  const char* data = value.data() != nullptr ? value.data() : "";
  const int rc = sqlite3_bind_text64(statement_.get(), ++parameter_, data, value.size(),
                                     SQLITE_TRANSIENT, SQLITE_UTF8);
  if (rc != SQLITE_OK) bind_error_ = rc;
}

void SqliteStatement::BindBlob(absl::string_view value) {
  const char* data = value.data() != nullptr ? value.data() : "";
  const int rc =
      sqlite3_bind_blob64(statement_.get(), ++parameter_, data, value.size(), SQLITE_TRANSIENT);
  if (rc != SQLITE_OK) bind_error_ = rc;
}

void SqliteStatement::BindNull() {
  const int rc = sqlite3_bind_null(statement_.get(), ++parameter_);
  if (rc != SQLITE_OK) bind_error_ = rc;
}

absl::StatusOr<bool> SqliteStatement::Step() {
  if (bind_error_ != SQLITE_OK) return SqliteError(bind_error_, kWriting);
  column_ = 0;
  const int rc = sqlite3_step(statement_.get());
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  return SqliteError(rc, sqlite3_stmt_readonly(statement_.get()) ? kReading : kWriting);
}

absl::Status SqliteStatement::Run() {
  absl::StatusOr<bool> row = Step();
  while (row.ok() && *row) row = Step();
  return row.status();
}

bool SqliteStatement::NextIsNull() const {
  return sqlite3_column_type(statement_.get(), column_) == SQLITE_NULL;
}

int64_t SqliteStatement::NextInt() {
  return sqlite3_column_int64(statement_.get(), column_++);
}

std::string SqliteStatement::NextBytes() {
  const int column = column_++;
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  if (data == nullptr) return std::string();
  return std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

absl::StatusOr<SqliteConnection> SqliteConnection::Open(const std::string& path) {
  sqlite3* opened = nullptr;
  // No SQLITE_OPEN_CREATE: a file that is gone must be noticed, not replaced.
  const int rc =
      sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  SqliteConnection db(opened);  // SQLite gives a handle even when it fails
  if (rc != SQLITE_OK) return SqliteError(rc, kOpening);
  sqlite3_extended_result_codes(opened, 1);
  sqlite3_busy_timeout(opened, kBusyMilliseconds);
  db.SetCheckpointOnClose(false);
  if (absl::Status status = db.Execute(kPragmas); !status.ok()) return status;
  return db;
}

absl::Status SqliteConnection::Execute(const std::string& sql) {
  return SqliteError(sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr),
                     "using the database");
}

absl::StatusOr<SqliteStatement> SqliteConnection::Prepare(absl::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int rc =
      sqlite3_prepare_v2(db_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (rc != SQLITE_OK) return SqliteError(rc, kReading);
  return SqliteStatement(statement);
}

absl::StatusOr<std::string> SqliteConnection::QueryText(absl::string_view sql) {
  absl::StatusOr<SqliteStatement> statement = Prepare(sql);
  if (!statement.ok()) return statement.status();
  absl::StatusOr<bool> row = statement->Step();
  if (!row.ok()) return row.status();
  if (!*row) return DamagedDatabase("a row is missing");
  return statement->NextBytes();
}

absl::StatusOr<int64_t> SqliteConnection::QueryInt(absl::string_view sql) {
  absl::StatusOr<SqliteStatement> statement = Prepare(sql);
  if (!statement.ok()) return statement.status();
  absl::StatusOr<bool> row = statement->Step();
  if (!row.ok()) return row.status();
  if (!*row) return DamagedDatabase("a row is missing");
  return statement->NextInt();
}

absl::Status SqliteConnection::UseLog() {
  absl::StatusOr<std::string> mode = QueryText("PRAGMA journal_mode=WAL");
  if (!mode.ok()) return mode.status();
  if (*mode != "wal") return SqliteError(SQLITE_CANTOPEN, "switching to write-ahead logging");
  return absl::OkStatus();
}

void SqliteConnection::SetCheckpointOnClose(bool on) {
  sqlite3_db_config(db_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on ? 0 : 1, nullptr);
}

bool SqliteConnection::HasMoved() {
  int moved = 0;
  return sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
         moved != 0;
}

bool SqliteConnection::ReadOnly() {
  return sqlite3_db_readonly(db_.get(), "main") == 1;
}

absl::Status SqliteConnection::TruncateLog() {
  sqlite3_busy_timeout(db_.get(), kTruncateBusyMilliseconds);
  const int rc =
      sqlite3_wal_checkpoint_v2(db_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(db_.get(), kBusyMilliseconds);
  return SqliteError(rc, "truncating the database's log");
}

SqliteTransaction::~SqliteTransaction() {
  // Some errors roll back by themselves. A rollback that fails leaves nothing to be done here.
  if (db_.in_transaction()) db_.Execute("ROLLBACK").IgnoreError();
}

}  // namespace smartkey
