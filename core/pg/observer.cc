#include "core/pg/observer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/base/error.h"
#include "core/base/json_text.h"

namespace pgrm {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// The versions. PostgreSQL 13 to 18 have every column and function that the statements below name; where they differ,
// a statement has a placeholder, and this is the one place that knows what stands for it. The newest row that the
// server reaches counts.

struct Difference {
  std::string_view placeholder;
  int since;
  std::string_view sql;
};

constexpr std::array differences{
    // pg_stat_wal came with 14.
    Difference{"{wal}", 140000, "(SELECT wal_records, wal_fpi, wal_bytes FROM pg_stat_wal)"},
    Difference{"{wal}", 0, "(SELECT NULL AS wal_records, NULL AS wal_fpi, NULL AS wal_bytes)"},

    // pg_stat_checkpointer took over from pg_stat_bgwriter in 17.
    Difference{"{checkpointer}", 170000,
               "(SELECT num_timed AS timed, num_requested AS requested, restartpoints_done AS restartpoints,"
               " write_time, sync_time FROM pg_stat_checkpointer)"},
    Difference{"{checkpointer}", 0,
               "(SELECT checkpoints_timed AS timed, checkpoints_req AS requested, NULL AS restartpoints,"
               " checkpoint_write_time AS write_time, checkpoint_sync_time AS sync_time FROM pg_stat_bgwriter)"},

    // Logical decoding on standbys, and with it a new kind of conflict, came with 16.
    Difference{"{logical_slot_conflicts}", 160000, ", 'logical_slot', sum(confl_active_logicalslot)"},
    Difference{"{logical_slot_conflicts}", 0, ""},

    // Why a slot is invalid, and since when nobody uses it, is told from 17 on; 16 tells of conflicts; wal_status is as
    // old as slots that can be lost.
    Difference{"{slot_end}", 170000,
               "s.invalidation_reason IS NOT NULL AS invalidated, extract(epoch FROM s.inactive_since)"},
    Difference{"{slot_end}", 160000, "(coalesce(s.conflicting, false) OR s.wal_status = 'lost') AS invalidated, NULL"},
    Difference{"{slot_end}", 0, "s.wal_status = 'lost' AS invalidated, NULL"},
};

// ---------------------------------------------------------------------------------------------------------------------
// The statements, each with what its rows mean.

// Names no catalog, so that no lock can hold it up: hence the function behind pg_stat_activity, and not the view.
//
// pg_current_wal_*() raise an error in recovery, pg_last_wal_*() and pg_is_wal_replay_paused() outside of it: hence the
// branches inside the statement. A standby is asked first and the primary right after it: with the primary's positions
// in front and the standby's at the end, as little WAL as possible is written in between. reset_val is what this
// session would get from a new login, whatever it has set for itself.
constexpr std::string_view server_sql = R"sql(
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
       coalesce(current_setting('pgrm.read_only_by', true), '') AS read_only_hidden_by,
       pg_has_role('pg_read_all_stats', 'USAGE') AS full_view,
       extract(epoch FROM clock_timestamp()) AS server_time,
       extract(epoch FROM pg_postmaster_start_time()) AS started_at,
       CASE WHEN r THEN extract(epoch FROM pg_last_xact_replay_timestamp()) END AS last_replayed_commit,
       CASE WHEN r THEN pg_is_wal_replay_paused() END AS replay_paused,
       CASE WHEN r THEN extract(epoch FROM current_setting('recovery_min_apply_delay')::interval) END AS apply_delay,
       CASE WHEN r THEN extract(epoch FROM current_setting('wal_receiver_timeout')::interval) END AS receiver_timeout,
       w.status AS receiver_status, coalesce(w.slot_name, '') AS receiver_slot,
       coalesce(w.sender_host, '') AS sender_host, coalesce(w.sender_port, 0) AS sender_port,
       w.written_lsn, w.flushed_lsn, w.latest_end_lsn,
       extract(epoch FROM w.last_msg_send_time) AS last_message_sent,
       extract(epoch FROM w.last_msg_receipt_time) AS last_message_received,
       a.connections, a.replay_waits_for, a.oldest[1] AS oldest_since, a.oldest[2] AS oldest_pid,
       current_setting('max_connections') AS connections_limit,
       CASE WHEN r THEN pg_last_wal_receive_lsn() END AS wal_receive,
       CASE WHEN r THEN pg_last_wal_replay_lsn() END AS wal_replay
  FROM (SELECT pg_is_in_recovery() AS r) AS role LEFT JOIN pg_stat_wal_receiver AS w ON true,
       (SELECT count(*) FILTER (WHERE backend_type = 'client backend') AS connections,
               min(wait_event_type || '/' || wait_event) FILTER (WHERE backend_type = 'startup') AS replay_waits_for,
               min(ARRAY[extract(epoch FROM xact_start)::float8, pid])
                 FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL) AS oldest
          FROM pg_stat_get_activity(NULL)) AS a)sql";

