#include "core/pg/server_node.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/pg/observer.h"
#include "core/pg/session.h"

namespace pgrm {
namespace {

// What a look at a server asks stands in observer.cc. PostgreSQL 13 to 18 have every column and function named here;
// what only some versions offer stands in `version_dependent` at the end of this list.

constexpr Statement read_settings{"pgrm_read_settings", R"sql(
SELECT name, reset_val AS value FROM pg_settings
 WHERE name = ANY (ARRAY['max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
                         'max_locks_per_transaction', 'synchronous_standby_names', 'default_transaction_read_only',
                         'recovery_min_apply_delay', 'archive_mode', 'shared_preload_libraries', 'hot_standby',
                         'TimeZone', 'server_version', 'data_checksums', 'wal_log_hints', 'cluster_name']))sql"};

constexpr Statement read_facts{"pgrm_read_facts", R"sql(
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       (SELECT count(*) FROM pg_prepared_xacts) AS prepared_transactions,
       (SELECT extract(epoch FROM clock_timestamp() - min(xact_start)) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND application_name <> current_setting('application_name')) AS oldest,
       (SELECT count(*) FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
         WHERE a.backend_type = 'client backend' AND r.rolsuper
           AND a.application_name <> current_setting('application_name')) AS superuser_sessions,
       EXISTS (SELECT FROM pg_stat_progress_basebackup) AS base_backup,
       to_json(ARRAY(SELECT subname FROM pg_subscription WHERE subenabled ORDER BY 1)) AS subscriptions,
       to_json(ARRAY(SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' ORDER BY 1)) AS logical_slots,
       to_json(ARRAY(SELECT datname FROM pg_database WHERE NOT datallowconn ORDER BY 1)) AS closed_databases,
       pg_has_role('pg_signal_backend', 'USAGE') AS signal_backend,
       has_function_privilege('pg_promote(boolean,integer)', 'EXECUTE') AS promote,
       has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload)sql"};

// has_parameter_privilege() and pg_checkpoint came with 15; before, only a superuser may.
struct VersionDependent {
  int since;
  Statement rights;
};
constexpr std::array version_dependent{
    VersionDependent{150000, {"pgrm_rights_15", R"sql(
SELECT has_parameter_privilege('default_transaction_read_only', 'ALTER SYSTEM') AS alter_system,
       pg_has_role('pg_checkpoint', 'USAGE') AS checkpoint)sql"}},
    VersionDependent{0, {"pgrm_rights_13", R"sql(
SELECT rolsuper AS alter_system, rolsuper AS checkpoint FROM pg_roles WHERE rolname = current_user)sql"}},
};

constexpr Statement ask_in_recovery{"pgrm_in_recovery", "SELECT pg_is_in_recovery() AS r"};
// A snapshot ends at the newest *completed* transaction: one that is in progress shows in pg_stat_activity, of whatever
// kind its backend is, or in pg_prepared_xacts.
constexpr Statement ask_wal_end{"pgrm_wal_end", R"sql(
SELECT pg_current_wal_insert_lsn() AS insert, pg_current_wal_flush_lsn() AS flush,
       pg_snapshot_xmax(pg_current_snapshot()) AS next_xid,
       NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_xid IS NOT NULL) AND
       NOT EXISTS (SELECT FROM pg_prepared_xacts) AS idle)sql"};
constexpr Statement ask_wal_replayed{"pgrm_wal_replayed", "SELECT pg_last_wal_replay_lsn() AS replayed"};
constexpr Statement ask_read_only_override{"pgrm_read_only_override", R"sql(
SELECT reset_val AS value FROM pg_settings
 WHERE name = 'default_transaction_read_only' AND sourcefile LIKE '%postgresql.auto.conf')sql"};
constexpr Statement ask_read_only_exceptions{"pgrm_read_only_exceptions", R"sql(
SELECT to_json(ARRAY(
  SELECT coalesce(r.rolname, 'every role') || ' in ' || coalesce(d.datname, 'every database')
    FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole
                                 LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
   WHERE EXISTS (SELECT FROM unnest(s.setconfig) AS c WHERE c ~ '^(default_)?transaction_read_only=')
   ORDER BY 1)) AS names)sql"};
constexpr Statement ask_config_loaded{"pgrm_config_loaded", R"sql(
SELECT pg_conf_load_time()::text AS loaded, extract(epoch FROM clock_timestamp()) AS now)sql"};
constexpr Statement order_reload{"pgrm_reload", "SELECT pg_reload_conf() AS done"};
constexpr Statement ask_client_sessions{"pgrm_client_sessions", R"sql(
SELECT a.pid, coalesce(a.usename, '') AS "user", coalesce(a.datname, '') AS database, a.application_name,
       coalesce(a.state, '') AS state, coalesce(r.rolsuper, false) AS superuser
  FROM pg_stat_activity AS a LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
 WHERE (a.backend_type = 'client backend' OR a.backend_type = 'walsender' AND a.datname IS NOT NULL)
   AND a.application_name <> current_setting('application_name')
   AND ($1::float8 IS NULL OR a.backend_start < to_timestamp($1::float8))
 ORDER BY a.pid)sql"};
constexpr Statement order_terminate{"pgrm_terminate", "SELECT pg_terminate_backend($1::int) AS done"};
// A transactional message writes WAL, and its commit flushes; no table is touched, so a read-only default does not
// matter.
constexpr Statement order_flush{"pgrm_flush", "SELECT pg_logical_emit_message(true, 'pgrm', '') AS at"};
constexpr Statement order_promote{"pgrm_promote", "SELECT pg_promote(wait => false) AS done"};
// The key is "pgrmcut" as a number: one agent per cluster, whatever the application.
constexpr Statement order_lock{"pgrm_lock", "SELECT pg_try_advisory_lock(x'7067726d637574'::bigint) AS held"};
constexpr Statement order_probe{"pgrm_probe", "INSERT INTO pgrm.cutover_probe (cutover) VALUES ($1)"};
constexpr Statement ask_may_probe{"pgrm_may_probe", R"sql(
SELECT coalesce(has_table_privilege(to_regclass('pgrm.cutover_probe'), 'INSERT'), false) AS may)sql"};
constexpr Statement ask_probe{"pgrm_probe_present",
                              "SELECT EXISTS (SELECT FROM pgrm.cutover_probe WHERE cutover = $1) AS present"};

std::optional<Duration> seconds(const std::optional<double>& value) {
  if (!value) return std::nullopt;
  return from_seconds(*value);
}

int to_int(const std::optional<std::int64_t>& value) { return static_cast<int>(value.value_or(0)); }

std::vector<std::string> names(const Value& json) {
  return nlohmann::json::parse(json.value_or("[]")).get<std::vector<std::string>>();
}

/// What is left of one deadline that covers several statements.
class Budget {
 public:
  explicit Budget(Duration total) : end_(system_clock().now() + total) {}
  Duration left() const { return std::max<Duration>(end_ - system_clock().now(), std::chrono::milliseconds(1)); }
  bool over() const { return system_clock().now() >= end_; }

 private:
  Mono end_;
};

class ServerNode final : public Node {
 public:
  ServerNode(const Conninfo& server, NodeOptions options)
      : session_(server, options.application_name),
        observer_(options.observer_timeout ? Observer::For::watching : Observer::For::acting),
        options_(std::move(options)) {}

  std::string describe() const override { return session_.conninfo().describe(); }
  void disconnect() override { session_.close(); }

  ServerState observe(Duration deadline) override {
    const bool had_connection = session_.is_open();
    try {
      return look(deadline);
    } catch (const Error& error) {
      // A server that hung up since the last look says nothing about this one. Only an observer may just call again:
      // with an agent's session a lock, or the knowledge of who was there, is gone.
      if (!options_.observer_timeout || !had_connection || error.code() != ErrorCode::connection_lost) throw;
      return look(deadline);
    }
  }

  ServerFacts facts(Duration deadline) override {
    const Budget budget(deadline);
    ServerFacts facts;
    const Rows settings = ask(read_settings, {}, budget.left());
    for (std::size_t i = 0; i < settings.size(); ++i) {
      facts.settings[settings[i].text("name").value_or("")] = settings[i].text("value").value_or("");
    }
    const Rows answer = ask(read_facts, {}, budget.left());
    const auto row = answer.one();
    facts.superuser = row.boolean("superuser").value_or(false);
    facts.prepared_transactions = to_int(row.integer("prepared_transactions"));
    facts.oldest_transaction = seconds(row.real("oldest"));
    facts.superuser_sessions = to_int(row.integer("superuser_sessions"));
    facts.base_backup_running = row.boolean("base_backup");
    facts.subscriptions = names(row.text("subscriptions"));
    facts.logical_slots = names(row.text("logical_slots"));
    facts.closed_databases = names(row.text("closed_databases"));
    facts.rights["pg_signal_backend"] = row.boolean("signal_backend").value_or(false);
    facts.rights["pg_promote"] = row.boolean("promote").value_or(false);
    facts.rights["pg_reload_conf"] = row.boolean("reload").value_or(false);
    const Rows more = ask(by_version().rights, {}, budget.left());
    facts.rights["ALTER SYSTEM default_transaction_read_only"] = more.one().boolean("alter_system").value_or(false);
    facts.rights["pg_checkpoint"] = more.one().boolean("checkpoint").value_or(false);
    return facts;
  }

  bool in_recovery(Duration deadline) override { return ask(ask_in_recovery, {}, deadline).one().boolean("r").value(); }

  WalEnd wal_end(Duration deadline) override {
    const Rows answer = ask(ask_wal_end, {}, deadline);
    const auto row = answer.one();
    return {row.lsn("insert").value(), row.lsn("flush").value(),
            static_cast<std::uint64_t>(row.integer("next_xid").value()), row.boolean("idle").value()};
  }

  std::optional<Lsn> wal_replayed(Duration deadline) override {
    return ask(ask_wal_replayed, {}, deadline).one().lsn("replayed");
  }

  std::optional<std::string> read_only_override(Duration deadline) override {
    const Rows answer = ask(ask_read_only_override, {}, deadline);
    if (answer.size() == 0) return std::nullopt;
    return answer.one().text("value");
  }

  std::vector<std::string> read_only_exceptions(Duration deadline) override {
    return names(ask(ask_read_only_exceptions, {}, deadline).one().text("names"));
  }

  bool accepts_connections(Duration deadline) override { return ping(session_.conninfo(), deadline); }

  std::vector<ClientSession> client_sessions(std::optional<WallTime> before, Duration deadline) override {
    const Value start = before ? Value(fmt::format("{:.6f}", to_unix(*before))) : std::nullopt;
    const Rows answer = ask(ask_client_sessions, {start}, deadline);
    std::vector<ClientSession> sessions;
    for (std::size_t i = 0; i < answer.size(); ++i) {
      const auto row = answer[i];
      sessions.push_back({to_int(row.integer("pid")), row.text("user").value_or(""), row.text("database").value_or(""),
                          row.text("application_name").value_or(""), row.text("state").value_or(""),
                          row.boolean("superuser").value_or(false)});
    }
    return sessions;
  }

  WallTime override_read_only(const std::optional<std::string>& value, Duration deadline) override {
    const Budget budget(deadline);
    const Value before = ask(ask_config_loaded, {}, budget.left()).one().text("loaded");
    // ALTER SYSTEM takes no parameters.
    session_.script(value ? "ALTER SYSTEM SET default_transaction_read_only = " + session_.quote_literal(*value)
                          : "ALTER SYSTEM RESET default_transaction_read_only",
                    budget.left());
    ask(order_reload, {}, budget.left());
    // The postmaster reloads before it tells its children: once this session has reloaded, every new one has it too.
    for (;;) {
      const Rows answer = ask(ask_config_loaded, {}, budget.left());
      if (answer.one().text("loaded") != before) return answer.one().time("now").value();
      if (budget.over()) {
        throw Error(ErrorCode::timeout,
                    fmt::format("{} has not reloaded its configuration within {}", describe(), human(deadline)));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void terminate(int pid, Duration deadline) override { ask(order_terminate, {std::to_string(pid)}, deadline); }

  void checkpoint(Duration deadline) override {
    open(deadline);
    session_.script("CHECKPOINT", deadline);
  }

  void flush_wal(Duration deadline) override { ask(order_flush, {}, deadline); }

  bool promote(Duration deadline) override {
    return ask(order_promote, {}, deadline).one().boolean("done").value_or(false);
  }

  bool try_lock(Duration deadline) override { return ask(order_lock, {}, deadline).one().boolean("held").value(); }

  WriteProbe write_probe(const std::string& cutover, Duration deadline) override {
    try {
      ask(order_probe, {cutover}, deadline);
      return {.accepted = true, .read_only = false, .refusal = {}};
    } catch (const SqlError& refusal) {
      return {.accepted = false, .read_only = refusal.code() == ErrorCode::read_only, .refusal = refusal.what()};
    }
  }

  bool may_write_probe(Duration deadline) override {
    return ask(ask_may_probe, {}, deadline).one().boolean("may").value();
  }

  bool probe_present(const std::string& cutover, Duration deadline) override {
    return ask(ask_probe, {cutover}, deadline).one().boolean("present").value();
  }

 private:
  ServerState look(Duration deadline) {
    const Budget budget(deadline);
    open(deadline);
    return observer_.look(session_, budget.left());
  }

  void open(Duration deadline) {
    if (session_.is_open()) return;
    session_.open(deadline);
    if (!options_.observer_timeout) return;
    // A lock is waited for so briefly that what it blocks does not use up the time of the rest.
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(*options_.observer_timeout).count();
    // And a server that cannot reach this program any more ends the session by itself, within half a minute.
    session_.script(fmt::format("SET statement_timeout = {}; SET lock_timeout = {}; SET search_path = ''; "
                                "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; "
                                "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 25000; "
                                "SET default_transaction_read_only = on",
                                millis, std::max<std::int64_t>(1, millis / 20)),
                    deadline);
  }

  Rows ask(const Statement& statement, const Params& params, Duration deadline) {
    open(deadline);
    return session_.execute(statement, params, deadline);
  }

  const VersionDependent& by_version() {
    for (const VersionDependent& row : version_dependent) {
      if (session_.server_version() >= row.since) return row;
    }
    throw Error(ErrorCode::internal, "no row for this server version");
  }

  Session session_;
  Observer observer_;
  NodeOptions options_;
};

}  // namespace

std::unique_ptr<Node> make_server_node(const Conninfo& server, const NodeOptions& options) {
  return std::make_unique<ServerNode>(server, options);
}

}  // namespace pgrm
