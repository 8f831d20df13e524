#include "core/pg/workload.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_text.h"
#include "core/pg/extension_functions.h"
#include "core/pg/session.h"
#include "core/pg/session_settings.h"

namespace pgrm {
namespace {

// The application's sessions are those in its database that are none of this project's.
constexpr std::array counters{
    WorkloadCounter{"commits", 0, "d.xact_commit", "database"},
    WorkloadCounter{"rollbacks", 0, "d.xact_rollback", "database"},
    WorkloadCounter{"blocks_hit", 0, "d.blks_hit", "database"},
    WorkloadCounter{"blocks_read", 0, "d.blks_read", "database"},
    // 0 while nobody measures it, which is not known from the number.
    WorkloadCounter{"read_ms", 0, "CASE WHEN current_setting('track_io_timing') = 'on' THEN d.blk_read_time END",
                    "database"},
    WorkloadCounter{"temp_bytes", 0, "d.temp_bytes", "database"},
    WorkloadCounter{"deadlocks", 0, "d.deadlocks", "database"},
    WorkloadCounter{"active_ms", 140000, "d.active_time", "database"},
    // Those that an administrator has ended are no errors.
    WorkloadCounter{"sessions_failed", 140000, "d.sessions_fatal + d.sessions_abandoned", "database"},
    WorkloadCounter{"wal_bytes", 0, "CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() - '0/0' END",
                    ""},
    // pg_stat_checkpointer took over from pg_stat_bgwriter in 17.
    WorkloadCounter{"checkpoints_timed", 170000, "(SELECT num_timed FROM pg_stat_checkpointer)", "checkpoints"},
    WorkloadCounter{"checkpoints_timed", 0, "(SELECT checkpoints_timed FROM pg_stat_bgwriter)", "checkpoints"},
    WorkloadCounter{"checkpoints_requested", 170000, "(SELECT num_requested FROM pg_stat_checkpointer)", "checkpoints"},
    WorkloadCounter{"checkpoints_requested", 0, "(SELECT checkpoints_req FROM pg_stat_bgwriter)", "checkpoints"},
    WorkloadCounter{"connections", 0,
                    "(SELECT count(*) FROM pg_stat_activity WHERE datid = d.datid AND backend_type = 'client backend'"
                    " AND application_name !~ '^pgrm-(agent|exporter)')",
                    "", true},
    WorkloadCounter{"waiting_for_locks", 0,
                    "(SELECT count(*) FROM pg_stat_activity WHERE datid = d.datid AND backend_type = 'client backend'"
                    " AND wait_event_type = 'Lock')",
                    "", true},
};

// What makes one server faster than another, as far as SQL shows it.
constexpr std::array settings{
    "server_version",
    "autovacuum",
    "checkpoint_completion_target",
    "checkpoint_timeout",
    "cpu_index_tuple_cost",
    "cpu_operator_cost",
    "cpu_tuple_cost",
    "data_checksums",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_bitmapscan",
    "enable_hashjoin",
    "enable_indexonlyscan",
    "enable_indexscan",
    "enable_mergejoin",
    "enable_nestloop",
    "enable_seqscan",
    "fsync",
    "full_page_writes",
    "hash_mem_multiplier",
    "huge_pages",
    "io_method",
    "io_workers",
    "jit",
    "maintenance_work_mem",
    "max_connections",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_wal_size",
    "max_worker_processes",
    "random_page_cost",
    "seq_page_cost",
    "shared_buffers",
    "shared_preload_libraries",
    "synchronous_commit",
    "temp_buffers",
    "track_io_timing",
    "wal_buffers",
    "wal_compression",
    "wal_level",
    "wal_sync_method",
    "work_mem",
};

constexpr auto ask_workload = R"sql(
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier, d.datname AS database,
       extract(epoch FROM clock_timestamp()) AS at, extract(epoch FROM pg_postmaster_start_time()) AS started_at,
       json_build_object({counters}) AS counters,
       json_build_object('database', coalesce(d.stats_reset::text, ''),
                         'checkpoints', coalesce((SELECT stats_reset::text FROM {checkpoints}), '')) AS resets,
       (SELECT json_object_agg(name, current_setting(name)) FROM pg_settings WHERE name = ANY ('{{{settings}}}'::text[])) AS settings
  FROM pg_stat_database AS d WHERE d.datname = current_database())sql";

// The agent's own statements would be the slowest ones.
constexpr auto own_database = R"sql(dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND userid <> (SELECT oid FROM pg_roles WHERE rolname = current_user) AND queryid IS NOT NULL)sql";

constexpr auto ask_statements = R"sql(
SELECT queryid, sum(calls)::int8 AS calls, sum({time}) AS milliseconds,
       sum(shared_blks_hit + shared_blks_read)::int8 AS blocks, sum(shared_blks_read)::int8 AS read
  FROM {function}(false) AS s WHERE {own}{toplevel}
 GROUP BY queryid)sql";

