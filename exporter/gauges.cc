#include "exporter/gauges.h"

#include <fmt/format.h>
#include <prometheus/collectable.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <functional>
#include <set>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/base/error.h"
#include "core/metrics/endpoint.h"
#include "core/metrics/text.h"
#include "core/replication/lag.h"

namespace pgrm::exporter {
namespace {

using metrics::Labels;
using prometheus::MetricType;
using Number = std::optional<double>;  // unknown: no series
using Names = std::span<const char* const>;

constexpr int oldest_version = 13;
constexpr MetricType gauge = MetricType::Gauge;
constexpr MetricType counter = MetricType::Counter;

// ---------------------------------------------------------------------------------------------------------------------
// The kinds of rows. Each is about one kind of subject S, which brings its own labels: a node, a standby, a slot, the
// pair. `source` is where the value comes from, in PostgreSQL's words; HELP shows it. `since`: the first version of
// PostgreSQL that has it, where that is not the oldest one supported.

/// One value.
template <class S>
struct Metric {
  std::string_view name;
  MetricType type;
  std::string_view help, source;
  Number (*value)(const S&);
  int since = oldest_version;
};

/// One value for each of a fixed set of label values: state sets and counters by reason, all there from the start.
template <class S>
struct MetricSet {
  std::string_view name;
  MetricType type;
  std::string_view help, source, label;
  Names values;
  Number (*value)(const S&, std::string_view label_value);
  int since = oldest_version;
};

/// Always 1: the labels are the information. `label_names`: for the catalogue.
template <class S>
struct Info {
  std::string_view name, help, source, label_names;
  std::optional<Labels> (*labels)(const S&);
  int since = oldest_version;
};

// ---------------------------------------------------------------------------------------------------------------------
// The subjects.

/// One server as something to look at, whether it answers or not.
struct ServerView {
  const View& view;
  Side side;
  const ServerSample& sample() const { return view.sample()[side]; }
  const ServerTally& tally() const { return view.observation().tally(side); }
};

/// A row of pg_stat_replication; `row` is nullptr for the configured replica while it is missing.
struct StandbyView {
  const Standby* row;
  std::optional<Lsn> target;  // the sender's flush position
};

struct SlotView {
  const Slot* row;
  std::optional<Lsn> end;  // of the WAL that the server has
};

struct PairView {
  const View& view;
  bool fresh = view.fresh();
  PairLag lag = fresh ? pair_lag(view.sample()) : PairLag{};
  std::optional<CatchUp> catch_up = fresh ? view.sample().catch_up : std::nullopt;
  const SyncStreak& streak() const { return view.streak(); }
};

struct Program {};

// ---------------------------------------------------------------------------------------------------------------------
// From PostgreSQL's types to Prometheus' base units.

Number number(bool value) { return value ? 1 : 0; }
Number number(std::integral auto value) { return static_cast<double>(value); }
Number number(const std::optional<Lsn>& lsn) { return lsn ? number(lsn->bytes()) : Number(); }
Number number(const std::optional<Duration>& duration) { return duration ? Number(to_seconds(*duration)) : Number(); }
Number number(const std::optional<WallTime>& time) { return time ? Number(to_unix(*time)) : Number(); }
template <class T>
Number number(const std::optional<T>& value) {
  return value ? number(*value) : Number();
}

/// A point in time that is known not to have been is 0.
Number or_never(const std::optional<WallTime>& time) { return time ? to_unix(*time) : 0; }

template <class Value>
Number found_in(const std::map<std::string, Value, std::less<>>& values, std::string_view key) {
  const auto found = values.find(key);
  return found == values.end() ? Number() : number(found->second);
}

/// A state set's value: unknown when the state is.
Number is_state(const std::optional<std::string>& state, std::string_view value) {
  return state ? number(*state == value) : Number();
}

/// "15.4" from 150004.
std::string version_text(int version) { return fmt::format("{}.{}", version / 10000, version % 10000); }

/// The receiver's row, which only a server in recovery can have, and only pg_monitor can see.
bool receiver_known(const ServerState& s) { return s.in_recovery && (s.receiver || s.full_view); }

template <class Field>
Number of_receiver(const ServerState& s, Field WalReceiver::*field) {
  return s.receiver ? number((*s.receiver).*field) : Number();
}

Number behind(const StandbyView& s, std::optional<Lsn> Standby::*position) {
  return s.row == nullptr ? Number() : number(bytes_behind(s.row->*position, s.target));
}

Number lag(const StandbyView& s, std::optional<Duration> Standby::*reported, std::optional<Lsn> Standby::*position) {
  return s.row == nullptr ? Number() : number(known_lag(s.row->*reported, bytes_behind(s.row->*position, s.target)));
}

template <class Field>
Number of_row(const StandbyView& s, Field Standby::*field) {
  return s.row == nullptr ? Number() : number(s.row->*field);
}

// ---------------------------------------------------------------------------------------------------------------------
// The tables.

constexpr std::array program_info{
    Info<Program>{"pgrm_build_info", "Version of the exporter, always 1", "the program", "version",
                  [](const Program&) {
                    return std::optional(Labels{{"version", PGRM_VERSION}});
                  }},
};

// Everything that Node::observe() can fail with.
constexpr std::array error_names{"unreachable",       "authentication", "timeout", "connection_lost",
                                 "permission_denied", "query_failed",   "internal"};

constexpr std::array watched_metrics{
    Metric<ServerView>{"pgrm_up", gauge, "Whether the last observation of the server succeeded and is fresh",
                       "the exporter", [](const ServerView& w) { return number(w.view.server(w.side) != nullptr); }},
    Metric<ServerView>{"pgrm_observation_age_seconds", gauge, "Age of the last successful observation",
                       "the exporter's monotonic clock",
                       [](const ServerView& w) {
                         return w.tally().seen_mono ? Number(to_seconds(w.view.now() - *w.tally().seen_mono))
                                                    : Number();
                       }},
    Metric<ServerView>{"pgrm_observation_timestamp_seconds", gauge, "When the last successful observation began",
                       "the exporter's clock", [](const ServerView& w) { return number(w.tally().seen_at); }},
    Metric<ServerView>{
        "pgrm_observation_duration_seconds", gauge, "How long the last observation took, failed or not",
        "the exporter's monotonic clock",
        [](const ServerView& w) { return w.view.observed() ? Number(to_seconds(w.sample().took)) : Number(); }},
    Metric<ServerView>{"pgrm_observations_total", counter, "Observations, failed or not", "the exporter",
                       [](const ServerView& w) { return number(w.tally().looks); }},
};

constexpr std::array watched_sets{
    MetricSet<ServerView>{"pgrm_observation_errors_total", counter, "Failed observations by reason", "the exporter",
                          "reason", error_names,
                          [](const ServerView& w, std::string_view reason) {
                            const auto found = w.tally().errors.find(reason);
                            return number(found == w.tally().errors.end() ? 0 : found->second);
                          }},
};

constexpr std::array watched_info{
    Info<ServerView>{"pgrm_server_info", "Address, version and cluster of the server, always 1",
                     "the settings, server_version_num, pg_control_system().system_identifier",
                     "address, version, system_identifier",
                     [](const ServerView& w) {
                       const ServerState* const s = w.view.server(w.side);
                       if (s == nullptr) return std::optional<Labels>();
                       return std::optional(Labels{{"address", w.sample().address},
                                                   {"version", version_text(s->version)},
                                                   {"system_identifier", s->system_identifier}});
                     }},
};

constexpr std::array server_info{
    Info<ServerState>{"pgrm_wal_receiver_info", "What a standby's WAL receiver is connected to, always 1",
                      "pg_stat_wal_receiver", "slot, sender_host, sender_port",
                      [](const ServerState& s) {
                        if (!s.receiver) return std::optional<Labels>();
                        return std::optional(Labels{{"slot", s.receiver->slot},
                                                    {"sender_host", s.receiver->sender_host},
                                                    {"sender_port", std::to_string(s.receiver->sender_port)}});
                      }},
};

constexpr std::array server_metrics{
    Metric<ServerState>{"pgrm_in_recovery", gauge, "Whether the server is in recovery: 1 on a standby",
                        "pg_is_in_recovery()", [](const ServerState& s) { return number(s.in_recovery); }},
    Metric<ServerState>{"pgrm_timeline_id", gauge, "Timeline of the WAL that the server writes or receives",
                        "pg_walfile_name() on a primary, pg_stat_wal_receiver.received_tli on a standby",
                        [](const ServerState& s) { return number(s.timeline); }},
    Metric<ServerState>{"pgrm_read_only", gauge, "Whether new sessions are read-only by default",
                        "default_transaction_read_only in pg_settings",
                        [](const ServerState& s) { return number(read_only(s)); }},
    Metric<ServerState>{"pgrm_full_view", gauge, "Whether the exporter's role sees all statistics (pg_monitor)",
                        "pg_has_role('pg_read_all_stats')", [](const ServerState& s) { return number(s.full_view); }},
    Metric<ServerState>{"pgrm_server_timestamp_seconds", gauge, "The server's own clock at the observation",
                        "clock_timestamp()", [](const ServerState& s) { return Number(to_unix(s.server_time)); }},
    Metric<ServerState>{"pgrm_postmaster_start_timestamp_seconds", gauge, "When the server was started",
                        "pg_postmaster_start_time()",
                        [](const ServerState& s) { return Number(to_unix(s.started_at)); }},
    Metric<ServerState>{"pgrm_connections_limit", gauge, "Most connections that the server allows", "max_connections",
                        [](const ServerState& s) { return number(s.connections_limit); }},
    Metric<ServerState>{"pgrm_wal_insert_lsn_bytes", gauge, "Position where the next WAL record goes",
                        "pg_current_wal_insert_lsn()", [](const ServerState& s) { return number(s.wal_insert); }},
    Metric<ServerState>{"pgrm_wal_write_lsn_bytes", gauge, "Position up to which WAL is written out",
                        "pg_current_wal_lsn()", [](const ServerState& s) { return number(s.wal_write); }},
    Metric<ServerState>{"pgrm_wal_flush_lsn_bytes", gauge, "Position up to which WAL is on disk",
                        "pg_current_wal_flush_lsn()", [](const ServerState& s) { return number(s.wal_flush); }},
    Metric<ServerState>{"pgrm_wal_receive_lsn_bytes", gauge,
                        "Position up to which WAL is received and on disk; below the replay position after a restart",
                        "pg_last_wal_receive_lsn()", [](const ServerState& s) { return number(s.wal_receive); }},
    Metric<ServerState>{"pgrm_wal_replay_lsn_bytes", gauge, "Position up to which WAL is replayed",
                        "pg_last_wal_replay_lsn()", [](const ServerState& s) { return number(s.wal_replay); }},
    Metric<ServerState>{"pgrm_replay_last_commit_timestamp_seconds", gauge,
                        "When the last replayed transaction was committed; stands still on an idle primary",
                        "pg_last_xact_replay_timestamp()",
                        [](const ServerState& s) { return number(s.last_replayed_commit); }},
    Metric<ServerState>{"pgrm_replay_paused", gauge, "Whether replay is paused", "pg_is_wal_replay_paused()",
                        [](const ServerState& s) { return number(s.replay_paused); }},
    Metric<ServerState>{"pgrm_recovery_min_apply_delay_seconds", gauge, "How long a standby holds commits back",
                        "recovery_min_apply_delay",
                        [](const ServerState& s) { return number(s.recovery_min_apply_delay); }},
    Metric<ServerState>{"pgrm_wal_receiver_timeout_seconds", gauge,
                        "After how long without a message a standby gives up its connection; 0: never",
                        "wal_receiver_timeout", [](const ServerState& s) { return number(s.receiver_timeout); }},
    Metric<ServerState>{
        "pgrm_wal_receiver_up", gauge, "Whether a standby has a WAL receiver; none on a primary",
        "a row in pg_stat_wal_receiver",
        [](const ServerState& s) { return receiver_known(s) ? number(s.receiver.has_value()) : Number(); }},
    Metric<ServerState>{"pgrm_wal_receiver_written_lsn_bytes", gauge, "Position up to which it has written WAL",
                        "pg_stat_wal_receiver.written_lsn",
                        [](const ServerState& s) { return of_receiver(s, &WalReceiver::written); }},
    Metric<ServerState>{"pgrm_wal_receiver_flushed_lsn_bytes", gauge, "Position up to which it has flushed WAL",
                        "pg_stat_wal_receiver.flushed_lsn",
                        [](const ServerState& s) { return of_receiver(s, &WalReceiver::flushed); }},
    Metric<ServerState>{"pgrm_wal_receiver_latest_end_lsn_bytes", gauge, "Last position that it reported to the sender",
                        "pg_stat_wal_receiver.latest_end_lsn",
                        [](const ServerState& s) { return of_receiver(s, &WalReceiver::latest_end); }},
    Metric<ServerState>{"pgrm_wal_receiver_last_message_send_timestamp_seconds", gauge,
                        "When the sender sent the last message, by the sender's clock",
                        "pg_stat_wal_receiver.last_msg_send_time",
                        [](const ServerState& s) { return of_receiver(s, &WalReceiver::last_message_sent); }},
    Metric<ServerState>{"pgrm_wal_receiver_last_message_receipt_timestamp_seconds", gauge,
                        "When the last message came in, by the standby's clock",
                        "pg_stat_wal_receiver.last_msg_receipt_time",
                        [](const ServerState& s) { return of_receiver(s, &WalReceiver::last_message_received); }},
};

constexpr std::array statistics_metrics{
    Metric<Statistics>{"pgrm_accepting_connections", gauge,
                       "Whether a database lets sessions in: false when all but templates and the exporter's own are "
                       "closed, as behind a fence",
                       "pg_database.datallowconn", [](const Statistics& s) { return number(s.accepting_connections); }},
    Metric<Statistics>{"pgrm_sessions_behind_gate", gauge,
                       "Client sessions in databases that let nobody in any more: they go on as before",
                       "pg_stat_activity, pg_database.datallowconn",
                       [](const Statistics& s) { return number(s.sessions_behind_gate); }},
    Metric<Statistics>{"pgrm_prepared_transactions", gauge, "Prepared transactions: a fence does not stop their commit",
                       "pg_prepared_xacts", [](const Statistics& s) { return number(s.prepared_transactions); }},
    Metric<Statistics>{"pgrm_oldest_transaction_start_timestamp_seconds", gauge,
                       "When the oldest transaction of another client began; 0: there is none",
                       "pg_stat_activity.xact_start",
                       [](const Statistics& s) { return or_never(s.oldest_transaction); }},
    Metric<Statistics>{"pgrm_oldest_idle_in_transaction_start_timestamp_seconds", gauge,
                       "Since when the longest idle transaction has been idle; 0: there is none",
                       "pg_stat_activity.state_change",
                       [](const Statistics& s) { return or_never(s.oldest_idle_in_transaction); }},
    Metric<Statistics>{"pgrm_wal_generated_bytes_total", counter, "Bytes of WAL generated", "pg_stat_wal.wal_bytes",
                       [](const Statistics& s) { return number(s.wal_bytes); }, 14},
    Metric<Statistics>{"pgrm_wal_records_total", counter, "WAL records generated", "pg_stat_wal.wal_records",
                       [](const Statistics& s) { return number(s.wal_records); }, 14},
    Metric<Statistics>{"pgrm_wal_fpi_total", counter, "Full page images written to WAL", "pg_stat_wal.wal_fpi",
                       [](const Statistics& s) { return number(s.wal_fpi); }, 14},
    Metric<Statistics>{"pgrm_archiver_archived_segments_total", counter, "WAL files archived",
                       "pg_stat_archiver.archived_count",
                       [](const Statistics& s) { return number(s.archived_segments); }},
    Metric<Statistics>{"pgrm_archiver_failed_segments_total", counter, "Failed attempts to archive a WAL file",
                       "pg_stat_archiver.failed_count", [](const Statistics& s) { return number(s.failed_segments); }},
    Metric<Statistics>{"pgrm_archiver_last_archived_timestamp_seconds", gauge,
                       "When a WAL file was last archived; 0: never", "pg_stat_archiver.last_archived_time",
                       [](const Statistics& s) { return or_never(s.last_archived); }},
    Metric<Statistics>{"pgrm_archiver_last_failed_timestamp_seconds", gauge, "When archiving last failed; 0: never",
                       "pg_stat_archiver.last_failed_time",
                       [](const Statistics& s) { return or_never(s.last_failed); }},
    Metric<Statistics>{"pgrm_archive_ready_segments", gauge,
                       "WAL files that wait to be archived; 0 where archiving is off", "pg_ls_archive_statusdir()",
                       [](const Statistics& s) { return number(s.archive_ready_segments); }},
    Metric<Statistics>{"pgrm_checkpoints_timed_total", counter,
                       "Checkpoints (restartpoints on a standby) that were due",
                       "pg_stat_checkpointer.num_timed, up to 16 pg_stat_bgwriter.checkpoints_timed",
                       [](const Statistics& s) { return number(s.checkpoints_timed); }},
    Metric<Statistics>{"pgrm_checkpoints_requested_total", counter,
                       "Checkpoints (restartpoints on a standby) that were asked for",
                       "pg_stat_checkpointer.num_requested, up to 16 pg_stat_bgwriter.checkpoints_req",
                       [](const Statistics& s) { return number(s.checkpoints_requested); }},
    Metric<Statistics>{"pgrm_restartpoints_total", counter, "Restartpoints that were performed",
                       "pg_stat_checkpointer.restartpoints_done",
                       [](const Statistics& s) { return number(s.restartpoints); }, 17},
    Metric<Statistics>{"pgrm_checkpoint_write_seconds_total", counter, "Time that checkpoints spent writing",
                       "pg_stat_checkpointer.write_time, up to 16 pg_stat_bgwriter.checkpoint_write_time",
                       [](const Statistics& s) { return Number(to_seconds(s.checkpoint_write)); }},
    Metric<Statistics>{"pgrm_checkpoint_sync_seconds_total", counter, "Time that checkpoints spent in fsync",
                       "pg_stat_checkpointer.sync_time, up to 16 pg_stat_bgwriter.checkpoint_sync_time",
                       [](const Statistics& s) { return Number(to_seconds(s.checkpoint_sync)); }},
    Metric<Statistics>{"pgrm_blocked_sessions", gauge, "Client sessions that wait for a lock",
                       "pg_stat_activity.wait_event_type",
                       [](const Statistics& s) { return number(s.blocked_sessions); }},
    Metric<Statistics>{"pgrm_xid_age", gauge,
                       "Age in transactions of the oldest one that a database still needs, up to a minute old",
                       "age(pg_database.datfrozenxid)", [](const Statistics& s) { return number(s.upkeep.xid_age); }},
    Metric<Statistics>{"pgrm_multixact_age", gauge, "The same for multixacts, up to a minute old",
                       "mxid_age(pg_database.datminmxid)",
                       [](const Statistics& s) { return number(s.upkeep.multixact_age); }},
    Metric<Statistics>{"pgrm_wal_directory_bytes", gauge, "Size of pg_wal, up to a minute old", "pg_ls_waldir()",
                       [](const Statistics& s) { return number(s.upkeep.wal_directory_bytes); }},
    Metric<Statistics>{"pgrm_fence_in_force", gauge, "Whether a cutover's fence is in force",
                       "synchronous_standby_names", [](const Statistics& s) { return number(!s.fence.empty()); }},
    Metric<Statistics>{
        "pgrm_fence_armed", gauge,
        "Whether the configuration has a fence that takes effect with the next reload, "
        "up to a minute old; no value without the right to see it",
        "pg_show_all_file_settings()",
        [](const Statistics& s) { return s.upkeep.armed ? number(!s.upkeep.armed->empty()) : Number(); }},
};

constexpr std::array statistics_info{
    Info<Statistics>{"pgrm_fence_info",
                     "Whose fence the server carries, in force or armed; none, or unknown without the right to look: "
                     "always 1",
                     "synchronous_standby_names", "fence",
                     [](const Statistics& s) {
                       if (!s.fence.empty()) return std::optional(Labels{{"fence", s.fence}});
                       if (!s.upkeep.armed) return std::optional(Labels{{"fence", "unknown"}});
                       return std::optional(Labels{{"fence", s.upkeep.armed->empty() ? "none" : *s.upkeep.armed}});
                     }},
};

constexpr std::array connection_states{"active", "idle", "idle in transaction", "idle in transaction (aborted)",
                                       "other"};
constexpr std::array conflict_reasons{"tablespace", "lock", "snapshot", "bufferpin", "deadlock", "logical_slot"};

constexpr std::array statistics_sets{
    MetricSet<Statistics>{"pgrm_connections", gauge, "Client connections by state, the exporter's own included",
                          "pg_stat_activity.state", "state", connection_states,
                          [](const Statistics& s, std::string_view state) { return found_in(s.connections, state); }},
    MetricSet<Statistics>{
        "pgrm_recovery_conflicts_total", counter,
        "Queries that recovery cancelled on a standby, by reason (logical_slot from 16 on)",
        "sum over pg_stat_database_conflicts", "reason", conflict_reasons,
        [](const Statistics& s, std::string_view reason) { return found_in(s.recovery_conflicts, reason); }},
};

constexpr std::array collector_metrics{
    Metric<Collector>{"pgrm_collector_success", gauge, "Whether this part of the last observation succeeded",
                      "the exporter", [](const Collector& c) { return number(c.error.empty()); }},
    Metric<Collector>{"pgrm_collector_duration_seconds", gauge, "How long this part of the last observation took",
                      "the exporter's monotonic clock", [](const Collector& c) { return Number(to_seconds(c.took)); }},
};

constexpr std::array receiver_states{"stopped", "starting", "streaming", "waiting", "restarting", "stopping"};

constexpr std::array server_sets{
    MetricSet<ServerState>{"pgrm_wal_receiver_status", gauge, "State of a standby's WAL receiver: all 0 without one",
                           "pg_stat_wal_receiver.status", "status", receiver_states,
                           [](const ServerState& s, std::string_view status) {
                             return receiver_known(s) ? number(s.receiver && s.receiver->status == status) : Number();
                           }},
};

constexpr std::array standby_metrics{
    Metric<StandbyView>{"pgrm_standby_connected", gauge,
                        "Whether the standby is connected; the configured replica is always listed",
                        "a row in pg_stat_replication", [](const StandbyView& s) { return number(s.row != nullptr); }},
    Metric<StandbyView>{"pgrm_standby_sent_lsn_bytes", gauge, "Position up to which WAL was sent to it",
                        "pg_stat_replication.sent_lsn", [](const StandbyView& s) { return of_row(s, &Standby::sent); }},
    Metric<StandbyView>{"pgrm_standby_write_lsn_bytes", gauge, "Position that it last reported as written",
                        "pg_stat_replication.write_lsn",
                        [](const StandbyView& s) { return of_row(s, &Standby::write); }},
    Metric<StandbyView>{"pgrm_standby_flush_lsn_bytes", gauge, "Position that it last reported as flushed",
                        "pg_stat_replication.flush_lsn",
                        [](const StandbyView& s) { return of_row(s, &Standby::flush); }},
    Metric<StandbyView>{"pgrm_standby_replay_lsn_bytes", gauge, "Position that it last reported as replayed",
                        "pg_stat_replication.replay_lsn",
                        [](const StandbyView& s) { return of_row(s, &Standby::replay); }},
    Metric<StandbyView>{"pgrm_standby_sent_lag_bytes", gauge, "Bytes of flushed WAL not yet sent to it",
                        "pg_current_wal_flush_lsn() - pg_stat_replication.sent_lsn",
                        [](const StandbyView& s) { return behind(s, &Standby::sent); }},
    Metric<StandbyView>{"pgrm_standby_write_lag_bytes", gauge, "Bytes of flushed WAL not yet reported as written",
                        "pg_current_wal_flush_lsn() - pg_stat_replication.write_lsn",
                        [](const StandbyView& s) { return behind(s, &Standby::write); }},
    Metric<StandbyView>{"pgrm_standby_flush_lag_bytes", gauge, "Bytes of flushed WAL not yet reported as flushed",
                        "pg_current_wal_flush_lsn() - pg_stat_replication.flush_lsn",
                        [](const StandbyView& s) { return behind(s, &Standby::flush); }},
    Metric<StandbyView>{"pgrm_standby_replay_lag_bytes", gauge,
                        "Bytes of flushed WAL not yet reported as replayed; as old as its last reply",
                        "pg_current_wal_flush_lsn() - pg_stat_replication.replay_lsn",
                        [](const StandbyView& s) { return behind(s, &Standby::replay); }},
    Metric<StandbyView>{"pgrm_standby_write_lag_seconds", gauge, "Time until WAL was reported as written; 0 when idle",
                        "pg_stat_replication.write_lag",
                        [](const StandbyView& s) { return lag(s, &Standby::write_lag, &Standby::write); }},
    Metric<StandbyView>{"pgrm_standby_flush_lag_seconds", gauge, "Time until WAL was reported as flushed; 0 when idle",
                        "pg_stat_replication.flush_lag",
                        [](const StandbyView& s) { return lag(s, &Standby::flush_lag, &Standby::flush); }},
    Metric<StandbyView>{"pgrm_standby_replay_lag_seconds", gauge,
                        "Time until WAL was reported as replayed; 0 when idle", "pg_stat_replication.replay_lag",
                        [](const StandbyView& s) { return lag(s, &Standby::replay_lag, &Standby::replay); }},
    Metric<StandbyView>{
        "pgrm_standby_lag_known", gauge,
        "Whether its replay lag in seconds is known: not while bytes are behind and none was reported",
        "pg_stat_replication.replay_lag",
        [](const StandbyView& s) { return number(lag(s, &Standby::replay_lag, &Standby::replay).has_value()); }},
    Metric<StandbyView>{"pgrm_standby_reply_timestamp_seconds", gauge,
                        "When it sent its last reply, by the standby's clock", "pg_stat_replication.reply_time",
                        [](const StandbyView& s) { return of_row(s, &Standby::reply_time); }},
    Metric<StandbyView>{"pgrm_standby_backend_xmin_age_xids", gauge,
                        "Transactions since the oldest snapshot that it holds back by hot_standby_feedback",
                        "age(pg_stat_replication.backend_xmin), of its slot's xmin when it uses one",
                        [](const StandbyView& s) { return of_row(s, &Standby::xmin_age); }},
};

constexpr std::array standby_states{"startup", "catchup", "streaming", "backup", "stopping"};
constexpr std::array sync_states{"async", "potential", "sync", "quorum"};

constexpr std::array standby_sets{
    MetricSet<StandbyView>{"pgrm_standby_state", gauge, "State of its WAL sender: all 0 when it is not connected",
                           "pg_stat_replication.state", "state", standby_states,
                           [](const StandbyView& s, std::string_view state) {
                             return s.row == nullptr ? number(false) : is_state(s.row->state, state);
                           }},
    MetricSet<StandbyView>{"pgrm_standby_sync_state", gauge, "Synchronous state: all 0 when it is not connected",
                           "pg_stat_replication.sync_state", "sync_state", sync_states,
                           [](const StandbyView& s, std::string_view state) {
                             return s.row == nullptr ? number(false) : is_state(s.row->sync_state, state);
                           }},
};

constexpr std::array standby_info{
    Info<StandbyView>{"pgrm_standby_info", "Names of a connected standby, always 1",
                      "pg_stat_replication.application_name, pg_replication_slots.slot_name", "application_name, slot",
                      [](const StandbyView& s) {
                        if (s.row == nullptr) return std::optional<Labels>();
                        return std::optional(
                            Labels{{"application_name", s.row->application_name}, {"slot", s.row->slot.value_or("")}});
                      }},
};

constexpr std::array slot_metrics{
    Metric<SlotView>{"pgrm_slot_active", gauge, "Whether somebody uses the slot", "pg_replication_slots.active",
                     [](const SlotView& s) { return number(s.row->active); }},
    Metric<SlotView>{"pgrm_slot_restart_lsn_bytes", gauge, "Oldest position that the slot keeps",
                     "pg_replication_slots.restart_lsn", [](const SlotView& s) { return number(s.row->restart); }},
    Metric<SlotView>{
        "pgrm_slot_confirmed_flush_lsn_bytes", gauge, "Position that a logical slot's consumer has confirmed",
        "pg_replication_slots.confirmed_flush_lsn", [](const SlotView& s) { return number(s.row->confirmed_flush); }},
    Metric<SlotView>{"pgrm_slot_retained_wal_bytes", gauge, "Bytes of WAL that the slot keeps",
                     "pg_current_wal_flush_lsn() or the replay position, - pg_replication_slots.restart_lsn",
                     [](const SlotView& s) { return number(bytes_behind(s.row->restart, s.end)); }},
    Metric<SlotView>{
        "pgrm_slot_safe_wal_bytes", gauge, "Bytes that can still be written before the slot is in danger of being lost",
        "pg_replication_slots.safe_wal_size", [](const SlotView& s) { return number(s.row->safe_wal_bytes); }},
    Metric<SlotView>{"pgrm_slot_invalidated", gauge, "Whether the slot is of no use any more",
                     "pg_replication_slots.invalidation_reason from 17 on, conflicting in 16, wal_status",
                     [](const SlotView& s) { return number(s.row->invalidated); }},
    Metric<SlotView>{"pgrm_slot_inactive_since_timestamp_seconds", gauge, "Since when nobody uses the slot",
                     "pg_replication_slots.inactive_since",
                     [](const SlotView& s) { return number(s.row->inactive_since); }, 17},
};

constexpr std::array wal_statuses{"reserved", "extended", "unreserved", "lost"};

constexpr std::array slot_sets{
    MetricSet<SlotView>{"pgrm_slot_wal_status", gauge, "Whether the WAL that the slot needs is still there",
                        "pg_replication_slots.wal_status", "wal_status", wal_statuses,
                        [](const SlotView& s, std::string_view status) { return is_state(s.row->wal_status, status); }},
};

constexpr std::array pair_metrics{
    Metric<PairView>{"pgrm_pair_receive_lag_bytes", gauge, "Bytes that the standby has not received, seen at both ends",
                     "pg_current_wal_flush_lsn() - greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())",
                     [](const PairView& p) { return number(p.lag.receive_bytes); }},
    Metric<PairView>{
        "pgrm_pair_replay_lag_bytes", gauge,
        "Bytes that the standby has not replayed, seen at both ends: what is written between two looks counts",
        "pg_current_wal_flush_lsn() - pg_last_wal_replay_lsn()",
        [](const PairView& p) { return number(p.lag.replay_bytes); }},
    Metric<PairView>{"pgrm_pair_replay_lag_seconds", gauge, "Replay lag as PostgreSQL has it; 0 when idle",
                     "pg_stat_replication.replay_lag of the paired standby",
                     [](const PairView& p) { return number(p.lag.replay); }},
    Metric<PairView>{"pgrm_pair_catch_up_seconds", gauge,
                     "Time until the standby had replayed what the primary had at the check; ends at the threshold",
                     "pg_current_wal_flush_lsn() once, then pg_last_wal_replay_lsn() until it is there",
                     [](const PairView& p) { return p.catch_up ? Number(to_seconds(p.catch_up->took)) : Number(); }},
    Metric<PairView>{"pgrm_pair_catch_up_remaining_bytes", gauge,
                     "Bytes of it that were still missing when the check ended; 0: it got there",
                     "pg_current_wal_flush_lsn() at the start of the check - pg_last_wal_replay_lsn() at its end",
                     [](const PairView& p) { return p.catch_up ? number(p.catch_up->remaining) : Number(); }},
    Metric<PairView>{"pgrm_in_sync", gauge, "Whether the last check found the pair in sync and is fresh",
                     "the exporter's check", [](const PairView& p) { return number(p.streak().in_sync()); }},
    Metric<PairView>{"pgrm_in_sync_since_timestamp_seconds", gauge, "When the present streak of in-sync checks began",
                     "the exporter's check", [](const PairView& p) { return number(p.streak().since()); }},
    Metric<PairView>{"pgrm_sync_checks_consecutive", gauge, "In-sync checks in a row", "the exporter's check",
                     [](const PairView& p) { return number(p.streak().consecutive()); }},
    Metric<PairView>{"pgrm_sync_checks_required", gauge, "In-sync checks in a row that a cutover demands",
                     "REQUIRED_SYNC_CHECKS", [](const PairView& p) { return number(p.streak().policy().required); }},
    Metric<PairView>{"pgrm_sync_checks_total", counter, "Checks whether the pair is in sync", "the exporter's check",
                     [](const PairView& p) { return number(p.streak().checks()); }},
    Metric<PairView>{"pgrm_observation_interval_seconds", gauge, "Time from one observation to the next",
                     "MONITORING_INTERVAL",
                     [](const PairView& p) { return Number(to_seconds(p.streak().policy().interval)); }},
    Metric<PairView>{"pgrm_lag_threshold_bytes", gauge, "In sync means fewer bytes missing of what the primary had",
                     "LAG_THRESHOLD_BYTES",
                     [](const PairView& p) { return number(p.streak().policy().thresholds.bytes); }},
    Metric<PairView>{"pgrm_lag_threshold_seconds", gauge, "In sync means less time to catch up than this",
                     "LAG_THRESHOLD_SECONDS",
                     [](const PairView& p) { return Number(to_seconds(p.streak().policy().thresholds.seconds)); }},
};

constexpr std::array pair_sets{
    MetricSet<PairView>{
        "pgrm_sync_check_failures_total", counter,
        "Checks that found the pair not in sync, by reason; one check may have several", "the exporter's check",
        "reason", sync_reason_names,
        [](const PairView& p, std::string_view reason) { return number(p.streak().failures().find(reason)->second); }},
    MetricSet<PairView>{"pgrm_out_of_sync", gauge, "Why the pair is not in sync now: 1 for every reason that holds",
                        "the exporter's check", "reason", sync_reason_names,
                        [](const PairView& p, std::string_view reason) {
                          return number(std::ranges::any_of(p.streak().reasons(), [reason](const SyncReason& present) {
                            return present.name == reason;
                          }));
                        }},
};

// ---------------------------------------------------------------------------------------------------------------------
// From a view to subjects with their labels.

Labels operator+(Labels labels, const Labels& more) {
  labels.insert(labels.end(), more.begin(), more.end());
  return labels;
}

template <class S>
struct Labelled {
  Labels labels;
  S subject;
};

/// What a family takes its series from. Points into the view, which must outlive it.
struct Subjects {
  std::vector<Labelled<Program>> program;
  std::vector<Labelled<ServerView>> watched;
  std::vector<Labelled<std::reference_wrapper<const ServerState>>> servers;
  std::vector<Labelled<std::reference_wrapper<const Statistics>>> statistics;
  std::vector<Labelled<std::reference_wrapper<const Collector>>> collectors;
  std::vector<Labelled<StandbyView>> standbys;
  std::vector<Labelled<SlotView>> slots;
  std::vector<Labelled<PairView>> pair;
};

/// People choose the names of standbys: two may have the same one, but no two series may.
std::string unique_among(std::set<std::string>& taken, const std::string& name) {
  std::string candidate = name;
  for (int n = 2; !taken.insert(candidate).second; ++n) candidate = fmt::format("{}#{}", name, n);
  return candidate;
}

/// The primary has to have the replica, unless one of them is seen to be something else: a former primary, which takes
/// no writes, or a promoted replica. Where any of several rows may be the replica's, it is not missing.
bool replica_expected(const View& view, const ServerState& primary) {
  if (!takes_writes(primary) || possible_standbys(view.sample()).size() > 1) return false;
  const ServerState* const replica = view.server(Side::replica);
  return replica == nullptr || replica->in_recovery;
}

void add_standbys(Subjects& subjects, const Labels& node, const View& view, Side side, const ServerState& state) {
  std::set<std::string> taken;
  const auto add = [&](const std::string& name, const Standby* row) {
    subjects.standbys.push_back(
        {node + Labels{{"standby", unique_among(taken, name)}}, StandbyView{row, state.wal_flush}});
  };
  for (const Standby& row : state.standbys) add(row.name.empty() ? "unnamed" : row.name, &row);
  if (side != Side::primary || !replica_expected(view, state)) return;
  const std::string& known = view.observation().replica_standby;
  const std::string replica = known.empty() ? "replica" : known;
  if (!taken.contains(replica)) add(replica, nullptr);
}

void add_slots(Subjects& subjects, const Labels& node, const ServerState& state) {
  const auto end = state.wal_flush ? state.wal_flush : std::max(state.wal_receive, state.wal_replay);
  for (const Slot& row : state.slots) {
    subjects.slots.push_back({node + Labels{{"slot", row.name}, {"slot_type", row.type}}, SlotView{&row, end}});
  }
}

/// `own`: the labels of the pair's every series.
void add_pair(Subjects& subjects, const Labels& own, const View& view) {
  subjects.program.push_back({own, Program{}});
  subjects.pair.push_back({own, PairView{view}});
  for (const Side side : both_sides) {
    const Labels node = own + Labels{{"node", std::string(to_string(side))}};
    subjects.watched.push_back({node, ServerView{view, side}});
    const ServerState* const state = view.server(side);
    if (state == nullptr) continue;
    subjects.servers.push_back({node, *state});
    if (state->statistics) subjects.statistics.push_back({node, *state->statistics});
    for (const Collector& collector : state->collectors) {
      subjects.collectors.push_back({node + Labels{{"collector", collector.name}}, collector});
    }
    if (!state->replication_known) continue;
    add_standbys(subjects, node, view, side, *state);
    add_slots(subjects, node, *state);
  }
}

Subjects subjects_of(const View& view) {
  Subjects subjects;
  add_pair(subjects, {}, view);
  return subjects;
}

/// The one list of the tables, in the order of the page and of the catalogue: visit(table, labels of its subjects,
/// subjects).
template <class Visit>
void for_each_table(const Subjects& subjects, Visit visit) {
  visit(program_info, "", subjects.program);
  visit(watched_metrics, "node", subjects.watched);
  visit(watched_sets, "node", subjects.watched);
  visit(watched_info, "node", subjects.watched);
  visit(pair_metrics, "", subjects.pair);
  visit(pair_sets, "", subjects.pair);
  visit(server_info, "node", subjects.servers);
  visit(server_metrics, "node", subjects.servers);
  visit(server_sets, "node", subjects.servers);
  visit(statistics_metrics, "node", subjects.statistics);
  visit(statistics_sets, "node", subjects.statistics);
  visit(statistics_info, "node", subjects.statistics);
  visit(collector_metrics, "node, collector", subjects.collectors);
  visit(standby_metrics, "node, standby", subjects.standbys);
  visit(standby_sets, "node, standby", subjects.standbys);
  visit(standby_info, "node, standby", subjects.standbys);
  visit(slot_metrics, "node, slot, slot_type", subjects.slots);
  visit(slot_sets, "node, slot, slot_type", subjects.slots);
}

// ---------------------------------------------------------------------------------------------------------------------
// From rows to series: put(labels besides the subject's own, value).

template <class S, class Put>
void put_series(const Metric<S>& row, const std::type_identity_t<S>& subject, Put put) {
  static const Labels none;
  if (const Number value = row.value(subject)) put(none, *value);
}

template <class S, class Put>
void put_series(const MetricSet<S>& row, const std::type_identity_t<S>& subject, Put put) {
  for (const char* const label_value : row.values) {
    if (const Number value = row.value(subject, label_value))
      put(Labels{{std::string(row.label), label_value}}, *value);
  }
}

template <class S, class Put>
void put_series(const Info<S>& row, const std::type_identity_t<S>& subject, Put put) {
  if (const auto more = row.labels(subject)) put(*more, 1);
}

MetricType type_of(const auto& row) { return row.type; }
template <class S>
MetricType type_of(const Info<S>&) {
  return gauge;
}

std::string help_of(const auto& row) { return fmt::format("{} ({})", row.help, row.source); }

template <class S>
std::string_view own_labels(const Metric<S>&) {
  return "";
}
template <class S>
std::string_view own_labels(const MetricSet<S>& row) {
  return row.label;
}
template <class S>
std::string_view own_labels(const Info<S>& row) {
  return row.label_names;
}

/// The families as a source of metrics::response().
class Page final : public prometheus::Collectable {
 public:
  explicit Page(const View& view) : view_(view) {}
  std::vector<prometheus::MetricFamily> Collect() const override { return families(view_); }