std::optional<Duration> seconds(const std::optional<double>& value) {
  if (!value) return std::nullopt;
  return from_seconds(*value);
}

int to_int(const std::optional<std::int64_t>& value) { return static_cast<int>(value.value_or(0)); }

std::optional<WalReceiver> map_receiver(const Rows::Row& row) {
  if (!row.text("receiver_status")) return std::nullopt;
  return WalReceiver{
      .status = *row.text("receiver_status"),
      .slot = row.text("receiver_slot").value_or(""),
      .sender_host = valid_utf8(row.text("sender_host").value_or("")),  // a label, which has to be UTF-8
      .sender_port = to_int(row.integer("sender_port")),
      .written = row.lsn("written_lsn"),
      .flushed = row.lsn("flushed_lsn"),
      .latest_end = row.lsn("latest_end_lsn"),
      .last_message_sent = row.time("last_message_sent"),
      .last_message_received = row.time("last_message_received"),
  };
}

void map_server(const Rows& rows, ServerState& state) {
  const auto row = rows.one();
  state.version = to_int(row.integer("version"));
  state.system_identifier = row.text("system_identifier").value_or("");
  state.in_recovery = row.boolean("in_recovery").value_or(false);
  if (const auto timeline = row.integer("timeline")) state.timeline = static_cast<std::uint32_t>(*timeline);
  state.default_read_only = row.boolean("default_read_only").value_or(false);
  state.read_only_hidden_by = valid_utf8(row.text("read_only_hidden_by").value_or(""));
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
  state.recovery_min_apply_delay = seconds(row.real("apply_delay"));
  state.receiver_timeout = seconds(row.real("receiver_timeout"));
  state.receiver = map_receiver(row);
  state.replay_waits_for = row.text("replay_waits_for").value_or("");
  if (const auto since = row.time("oldest_since")) {
    state.oldest_open = OpenTransaction{static_cast<int>(row.real("oldest_pid").value_or(0)), *since};
  }
  state.connections = to_int(row.integer("connections"));
  state.connections_limit = to_int(row.integer("connections_limit"));
}

// WAL senders and slots at once: a row is either, or both where a sender streams from a slot. What holds back the
// primary's vacuum for a standby is its slot's xmin, or its own when it uses none.
constexpr std::string_view replication_sql = R"sql(
SELECT s.slot_name, s.slot_type, s.active, s.restart_lsn, s.confirmed_flush_lsn, s.wal_status, s.safe_wal_size,
       {slot_end} AS inactive_since,
       r.pid, r.application_name, r.state, r.sync_state, r.sent_lsn, r.write_lsn, r.flush_lsn, r.replay_lsn,
       extract(epoch FROM r.write_lag) AS write_lag, extract(epoch FROM r.flush_lag) AS flush_lag,
       extract(epoch FROM r.replay_lag) AS replay_lag, extract(epoch FROM r.reply_time) AS reply_time,
       age(coalesce(r.backend_xmin, s.xmin)) AS xmin_age
  FROM pg_stat_replication AS r FULL JOIN pg_replication_slots AS s ON s.active_pid = r.pid
 ORDER BY coalesce(s.slot_name, r.application_name), r.pid)sql";

Standby map_standby(const Rows::Row& row) {
  const std::string application_name = row.text("application_name").value_or("");
  return {
      .name = row.text("slot_name").value_or(application_name),
      .application_name = application_name,
      .slot = row.text("slot_name"),
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
      .xmin_age = row.integer("xmin_age"),
  };
}

Slot map_slot(const Rows::Row& row) {
  return {
      .name = row.text("slot_name").value_or(""),
      .type = row.text("slot_type").value_or(""),
      .active = row.boolean("active").value_or(false),
      .restart = row.lsn("restart_lsn"),
      .confirmed_flush = row.lsn("confirmed_flush_lsn"),
      .wal_status = row.text("wal_status"),
      .safe_wal_bytes = row.integer("safe_wal_size"),
      .invalidated = row.boolean("invalidated").value_or(false),
      .inactive_since = row.time("inactive_since"),
  };
}