constexpr auto ask_statements_reset = "SELECT stats_reset::text AS reset FROM {function}()";

constexpr auto ask_texts = R"sql(
SELECT queryid, min(query) AS query FROM {function}(true) AS s WHERE {own} AND queryid = ANY ($1::int8[]) GROUP BY queryid)sql";

std::string workload_sql(int version) {
  std::string columns;
  std::string_view last;
  for (const WorkloadCounter& row : counters) {
    if (row.name == last || version < row.since) continue;
    last = row.name;
    columns += fmt::format("{}'{}', {}", columns.empty() ? "" : ", ", row.name, row.sql);
  }
  return fmt::format(fmt::runtime(ask_workload), fmt::arg("counters", columns),
                     fmt::arg("settings", fmt::join(settings, ",")),
                     fmt::arg("checkpoints", version >= 170000 ? "pg_stat_checkpointer" : "pg_stat_bgwriter"));
}

/// Values that are known.
template <typename Value>
std::map<std::string, Value, std::less<>> known(const std::optional<std::string>& json) {
  std::map<std::string, Value, std::less<>> result;
  const auto object = nlohmann::json::parse(valid_utf8(json.value_or("{}")));
  for (const auto& [name, value] : object.items()) {
    if (!value.is_null()) result[name] = value.template get<Value>();
  }
  return result;
}

/// The extension, as it is in this session's database.
struct StatementTools {
  std::string function, info;  // qualified; empty: not to be called
  std::vector<std::string> columns;
  std::string problem, hint;  // why `function` is not to be called

  bool has(std::string_view column) const { return std::ranges::find(columns, column) != columns.end(); }
};

class ServerWorkload final : public WorkloadObserver {
 public:
  ServerWorkload(const Conninfo& server, NodeOptions options)
      : session_(server, options.application_name, options.told), options_(std::move(options)) {}

  WorkloadSnapshot snapshot(Duration deadline) override {
    open(deadline);
    if (workload_sql_.empty()) workload_sql_ = workload_sql(session_.server_version());
    const Rows answer = session_.execute({"pgrm_workload", workload_sql_.c_str()}, {}, deadline);
    const auto row = answer.one();
    WorkloadSnapshot snapshot{.version = session_.server_version(),
                              .system_identifier = row.text("system_identifier").value_or(""),
                              .database = row.text("database").value_or(""),
                              .at = row.time("at").value_or(WallTime{}),
                              .started_at = row.time("started_at").value_or(WallTime{}),
                              .counters = known<double>(row.text("counters")),
                              .resets = known<std::string>(row.text("resets")),
                              .settings = known<std::string>(row.text("settings")),
                              .statements = std::nullopt,
                              .statements_problem = {},
                              .statements_hint = {}};
    try {
      add_statements(snapshot, deadline);
    } catch (const SqlError& refusal) {  // its library is not loaded, for one
      snapshot.statements_problem = refusal.what();
      snapshot.statements_hint = "shared_preload_libraries = 'pg_stat_statements', and a restart of that server";
    }
    return snapshot;
  }

