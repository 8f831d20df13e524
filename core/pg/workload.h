// What an application does to one server, as PostgreSQL counts it. One look says little; two make a window
// (agent/compare/window.h). Real: make_workload_observer(). Fake: tests/fakes/fake_workload.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"
#include "core/pg/server_node.h"

namespace pgrm {

/// One number of a snapshot. The newest row of a name that the server's version reaches counts.
struct WorkloadCounter {
  std::string_view name;
  int since;             // version of PostgreSQL
  std::string_view sql;  // of one row `d` of pg_stat_database, that of this session's database
  std::string_view
      reset;           // which statistics it belongs to, see WorkloadSnapshot::resets; empty: none, it never goes back
  bool gauge = false;  // it goes up and down; else it only grows
};

/// Every counter, in no order that matters.
std::span<const WorkloadCounter> workload_counters();

/// What one statement has cost so far (pg_stat_statements, top level only), summed up over roles.
struct StatementCounters {
  std::int64_t calls = 0;
  double milliseconds = 0;  // of execution, planning not included
  std::int64_t blocks = 0;  // of tables and indexes that were looked at
  std::int64_t read = 0;    // of these, not found in shared_buffers

  bool operator==(const StatementCounters&) const = default;
};

/// By queryid: a primary and its physical standbys have the same one for the same statement.
using Statements = std::map<std::int64_t, StatementCounters>;

/// One look at one server, from one database. Unknown is nullopt or absent.
struct WorkloadSnapshot {
  int version = 0;  // server_version_num
  std::string system_identifier{}, database{};
  WallTime at{}, started_at{};
  std::map<std::string, double, std::less<>> counters{};       // by name, those that this version has
  std::map<std::string, std::string, std::less<>> resets{};    // when these statistics began anew; empty: never
  std::map<std::string, std::string, std::less<>> settings{};  // those that change how fast a server is, with units
  std::optional<Statements> statements{};                      // without those of the observer's own role
  std::string statements_problem{}, statements_hint{};         // why they are not known, and what to type
};

/// A session in one database of one server, which cannot write. Every call opens it when there is none. Not
/// thread-safe. No function but PostgreSQL's own and the extension's is ever run by it. All throw Error: unreachable,
/// authentication, timeout, connection_lost, permission_denied, query_failed.
class WorkloadObserver {
 public:
  virtual ~WorkloadObserver() = default;
  virtual WorkloadSnapshot snapshot(Duration deadline) = 0;
  /// The texts of these statements as the extension keeps them, constants mostly replaced by $1; those that it knows.
  virtual std::map<std::int64_t, std::string> texts(const std::vector<std::int64_t>& statements, Duration deadline) = 0;
};

/// Does not connect yet. Statements end after options.observer_timeout.
std::unique_ptr<WorkloadObserver> make_workload_observer(const Conninfo& server, const NodeOptions& options);

}  // namespace pgrm