void map_replication(const Rows& rows, ServerState& state) {
  std::set<std::string> senders;  // one with several temporary slots has several rows
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = rows[i];
    if (row.text("slot_name")) state.slots.push_back(map_slot(row));
    const Value& sender = row.text("pid");
    if (sender && senders.insert(*sender).second) state.standbys.push_back(map_standby(row));
  }
}

// The rights of pg_monitor are needed for the last column. A standby archives only where archive_mode is always.
constexpr std::string_view statistics_sql = R"sql(
SELECT c.*, a.archived_count, a.failed_count, extract(epoch FROM a.last_archived_time) AS last_archived,
       extract(epoch FROM a.last_failed_time) AS last_failed, k.*, w.*,
       (SELECT json_build_object('tablespace', sum(confl_tablespace), 'lock', sum(confl_lock), 'snapshot',
                                 sum(confl_snapshot), 'bufferpin', sum(confl_bufferpin), 'deadlock',
                                 sum(confl_deadlock){logical_slot_conflicts})
          FROM pg_stat_database_conflicts) AS conflicts,
       (SELECT count(*) FROM pg_prepared_xacts) AS prepared,
       (SELECT coalesce(bool_or(datallowconn), true) FROM pg_database
         WHERE datname NOT IN ('template0', 'template1', current_database())) AS accepting,
       CASE WHEN current_setting('archive_mode') = 'always' OR
                 current_setting('archive_mode') = 'on' AND NOT pg_is_in_recovery()
            THEN (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') ELSE 0 END AS ready,
       f.fence
  FROM (SELECT json_build_object(
                 'active', count(*) FILTER (WHERE state = 'active'),
                 'idle', count(*) FILTER (WHERE state = 'idle'),
                 'idle in transaction', count(*) FILTER (WHERE state = 'idle in transaction'),
                 'idle in transaction (aborted)', count(*) FILTER (WHERE state = 'idle in transaction (aborted)'),
                 'other', count(*) FILTER (WHERE coalesce(state, '') NOT IN
                   ('active', 'idle', 'idle in transaction', 'idle in transaction (aborted)'))) AS connections,
               extract(epoch FROM min(xact_start) FILTER (WHERE pid <> pg_backend_pid())) AS oldest_transaction,
               count(*) FILTER (WHERE wait_event_type = 'Lock') AS blocked,
               count(*) FILTER (WHERE datid IN (SELECT oid FROM pg_database WHERE NOT datallowconn)) AS behind_gate,
               extract(epoch FROM min(state_change) FILTER (WHERE state LIKE 'idle in transaction%')) AS oldest_idle
          FROM pg_stat_activity WHERE backend_type = 'client backend') AS c,
       (SELECT CASE WHEN n LIKE 'pgrm\_%' THEN n ELSE '' END AS fence
          FROM current_setting('synchronous_standby_names') AS n) AS f,
       pg_stat_archiver AS a, {checkpointer} AS k, {wal} AS w)sql";

template <class Number>
std::map<std::string, Number, std::less<>> numbers(const Value& json) {
  std::map<std::string, Number, std::less<>> result;
  const auto object = nlohmann::json::parse(json.value_or("{}"));
  for (const auto& [key, value] : object.items()) {
    if (!value.is_null()) result[key] = value.template get<Number>();
  }
  return result;
}

void map_statistics(const Rows& rows, ServerState& state) {
  const auto row = rows.one();
  const auto millis = [&row](const char* column) { return from_seconds(row.real(column).value_or(0) / 1000); };
  const auto count = [&row](const char* column) { return row.integer(column).value_or(0); };
  state.statistics = Statistics{
      .connections = numbers<int>(row.text("connections")),
      .prepared_transactions = to_int(row.integer("prepared")),
      .oldest_transaction = row.time("oldest_transaction"),
      .oldest_idle_in_transaction = row.time("oldest_idle"),
      .accepting_connections = row.boolean("accepting").value_or(false),
      .sessions_behind_gate = to_int(row.integer("behind_gate")),
      .wal_records = row.integer("wal_records"),
      .wal_fpi = row.integer("wal_fpi"),
      .wal_bytes = row.integer("wal_bytes"),
      .archived_segments = count("archived_count"),
      .failed_segments = count("failed_count"),
      .last_archived = row.time("last_archived"),
      .last_failed = row.time("last_failed"),
      .archive_ready_segments = count("ready"),
      .checkpoints_timed = count("timed"),
      .checkpoints_requested = count("requested"),
      .restartpoints = row.integer("restartpoints"),
      .checkpoint_write = millis("write_time"),
      .checkpoint_sync = millis("sync_time"),
      .recovery_conflicts = numbers<std::int64_t>(row.text("conflicts")),
      .blocked_sessions = to_int(row.integer("blocked")),
      .fence = row.text("fence").value_or(""),
  };
}