  std::map<std::int64_t, std::string> texts(const std::vector<std::int64_t>& statements, Duration deadline) override {
    std::map<std::int64_t, std::string> found;
    const StatementTools tools = find_tools(deadline);
    if (tools.function.empty() || statements.empty()) return found;
    const std::string sql =
        fmt::format(fmt::runtime(ask_texts), fmt::arg("function", tools.function), fmt::arg("own", own_database));
    const Rows rows = session_.execute({"pgrm_statement_texts", sql.c_str()},
                                       {fmt::format("{{{}}}", fmt::join(statements, ","))}, deadline);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      found[rows[i].integer("queryid").value()] = valid_utf8(rows[i].text("query").value_or(""));
    }
    return found;
  }

 private:
  void add_statements(WorkloadSnapshot& snapshot, Duration deadline) {
    const StatementTools tools = find_tools(deadline);
    snapshot.statements_problem = tools.problem;
    snapshot.statements_hint = tools.hint;
    if (tools.function.empty()) return;
    statements_sql_ = fmt::format(fmt::runtime(ask_statements), fmt::arg("function", tools.function),
                                  // Until 1.7 of the extension, which a server that was upgraded may still have.
                                  fmt::arg("time", tools.has("total_exec_time") ? "total_exec_time" : "total_time"),
                                  fmt::arg("own", own_database),
                                  // A statement in a function counts for the one that calls it as well.
                                  fmt::arg("toplevel", tools.has("toplevel") ? " AND toplevel" : ""));
    const Rows rows = session_.script(statements_sql_, deadline);
    Statements statements;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = rows[i];
      statements[row.integer("queryid").value()] = {row.integer("calls").value_or(0),
                                                    row.real("milliseconds").value_or(0),
                                                    row.integer("blocks").value_or(0), row.integer("read").value_or(0)};
    }
    if (!tools.info.empty()) {
      const Rows reset =
          session_.script(fmt::format(fmt::runtime(ask_statements_reset), fmt::arg("function", tools.info)), deadline);
      snapshot.resets["statements"] = reset.one().text("reset").value_or("");
    }
    snapshot.statements = std::move(statements);
  }

  /// Anew each time: somebody may have created it on our advice.
  StatementTools find_tools(Duration deadline) {
    open(deadline);
    StatementTools tools;
    const auto functions = find_extension_functions(session_,
                                                    {{"pg_stat_statements", "pg_stat_statements", "boolean"},
                                                     {"pg_stat_statements", "pg_stat_statements_info", ""}},
                                                    deadline);
    const ExtensionFunction &statements = functions[0], &info = functions[1];
    if (!statements.installed) {
      tools.problem = "pg_stat_statements is not installed in " + session_.conninfo().get("dbname");
      tools.hint = "as a superuser: CREATE EXTENSION pg_stat_statements, in that database";
    } else if (statements.name.empty()) {
      tools.problem = "what is called pg_stat_statements is not the extension as PostgreSQL has it";
      tools.hint = "it is not called: look at \\dx+ pg_stat_statements, drop it and create it anew";
    } else if (!statements.may) {
      tools.problem = "this role may not call " + statements.name;
      tools.hint = "as a superuser: " + statements.grant;
    } else {
      tools.function = statements.name;
      tools.columns = statements.columns;
      if (info.usable()) tools.info = info.name;
    }
    return tools;
  }

  void open(Duration deadline) { open_with_settings(session_, options_.observer_timeout, deadline); }

  Session session_;
  NodeOptions options_;
  std::string workload_sql_, statements_sql_;
};

}  // namespace

std::span<const WorkloadCounter> workload_counters() { return counters; }

std::unique_ptr<WorkloadObserver> make_workload_observer(const Conninfo& server, const NodeOptions& options) {
  return std::make_unique<ServerWorkload>(server, options);
}

}  // namespace pgrm
