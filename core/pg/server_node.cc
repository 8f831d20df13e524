#include "core/pg/server_node.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/pg/session.h"

namespace pgrm {
namespace {

// PostgreSQL 13 to 18 have every column and function named here. What only some versions offer stands in
// `version_dependent` at the end of this list.

// pg_current_wal_*() raise an error in recovery, pg_last_wal_*() and pg_is_wal_replay_paused() outside of it: hence the
// branches inside the statement. A standby is asked first and the primary right after it: with the primary's positions
// in front and the standby's at the end, as little WAL as possible is written in between. reset_val is what new
// sessions get, whatever this session has set for itself.
constexpr Statement observe_server{"pgrm_observe_server", R"sql(
SELECT CASE WHEN NOT r THEN pg_current_wal_flush_lsn() END AS wal_flush,
       CASE WHEN NOT r THEN pg_current_wal_lsn() END AS wal_write,
       CASE WHEN NOT r THEN pg_current_wal_insert_lsn() END AS wal_insert,
       current_setting('server_version_num') AS version,
       (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       r AS in_recovery,
       CASE WHEN r THEN greatest(w.received_tli, (SELECT timeline_id FROM pg_control_checkpoint()),
                                 (SELECT min_recovery_end_timeline FROM pg_control_recovery()))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') AS default_read_only,
       pg_has_role('pg_read_all_stats', 'USAGE') AS full_view,
       extract(epoch FROM clock_timestamp()) AS server_time,
       extract(epoch FROM pg_postmaster_start_time()) AS started_at,
       CASE WHEN r THEN extract(epoch FROM pg_last_xact_replay_timestamp()) END AS last_replayed_commit,
       CASE WHEN r THEN pg_is_wal_replay_paused() END AS replay_paused,
       w.status AS receiver_status, coalesce(w.slot_name, '') AS receiver_slot,
       coalesce(w.sender_host, '') AS sender_host, coalesce(w.sender_port, 0) AS sender_port,
       w.written_lsn, w.flushed_lsn, w.latest_end_lsn,
       extract(epoch FROM w.last_msg_send_time) AS last_message_sent,
       extract(epoch FROM w.last_msg_receipt_time) AS last_message_received,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       current_setting('max_connections') AS connections_limit,
       CASE WHEN r THEN pg_last_wal_receive_lsn() END AS wal_receive,
       CASE WHEN r THEN pg_last_wal_replay_lsn() END AS wal_replay
  FROM (SELECT pg_is_in_recovery() AS r) AS role LEFT JOIN pg_stat_wal_receiver AS w ON true)sql"};

constexpr Statement observe_standbys{"pgrm_observe_standbys", R"sql(
SELECT coalesce(s.slot_name, r.application_name) AS name, r.application_name, s.slot_name AS slot, r.state, r.sync_state,
       r.sent_lsn, r.write_lsn, r.flush_lsn, r.replay_lsn,
       extract(epoch FROM r.write_lag) AS write_lag, extract(epoch FROM r.flush_lag) AS flush_lag,
       extract(epoch FROM r.replay_lag) AS replay_lag, extract(epoch FROM r.reply_time) AS reply_time
  FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
 ORDER BY 1, r.pid)sql"};

constexpr Statement observe_slots{"pgrm_observe_slots", R"sql(
SELECT slot_name AS name, slot_type AS type, active, restart_lsn, confirmed_flush_lsn, wal_status, safe_wal_size
  FROM pg_replication_slots ORDER BY slot_name)sql"};

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

std::optional<WalReceiver> map_receiver(const Rows::Row& row) {
  if (!row.text("receiver_status")) return std::nullopt;
  return WalReceiver{
      .status = *row.text("receiver_status"),
      .slot = row.text("receiver_slot").value_or(""),
      .sender_host = row.text("sender_host").value_or(""),
      .sender_port = to_int(row.integer("sender_port")),
      .written = row.lsn("written_lsn"),
      .flushed = row.lsn("flushed_lsn"),
      .latest_end = row.lsn("latest_end_lsn"),
      .last_message_sent = row.time("last_message_sent"),
      .last_message_received = row.time("last_message_received"),
  };
}

ServerState map_server(const Rows::Row& row) {
  ServerState state;
  state.version = to_int(row.integer("version"));
  state.system_identifier = row.text("system_identifier").value_or("");
  state.in_recovery = row.boolean("in_recovery").value_or(false);
  if (const auto timeline = row.integer("timeline")) state.timeline = static_cast<std::uint32_t>(*timeline);
  state.default_read_only = row.boolean("default_read_only").value_or(false);
  state.full_view = row.boolean("full_view").value_or(false);
  state.server_time = row.time("server_time").value_or(WallTime{});
  state.started_at = row.time("started_at").value_or(WallTime{});
  state.wal_insert = row.lsn("wal_insert");
  state.wal_write = row.lsn("wal_write");
  state.wal_flush = row.lsn("wal_flush");
  state.wal_receive = row.lsn("wal_receive");
  state.wal_replay = row.lsn("wal_replay");
  state.last_replayed_commit = row.time("last_replayed_commit");
  state.replay_paused = row.boolean("replay_paused");
  state.receiver = map_receiver(row);
  state.connections = to_int(row.integer("connections"));
  state.connections_limit = to_int(row.integer("connections_limit"));
  return state;
}

Standby map_standby(const Rows::Row& row) {
  return {
      .name = row.text("name").value_or(""),
      .application_name = row.text("application_name").value_or(""),
      .slot = row.text("slot"),
      .state = row.text("state"),
      .sync_state = row.text("sync_state"),
      .sent = row.lsn("sent_lsn"),
      .write = row.lsn("write_lsn"),
      .flush = row.lsn("flush_lsn"),
      .replay = row.lsn("replay_lsn"),
      .write_lag = seconds(row.real("write_lag")),
      .flush_lag = seconds(row.real("flush_lag")),
      .replay_lag = seconds(row.real("replay_lag")),
      .reply_time = row.time("reply_time"),
  };
}

Slot map_slot(const Rows::Row& row) {
  return {
      .name = row.text("name").value_or(""),
      .type = row.text("type").value_or(""),
      .active = row.boolean("active").value_or(false),
      .restart = row.lsn("restart_lsn"),
      .confirmed_flush = row.lsn("confirmed_flush_lsn"),
      .wal_status = row.text("wal_status"),
      .safe_wal_bytes = row.integer("safe_wal_size"),
  };
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
      : session_(server, options.application_name), options_(std::move(options)) {}

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
    ServerState state = map_server(ask(observe_server, {}, budget.left()).one());
    const Rows standbys = ask(observe_standbys, {}, budget.left());
    for (std::size_t i = 0; i < standbys.size(); ++i) state.standbys.push_back(map_standby(standbys[i]));
    const Rows slots = ask(observe_slots, {}, budget.left());
    for (std::size_t i = 0; i < slots.size(); ++i) state.slots.push_back(map_slot(slots[i]));
    return state;
  }

  void open(Duration deadline) {
    if (session_.is_open()) return;
    session_.open(deadline);
    if (!options_.observer_timeout) return;
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(*options_.observer_timeout).count();
    session_.script(fmt::format("SET statement_timeout = {}; SET search_path = ''; "
                                "SET default_transaction_read_only = on",
                                millis),
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
  NodeOptions options_;
};

}  // namespace

std::unique_ptr<Node> make_server_node(const Conninfo& server, const NodeOptions& options) {
  return std::make_unique<ServerNode>(server, options);
}

}  // namespace pgrm
