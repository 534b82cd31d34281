// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace smartkey {

// One prepared statement. Parameters are bound and columns read from left to right, so that a list
// of columns needs no numbers. Binding errors show at the next Step. Must not outlive its
// connection. Not thread-safe.
class SqliteStatement {
 public:
  void BindInt(int64_t value);
  void BindText(absl::string_view value);
  void BindBlob(absl::string_view value);
  void BindNull();

  // True: there is a row, its columns are read next. False: done.
  absl::StatusOr<bool> Step();
  // Steps to the end, for statements that give no rows.
  absl::Status Run();

  // The next column of the row. Another type than asked for is converted as SQLite does; STRICT
  // tables hold no other.
  bool NextIsNull() const;
  int64_t NextInt();
  std::string NextBytes();  // text or blob
  void SkipNext() { ++column_; }

 private:
  friend class SqliteConnection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int parameter_ = 0;
  int column_ = 0;
  int bind_error_ = SQLITE_OK;
};

// One open database. Errors: as SqliteError. Not thread-safe: one thread at a time.
class SqliteConnection {
 public:
  // Opens an existing file for reading and writing, with what every connection of ours has: WAL,
  // synchronous=FULL, secure_delete, foreign keys, a busy timeout. `path` must be absolute or
  // relative to the working directory; it is not read as a URI.
  static absl::StatusOr<SqliteConnection> Open(const std::string& path);

  // One or more statements without parameters; rows are dropped.
  absl::Status Execute(const std::string& sql);
  absl::StatusOr<SqliteStatement> Prepare(absl::string_view sql);
  // The first column of the first row.
  absl::StatusOr<std::string> QueryText(absl::string_view sql);
  absl::StatusOr<int64_t> QueryInt(absl::string_view sql);

  // Switches the file to write-ahead logging, where it is not yet.
  absl::Status UseLog();

  // Whether closing folds the write-ahead log into the file. Off until it is known to be sound: a
  // damaged database is left exactly as it was found.
  void SetCheckpointOnClose(bool on);

  // Whether the file that is open has no longer the name under which it was opened: it was removed
  // or replaced, and what is written into it is lost.
  bool HasMoved();

  // Whether it was opened for reading alone, since the file system or the file's mode allowed no
  // more. It stays so whatever becomes of those.
  bool ReadOnly();

  // Copies the whole log into the database and cuts it to nothing, so that old contents of changed
  // pages are in no file any more. Errors: kStoreUnavailable while a reader is in the way, too.
  absl::Status TruncateLog();

  bool in_transaction() const { return sqlite3_get_autocommit(db_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  explicit SqliteConnection(sqlite3* db) : db_(db) {}

  std::unique_ptr<sqlite3, Close> db_;
};

// A write transaction: rolled back unless committed.
class SqliteTransaction {
 public:
  explicit SqliteTransaction(SqliteConnection& db) : db_(db) {}
  ~SqliteTransaction();
  SqliteTransaction(const SqliteTransaction&) = delete;
  SqliteTransaction& operator=(const SqliteTransaction&) = delete;

  absl::Status Begin() { return db_.Execute("BEGIN IMMEDIATE"); }
  absl::Status Commit() { return db_.Execute("COMMIT"); }

 private:
  SqliteConnection& db_;
};

}  // namespace smartkey