 private:
  const View& view_;
};

}  // namespace

std::vector<prometheus::MetricFamily> families(const View& view) {
  std::vector<prometheus::MetricFamily> result;
  for_each_table(subjects_of(view), [&result](const auto& table, std::string_view, const auto& subjects) {
    for (const auto& row : table) {
      auto& family = result.emplace_back(metrics::family(std::string(row.name), help_of(row), type_of(row)));
      for (const auto& [labels, subject] : subjects) {
        put_series(row, subject, [&family, own = std::cref(labels)](const Labels& more, double value) {
          metrics::add(family, own.get() + more, value);
        });
      }
    }
  });
  return result;
}

http::Response metrics_response(const View& view) {
  const Page page(view);
  return metrics::response({&page});
}

http::Response metrics_response(const std::vector<NamedView>& pairs) {
  Subjects subjects;
  for (const NamedView& pair : pairs) {
    add_pair(subjects, Labels{{"cluster", pair.name}} + Labels(pair.labels.begin(), pair.labels.end()), pair.view);
  }
  metrics::Text text;
  for_each_table(subjects, [&text](const auto& table, std::string_view, const auto& of_table) {
    std::vector<std::string> labels;  // once for all rows
    for (const auto& subject : of_table) labels.push_back(metrics::label_text(subject.labels));
    for (const auto& row : table) {
      text.family(row.name, help_of(row), type_of(row) == counter ? "counter" : "gauge");
      for (std::size_t i = 0; i < of_table.size(); ++i) {
        put_series(row, of_table[i].subject,
                   [&text, &own = labels[i]](const Labels& more, double value) { text.series(own, more, value); });
      }
    }
  });
  return std::move(text).response();
}

Table catalogue() {
  Table catalogue{{{"name", true}, {"type"}, {"labels"}, {"versions"}, {"meaning"}, {"source", true}}, {}};
  for_each_table({}, [&](const auto& table, std::string_view labels, const auto&) {
    for (const auto& row : table) {
      const std::string_view own = own_labels(row);
      const std::string_view comma = labels.empty() || own.empty() ? "" : ", ";
      catalogue.rows.push_back({std::string(row.name), type_of(row) == counter ? "counter" : "gauge",
                                fmt::format("{}{}{}", labels, comma, own), fmt::format("{}+", row.since),
                                std::string(row.help), std::string(row.source)});
    }
  });
  return catalogue;
}

}  // namespace pgrm::exporter