constexpr std::string_view upkeep_sql = R"sql(
SELECT (SELECT sum(size)::int8 FROM pg_ls_waldir()) AS wal_directory, d.xid_age, d.multixact_age,
       CASE WHEN has_function_privilege('pg_show_all_file_settings()', 'EXECUTE')
            THEN coalesce((SELECT max(setting) FROM pg_show_all_file_settings()
                            WHERE name = 'synchronous_standby_names' AND setting LIKE 'pgrm\_%'), '') END AS armed
  FROM (SELECT max(age(datfrozenxid))::int8 AS xid_age, max(mxid_age(datminmxid))::int8 AS multixact_age
          FROM pg_database) AS d)sql";

void map_upkeep(const Rows& rows, ServerState& state) {
  if (!state.statistics) return;
  const auto row = rows.one();
  state.statistics->upkeep = {
      .xid_age = row.integer("xid_age"),
      .multixact_age = row.integer("multixact_age"),
      .wal_directory_bytes = row.integer("wal_directory"),
      .armed = row.text("armed"),
  };
}

struct Part {
  const char* name;            // of the collector
  const char* statement_name;  // in the server
  std::string_view sql;
  void (*map)(const Rows&, ServerState&);
  bool decides;  // a cutover is decided by it
  bool seldom;   // asked once a minute
};

constexpr std::array parts{
    Part{"server", "pgrm_observe_server", server_sql, map_server, true, false},
    Part{"replication", "pgrm_observe_replication", replication_sql, map_replication, true, false},
    Part{"statistics", "pgrm_observe_statistics", statistics_sql, map_statistics, false, false},
    Part{"upkeep", "pgrm_observe_upkeep", upkeep_sql, map_upkeep, false, true},
};

std::string for_version(std::string_view sql, int version) {
  std::string result(sql);
  for (const Difference& row : differences) {
    const auto at = result.find(row.placeholder);
    if (at != std::string::npos && version >= row.since) result.replace(at, row.placeholder.size(), row.sql);
  }
  return result;
}

}  // namespace

void Observer::write_statements(int version) {
  if (version == version_) return;
  statements_.clear();
  for (const Part& part : parts) statements_.push_back(for_version(part.sql, version));
  version_ = version;
}

ServerState Observer::look(Session& session, Duration deadline) {
  const Mono begun = system_clock().now(), end = begun + deadline;
  write_statements(session.server_version());
  const bool upkeep_is_due = begun >= upkeep_due_;
  ServerState state;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    if (purpose_ == For::acting && !part.decides) continue;
    if (part.seldom && !upkeep_is_due) continue;
    const Mono start = system_clock().now();
    Collector& collector = state.collectors.emplace_back(Collector{part.name, {}, {}});
    try {
      const Duration left = std::max<Duration>(end - start, std::chrono::milliseconds(1));
      part.map(session.execute({part.statement_name, statements_[i].c_str()}, {}, left), state);
    } catch (const SqlError& refusal) {
      if (purpose_ == For::acting || i == 0) throw;  // without the first nothing is known
      collector.error = refusal.what();
    }
    collector.took = system_clock().now() - start;
  }
  state.replication_known = state.collectors[1].error.empty();
  if (purpose_ == For::watching) remember_upkeep(state, upkeep_is_due, begun);
  return state;
}

void Observer::remember_upkeep(ServerState& state, bool asked, Mono at) {
  if (asked) {
    upkeep_collector_ = state.collectors.back();
    if (state.statistics) {
      upkeep_ = state.statistics->upkeep;
      upkeep_due_ = at + std::chrono::minutes(1);
    }
  } else {
    state.collectors.push_back(upkeep_collector_);
    if (state.statistics) state.statistics->upkeep = upkeep_;
  }
  // What is in force stands in the configuration as well.
  if (state.statistics && upkeep_.armed && !state.statistics->fence.empty()) state.statistics->upkeep.armed = "";
}

}  // namespace pgrm
