// One PostgreSQL server as the exporter and the agent see it: typed, named questions and orders, each with a deadline.
// Real: server_node.h. Fake: tests/fakes/fake_cluster.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/lsn.h"

namespace pgrm {

/// A row of pg_stat_replication. Without pg_monitor, PostgreSQL shows everything but names as NULL.
struct Standby {
  std::string name;  // its slot, else its application_name: stable across reconnects
  std::string application_name;
  std::optional<std::string> slot;
  std::optional<std::string> state;       // startup, catchup, streaming, backup, stopping
  std::optional<std::string> sync_state;  // async, potential, sync, quorum
  std::optional<Lsn> sent, write, flush, replay;
  std::optional<Duration> write_lag, flush_lag, replay_lag;  // NULL when idle
  std::optional<WallTime> reply_time;
  std::optional<std::int64_t> xmin_age;  // transactions since the oldest snapshot that it holds back; nullopt: none
};

/// A row of pg_replication_slots.
struct Slot {
  std::string name;
  std::string type;  // physical, logical
  bool active = false;
  std::optional<Lsn> restart, confirmed_flush;
  std::optional<std::string> wal_status;  // reserved, extended, unreserved, lost
  std::optional<std::int64_t> safe_wal_bytes;
  bool invalidated = false;                // of no use any more, for whatever reason
  std::optional<WallTime> inactive_since;  // from 17 on, while it is not active
};

/// The row of pg_stat_wal_receiver.
struct WalReceiver {
  std::string status;
  std::string slot;         // empty: none
  std::string sender_host;  // the primary it follows
  int sender_port = 0;
  std::optional<Lsn> written, flushed, latest_end;
  std::optional<WallTime> last_message_sent, last_message_received;
};

/// What nobody judges the pair by, but what shows trouble coming. Counters start anew with the server's statistics.
struct Statistics {
  std::map<std::string, int, std::less<>> connections;  // client backends by pg_stat_activity.state, own one included
  int prepared_transactions = 0;
  std::optional<WallTime> oldest_transaction;                   // of other client backends; nullopt: none
  std::optional<WallTime> oldest_idle_in_transaction;           // since when; nullopt: none
  bool accepting_connections = false;                           // every database that is no template lets sessions in
  std::optional<std::int64_t> wal_records, wal_fpi, wal_bytes;  // from 14 on
  std::int64_t archived_segments = 0, failed_segments = 0;
  std::optional<WallTime> last_archived, last_failed;  // nullopt: never
  std::int64_t archive_ready_segments = 0;             // 0 when archiving is off
  std::int64_t checkpoints_timed = 0, checkpoints_requested = 0;
  std::optional<std::int64_t> restartpoints;  // from 17 on
  Duration checkpoint_write{}, checkpoint_sync{};
  std::map<std::string, std::int64_t, std::less<>> recovery_conflicts;  // by reason, those that the version knows
};

/// How one statement of a look went.
struct Collector {
  std::string name;
  Duration took{};
  std::string error;  // empty: it succeeded
};

/// One look at one server, taken in at most three statements. Unknown is nullopt.
struct ServerState {
  int version = 0;  // server_version_num
  std::string system_identifier;
  bool in_recovery = false;
  std::optional<std::uint32_t> timeline;
  bool default_read_only = false;  // default_transaction_read_only as a new session gets it
  bool full_view = false;          // has the rights of pg_monitor: without them replication columns are NULL
  WallTime server_time{};
  WallTime started_at{};
  // On a primary.
  std::optional<Lsn> wal_insert, wal_write, wal_flush;
  std::vector<Standby> standbys;
  // On a standby.
  std::optional<Lsn> wal_receive, wal_replay;
  std::optional<WallTime> last_replayed_commit;
  std::optional<bool> replay_paused;
  std::optional<Duration> recovery_min_apply_delay;
  std::optional<WalReceiver> receiver;
  // On both.
  std::vector<Slot> slots;
  int connections = 0;  // of clients, this one included
  int connections_limit = 0;
  bool replication_known = true;         // false: that statement failed, and standbys and slots are not known
  std::optional<Statistics> statistics;  // nullopt: that statement failed, or was not for this observer to ask
  std::vector<Collector> collectors;     // the statements, in their order
};

/// What the agent's checks need beyond ServerState; gathered once, changes nothing.
struct ServerFacts {
  std::map<std::string, std::string, std::less<>> settings;  // from pg_settings, those that the checks name
  bool superuser = false;
  std::map<std::string, bool, std::less<>> rights;  // "pg_signal_backend", "alter default_transaction_read_only", …
  int prepared_transactions = 0;
  std::optional<Duration> oldest_transaction;  // of other client backends; nullopt: none
  int superuser_sessions = 0;                  // of others: only a superuser can terminate them
  std::optional<bool> base_backup_running;     // pg_stat_progress_basebackup
  std::vector<std::string> subscriptions;      // enabled ones, by name
  std::vector<std::string> logical_slots;
  std::vector<std::string> closed_databases;  // datallowconn is false
};

/// A session that can write and is not the agent's own: a client's, or a walsender's that is bound to a database.
struct ClientSession {
  int pid = 0;
  std::string user, database, application_name, state;
  bool superuser = false;
};

struct WalEnd {
  Lsn insert, flush;
  std::uint64_t next_xid;  // pg_snapshot_xmax: reading it consumes none
  bool idle;               // no transaction that has an id is in progress, prepared ones included
};

/// What a probe that tried to write found out.
struct WriteProbe {
  bool accepted = false;
  bool read_only = false;  // refused because of that (SQLSTATE 25006), and not for any other reason
  std::string refusal;     // SQLSTATE and message when refused
};

/// Every call opens the connection when there is none; none is ever repeated silently. Not thread-safe: one thread at a
/// time. All throw Error: unreachable, authentication, timeout, connection_lost, permission_denied, query_failed.
/// After connection_lost or timeout of an order it is unknown whether it was carried out: look.
class Node {
 public:
  virtual ~Node() = default;

  /// "agent@db1:5432/postgres", without secrets.
  virtual std::string describe() const = 0;
  /// Closes the connection; the next call opens a new one.
  virtual void disconnect() = 0;

  // Questions.
  virtual ServerState observe(Duration deadline) = 0;
  virtual ServerFacts facts(Duration deadline) = 0;
  virtual bool in_recovery(Duration deadline) = 0;
  /// REQUIRES a primary.
  virtual WalEnd wal_end(Duration deadline) = 0;
  /// REQUIRES a standby; nullopt before anything was replayed.
  virtual std::optional<Lsn> wal_replayed(Duration deadline) = 0;
  /// Value of default_transaction_read_only that ALTER SYSTEM has set, nullopt when it has not.
  virtual std::optional<std::string> read_only_override(Duration deadline) = 0;
  /// Roles and databases with a read-only setting of their own (ALTER ROLE or DATABASE … SET), which beats the
  /// server's.
  virtual std::vector<std::string> read_only_exceptions(Duration deadline) = 0;
  /// Whether the server accepts connections right now, asked without logging in (PQping). A session may outlive a
  /// server that was killed; this does not.
  virtual bool accepts_connections(Duration deadline) = 0;
  /// Client sessions that began before `before` (server's clock; nullopt: all), but not this process' own.
  virtual std::vector<ClientSession> client_sessions(std::optional<WallTime> before, Duration deadline) = 0;

  // Orders.
  /// ALTER SYSTEM SET (or RESET for nullopt) default_transaction_read_only, reload, and wait until new sessions have
  /// it. Returns the server's time at which that was certain.
  virtual WallTime override_read_only(const std::optional<std::string>& value, Duration deadline) = 0;
  /// Asks the backend to end; it may still be there afterwards: look.
  virtual void terminate(int pid, Duration deadline) = 0;
  virtual void checkpoint(Duration deadline) = 0;
  /// Brings all WAL written so far to disk, and so on its way to the standby, at the price of one transaction id:
  /// without it, what was committed asynchronously waits for the WAL writer (wal_writer_delay). REQUIRES a primary.
  virtual void flush_wal(Duration deadline) = 0;
  /// pg_promote(wait => false): returns as soon as the postmaster was told; false when it could not be told.
  virtual bool promote(Duration deadline) = 0;
  /// Takes the advisory lock that keeps a second agent out; false when another session holds it. Held until
  /// disconnect().
  virtual bool try_lock(Duration deadline) = 0;
  /// Tries to write a row into pgrm.cutover_probe, as any client would. An accepted write is committed; a refusal by
  /// the server is an answer, not an exception.
  virtual WriteProbe write_probe(const std::string& cutover, Duration deadline) = 0;
  /// Whether this session's role may write such rows; asked without writing one.
  virtual bool may_write_probe(Duration deadline) = 0;
  /// Whether that row is there.
  virtual bool probe_present(const std::string& cutover, Duration deadline) = 0;
};

}  // namespace pgrm
