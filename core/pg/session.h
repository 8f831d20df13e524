// One connection to PostgreSQL, with deadlines. The only file that knows libpqxx is session.cc.
// For loadgen, which plays an application, and for server_node.cc; everything else talks to a server through Node.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/error.h"
#include "core/pg/conninfo.h"
#include "core/pg/lsn.h"
#include "core/pg/statement.h"

namespace pgrm {

/// A statement that the server refused. The session stays usable.
class SqlError : public Error {
 public:
  SqlError(ErrorCode code, const std::string& what, std::string sqlstate, const std::string& hint = {})
      : Error(code, what, hint), sqlstate_(std::move(sqlstate)) {}
  /// Five characters (PostgreSQL, appendix A), e.g. "25006".
  const std::string& sqlstate() const { return sqlstate_; }

 private:
  std::string sqlstate_;
};

/// Takes one row for COPY: a text for each column (at least one), as PostgreSQL would print it; there is no way to say
/// NULL.
using PutRow = std::function<void(std::initializer_list<std::string_view>)>;

/// What a statement returned, detached from the connection. SQL NULL is nullopt everywhere.
/// A column that does not exist or does not parse as what is asked for throws Error(internal): it is our own SQL.
class Rows {
 public:
  class Row {
   public:
    Row(const Rows& rows, std::size_t index) : rows_(rows), index_(index) {}
    const Value& text(std::string_view column) const;
    std::optional<std::int64_t> integer(std::string_view column) const;
    std::optional<double> real(std::string_view column) const;
    std::optional<bool> boolean(std::string_view column) const;
    std::optional<Lsn> lsn(std::string_view column) const;
    /// Seconds since 1970 (`extract(epoch from …)`) as a time.
    std::optional<WallTime> time(std::string_view column) const;

   private:
    const Rows& rows_;
    std::size_t index_;
  };

  Rows(std::vector<std::string> columns, std::vector<Value> cells, std::int64_t affected)
      : columns_(std::move(columns)), cells_(std::move(cells)), affected_(affected) {}

  std::size_t size() const { return columns_.empty() ? 0 : cells_.size() / columns_.size(); }
  Row operator[](std::size_t index) const { return {*this, index}; }
  /// The only row. Throws Error(query_failed) when there is none or more.
  Row one() const;
  /// Rows inserted, updated or deleted.
  std::int64_t affected() const { return affected_; }

 private:
  std::vector<std::string> columns_;
  std::vector<Value> cells_;
  std::int64_t affected_;
};

/// Not thread-safe. Never reconnects by itself: a lost session is an error that is seen.
class Session {
 public:
  /// Does not connect yet. `application_name` shows in pg_stat_activity. `told` may be empty.
  Session(Conninfo server, const std::string& application_name, OnStatement told = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Connects; harmless when open. A deadline below 2 s, libpq's own lower bound, is kept where nobody answers; a
  /// server that answers is given 2 s. Throws Error(unreachable, authentication).
  void open(Duration deadline);
  void close() noexcept;
  bool is_open() const noexcept;
  /// Later logins, and conninfo(), go to the address that this one has reached, because looking up a name has no
  /// deadline, and a name may lead elsewhere by then. Until a login fails there. REQUIRES: is_open().
  void keep_address();
  /// Whether the server has ended this session, as far as is known here: a statement sent now would not be carried out,
  /// and nothing would be in doubt. One system call. REQUIRES: is_open().
  bool closed_by_server() const;

  /// Runs one statement in a transaction of its own. At most `deadline`: then the connection is shut, so that a server
  /// that hangs cannot hold the caller. Throws SqlError (refused, nothing happened), Error(connection_lost, timeout)
  /// (closed now; whether it happened is unknown), Error(unreachable) when not open.
  Rows execute(const Statement& statement, const Params& params, Duration deadline);
  /// Has the server parse it beforehand, without running it: execute() then has that behind it. Throws as execute().
  void prepare(const Statement& statement, Duration deadline);

  /// The same for SQL that is made at run time (identifiers) or has several statements; without parameters.
  Rows script(const std::string& sql, Duration deadline);

  /// COPY table (columns) FROM STDIN: `rows` is called once and hands over all of them. `table` and `columns` are names
  /// as they are in the catalog, without a schema. REQUIRES that `rows` throws nothing: a part of them would stay.
  /// Throws as execute(); a server that refuses one row takes none.
  void copy(const std::string& table, const std::vector<std::string>& columns, Duration deadline,
            const std::function<void(const PutRow&)>& rows);

  /// REQUIRES: is_open().
  int backend_pid() const;
  /// 150004 for 15.4. REQUIRES: is_open().
  int server_version() const;
  /// `name` as an SQL identifier. REQUIRES: is_open().
  std::string quote_identifier(const std::string& name) const;
  /// `text` as an SQL literal. REQUIRES: is_open().
  std::string quote_literal(const std::string& text) const;

  const Conninfo& conninfo() const;
  /// The same as it was given, while an address is kept.
  const std::optional<Conninfo>& by_name() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgrm
