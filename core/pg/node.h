// One PostgreSQL server as the exporter and the agent see it: typed, named questions and orders, each with a deadline.
// Real: server_node.h. Fake: tests/fakes/fake_cluster.h.
#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"
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

/// What changes slowly and costs more to ask than all the rest: up to a minute old. nullopt: not known.
struct Upkeep {
  std::optional<std::int64_t> xid_age, multixact_age;  // of the oldest one that a database still needs
  std::optional<std::int64_t> wal_directory_bytes;
  std::optional<std::string> armed;  // the wedge that stands in the configuration only; empty: none
};

/// What nobody judges the pair by, but what shows trouble coming. Counters start anew with the server's statistics.
struct Statistics {
  std::map<std::string, int, std::less<>> connections;  // client backends by pg_stat_activity.state, own one included
  int prepared_transactions = 0;
  std::optional<WallTime> oldest_transaction;                   // of other client backends; nullopt: none
  std::optional<WallTime> oldest_idle_in_transaction;           // since when; nullopt: none
  bool accepting_connections = false;                           // not every database of applications is closed
  int sessions_behind_gate = 0;                                 // clients in databases that let nobody in any more
  std::optional<std::int64_t> wal_records, wal_fpi, wal_bytes;  // from 14 on
  std::int64_t archived_segments = 0, failed_segments = 0;
  std::optional<WallTime> last_archived, last_failed;  // nullopt: never
  std::int64_t archive_ready_segments = 0;             // 0 when archiving is off
  std::int64_t checkpoints_timed = 0, checkpoints_requested = 0;
  std::optional<std::int64_t> restartpoints;  // from 17 on
  Duration checkpoint_write{}, checkpoint_sync{};
  std::map<std::string, std::int64_t, std::less<>> recovery_conflicts;  // by reason, those that the version knows
  int blocked_sessions = 0;                                             // client backends that wait for a lock
  std::string fence{};                                                  // the wedge's name in force; empty: none
  Upkeep upkeep{};
};

/// How one statement of a look went.
struct Collector {
  std::string name;
  Duration took{};
  std::string error;  // empty: it succeeded
};

/// A client's transaction that has not ended.
struct OpenTransaction {
  int pid = 0;
  WallTime since{};
};

/// One look at one server, taken in at most three statements, and a fourth once a minute. Unknown is nullopt.
struct ServerState {
  int version = 0;  // server_version_num
  std::string system_identifier;
  bool in_recovery = false;
  std::optional<std::uint32_t> timeline;
  bool default_read_only = false;   // default_transaction_read_only as a new session gets it
  std::string read_only_hidden_by;  // what has a default_transaction_read_only of its own for this observer, "role x"
  bool full_view = false;           // has the rights of pg_monitor: without them replication columns are NULL
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
  std::optional<Duration> receiver_timeout;  // wal_receiver_timeout; zero: none
  std::optional<WalReceiver> receiver;
  std::string replay_waits_for;  // the startup process' wait event, "IPC/RecoveryConflictSnapshot"; or empty
  std::optional<OpenTransaction> oldest_open;  // a query that holds up replay has begun long ago
  // On both.
  std::vector<Slot> slots;
  int connections = 0;  // of clients, this one included
  int connections_limit = 0;
  bool replication_known = true;         // false: that statement failed, and standbys and slots are not known
  std::optional<Statistics> statistics;  // nullopt: that statement failed, or was not for this observer to ask
  std::vector<Collector> collectors;     // the statements, in their order
};

/// A database that clients may use: all but template0, template1 and the one that the asking session is in.
struct Database {
  std::string name, owner;
  bool open = true;        // pg_database.datallowconn
  bool may_alter = false;  // the asking role is a member of the owner, and so may close and open it
  bool is_template = false;
};

/// Names that other programs leave in a server.
struct Traces {
  std::vector<std::string> applications;  // application_name of sessions and walsenders, this program's own left out
  std::vector<std::string> backends;      // pg_stat_activity.backend_type
  std::vector<std::string> roles;         // with SUPERUSER or REPLICATION
  std::vector<std::string> databases, slots;
  std::vector<std::string> files;      // of the configuration
  std::vector<std::string> libraries;  // shared_preload_libraries
  std::vector<std::string> commands;   // archive_command, restore_command
  /// Settings that were given on the server's command line: nothing overrides them.
  std::vector<std::string> command_line;
};

/// A subscription (logical replication) that is enabled: its workers write whatever the read-only default says.
struct Subscription {
  std::string name, database;
  bool may_alter = false;  // the asking role is a member of the owner, and so may disable and enable it
};

/// Files that a standby's promotion handles one by one, each with a write to disk, while nobody can write.
struct PromotionWork {
  int directories = 0;     // one for each database and tablespace: unlogged relations are reset there
  int spare_segments = 0;  // WAL files kept for reuse, of the old timeline: renamed or removed
};

/// What the agent's checks need beyond ServerState; gathered once, changes nothing. Of the whole server.
struct ServerFacts {
  std::map<std::string, std::string, std::less<>> settings;  // pg_settings as a new session gets them
  std::vector<std::string> pending_restart;                  // settings that wait for a restart
  bool superuser = false;
  std::map<std::string, bool, std::less<>> rights;  // "pg_signal_backend", "alter default_transaction_read_only", …
  int prepared_transactions = 0;
  std::optional<Duration> oldest_transaction;  // of other client backends; nullopt: none
  int superuser_sessions = 0;  // of others, older than 5 s (a health check is not); only a superuser ends them
  std::optional<bool> base_backup_running;  // pg_stat_progress_basebackup
  std::vector<Subscription> subscriptions;  // enabled ones
  std::vector<std::string> logical_slots;   // not temporary, not lost: what a promotion keeps of them
  std::vector<Database> databases;
  int idle_in_transaction = 0;                // sessions of others, for more than 5 s
  int advisory_lock_sessions = 0;             // of others
  std::vector<std::string> client_roles;      // of others' sessions, superusers left out; at most ten
  std::int64_t conflicts = 0;                 // queries that recovery has cancelled (pg_stat_database)
  std::optional<std::int64_t> archive_ready;  // WAL files that wait for the archiver; nullopt: no right to see
  bool archiver_failing = false;              // its last attempt failed
  /// Databases whose collation version (15+) is not the one that this machine's libraries have.
  std::vector<std::string> collation_mismatches;
  std::vector<std::string> file_errors;  // "file:line name: error" of what the next reload would not take
  Traces traces;
};

/// The same of the session's own database.
struct DatabaseFacts {
  std::string owner;
  std::vector<std::string> unlogged_tables;
  std::vector<std::string> invalid_indexes;
  std::vector<std::string> missing_extensions;    // installed, but this server has no files for them
  std::vector<std::string> differing_extensions;  // installed in a version that this server has no files for
  std::vector<std::string> collation_mismatches;  // collations, as above
  std::vector<std::string> login_triggers;        // event triggers that run when a client logs in (17+)
  std::vector<std::string> probe_publications;    // publications that pgrm.cutover_probe is in
};

/// The client's transaction that is open for longest.
struct OldestTransaction {
  Duration age{};
  std::string who;  // "pid 4711 of shop in shop, idle in transaction"
};

/// The server's own settings that a fence is made of: what ALTER SYSTEM has set, nullopt where it has not.
struct Overrides {
  std::optional<std::string> read_only;      // default_transaction_read_only
  std::optional<std::string> standby_names;  // synchronous_standby_names

  bool operator==(const Overrides&) const = default;
};

/// A reload of the configuration that was ordered.
struct Reload {
  std::string loaded_before;  // pg_conf_load_time() until then
};

/// All that a fence changes or depends on, as it is now. One statement.
struct FenceView {
  Overrides overrides;
  std::vector<Database> databases;
  std::vector<Subscription> subscriptions;         // enabled ones, of all databases
  std::vector<std::string> prepared_transactions;  // their global identifiers
  /// Roles and databases with a read-only setting of their own (ALTER ROLE, DATABASE … SET): it overrides the server's.
  std::vector<std::string> read_only_exceptions;
  /// Likewise, whose commits do not wait for a standby (synchronous_commit off or local).
  std::vector<std::string> wedge_exceptions;
  std::vector<std::string> markers;  // see set_marker()
};

/// A session that can write and is not the agent's own: a client's, a walsender's that is bound to a database, a
/// subscription's worker, or one that is still being let in.
struct ClientSession {
  int pid = 0;
  std::string user, database, application_name, state;
  bool superuser = false;
  bool asked_to_end = false;  // by the call that found it
};

/// A client's session that may want to write: no superuser's, nobody's with the rights of pg_monitor, and none whose
/// role or database has default_transaction_read_only = on of its own.
struct Writer {
  int pid = 0;
  std::string user, database, application_name;
  std::string address;  // "a socket" for one without
  std::string state;    // as pg_stat_activity has it; empty: its role may not be seen
  WallTime since{};
  bool listens = false;  // its last statement was LISTEN
};

/// Client sessions that are meant: all of them; those that began before the configuration was last reloaded; or none
/// but those in the databases that are named beside it (which always belong to them, whenever they began).
enum class Began : std::uint8_t { whenever, before_reload, in_databases };

/// Client sessions that were asked to end.
struct EndingSessions {
  std::vector<ClientSession> left;  // were still there
  std::string loaded;               // pg_conf_load_time() as this statement saw it
};

/// Which history a server is on.
struct Identity {
  std::string system_identifier;
  std::optional<std::uint32_t> timeline;  // nullopt in recovery
  bool in_recovery = false;
  WallTime started_at{};  // two names of one server have the same
};

struct WalEnd {
  Lsn insert, flush;
  std::uint64_t next_xid;  // pg_snapshot_xmax: reading it consumes none
  /// No transaction with an id is in progress whose client could be told that it has committed; prepared ones included.
  /// Autovacuum and other workers of the server's own are nobody's clients.
  bool idle;
};

/// What a probe that tried to write found out.
struct WriteProbe {
  bool accepted = false;
  bool read_only = false;   // refused because of that (SQLSTATE 25006), and not for any other reason
  bool shut_out = false;    // not even let in: the database does not accept connections (SQLSTATE 55000)
  bool reads_back = false;  // write_and_read() alone: the row is there
  std::string refusal;      // SQLSTATE, or more, when refused
};

/// How a write is tried over a new connection.
struct Attack {
  std::string role;  // that of the application (SET ROLE while logging in); empty: the session's own
  /// Asks for default_transaction_read_only = off while logging in, and for READ WRITE.
  bool overrides_read_only = false;
  /// false: opens a transaction and asks whether it may write. Nothing is written, no transaction id is used.
  bool writes = true;
};

/// Settings by name as ALTER SYSTEM has them; nullopt: it has none.
using SystemSettings = std::map<std::string, std::optional<std::string>>;

/// Every call opens the connection when there is none; none is ever repeated silently. Not thread-safe: one thread at a
/// time. All throw Error: unreachable, authentication, timeout, connection_lost, permission_denied, query_failed.
/// After connection_lost or timeout of an order it is unknown whether it was carried out: look.
class Node {
 public:
  virtual ~Node() = default;

  /// "agent@db1:5432/postgres", without secrets.
  virtual std::string describe() const = 0;
  /// "db1:5432"
  virtual std::string address() const = 0;
  /// Closes the connection; the next call opens a new one.
  virtual void disconnect() = 0;
  /// Whether a session is open, as far as is known here. Asks nothing.
  virtual bool is_connected() const = 0;
  /// From now on a new session is refused with Error(unreachable) when `stranger` returns text, the reason why this is
  /// another server; empty: it may be the right one.
  virtual void refuse_strangers(std::function<std::string(const Identity&)> stranger) = 0;
  /// How to ask something beside the caller: std::async(node.beside(), …). The node takes no other call until `get()`.
  virtual std::launch beside() const { return std::launch::async; }

  // Questions.
  virtual ServerState observe(Duration deadline) = 0;
  virtual ServerFacts facts(Duration deadline) = 0;
  virtual DatabaseFacts database_facts(Duration deadline) = 0;
  /// Empty when the server would let `role` into this session's database once it has proved who it is (pg_hba.conf, as
  /// seen from this machine); otherwise what it says. No password is sent.
  virtual std::string refusal_of(const std::string& role, Duration deadline) = 0;
  virtual bool in_recovery(Duration deadline) = 0;
  /// REQUIRES a primary.
  virtual WalEnd wal_end(Duration deadline) = 0;
  /// The position up to which WAL is on disk; nullopt in recovery. Names no catalog: no lock can hold it up.
  virtual std::optional<Lsn> wal_flushed(Duration deadline) = 0;
  /// The client's transaction that is open for longest, among those of the backends `pids`; nullopt for `pids`: among
  /// all but the agent's own (pg_stat_activity). nullopt: none is open.
  virtual std::optional<OldestTransaction> oldest_transaction(const std::optional<std::vector<int>>& pids,
                                                              Duration deadline) = 0;
  /// REQUIRES a standby; nullopt before anything was replayed.
  virtual std::optional<Lsn> wal_replayed(Duration deadline) = 0;
  /// REQUIRES a standby; nullopt without the right to see its WAL files (pg_monitor).
  virtual std::optional<PromotionWork> promotion_work(Duration deadline) = 0;
  virtual Identity identity(Duration deadline) = 0;
  /// The same over a connection of its own, opened for it and closed afterwards: a session may outlive its server.
  /// Begins at once, beside whatever else the node is asked; `get()` throws Error.
  [[nodiscard]] virtual std::future<Identity> fresh_identity(Duration deadline) = 0;
  virtual FenceView fence_view(Duration deadline) = 0;
  /// The same settings as they stand in postgresql.auto.conf, in effect or not (pg_file_settings); nullopt without the
  /// right to read that view.
  virtual std::optional<Overrides> overrides_in_file(Duration deadline) = 0;
  /// Whether the server accepts connections right now, asked without logging in (PQping). A session may outlive a
  /// server that was killed; this does not. Begins at once, beside whatever else the node is asked.
  [[nodiscard]] virtual std::future<bool> accepts_connections(Duration deadline) = 0;
  /// All client sessions but this process' own.
  virtual std::vector<ClientSession> client_sessions(Duration deadline) = 0;
  virtual std::vector<Writer> writers(Duration deadline) = 0;

  /// What ALTER SYSTEM has set these to.
  virtual SystemSettings system_settings(const std::vector<std::string>& names, Duration deadline) = 0;
  /// The relations whose files these are, in the same order ("tablespace/database/file", as pg_waldump prints them);
  /// one that this session's database does not know stays what it is.
  virtual std::vector<std::string> relation_names(const std::vector<std::string>& files, Duration deadline) = 0;
  /// primary_slot_name, empty when it has none.
  virtual std::string replication_slot(Duration deadline) = 0;

  // Orders. Those that write work behind a fence too, and do not wait for a synchronous standby.
  /// Has the server parse the orders of a cutover that cannot be tried beforehand. None is carried out.
  virtual void prepare_orders(Duration deadline) = 0;
  /// ALTER SYSTEM SET (or RESET for nullopt) both settings. They are in the file, and in effect after reload().
  virtual void alter_system(const Overrides& values, Duration deadline) = 0;
  /// Tells the server to reload its configuration, which takes it a moment: see await_reload().
  virtual Reload order_reload(Duration deadline) = 0;
  /// Waits until new sessions have the configuration.
  virtual void await_reload(const Reload& ordered, Duration deadline) = 0;
  /// Both, with `deadline` for each.
  void reload(Duration deadline) { await_reload(order_reload(deadline), deadline); }
  /// All of it, with `deadline` for each.
  void override_settings(const Overrides& values, Duration deadline) {
    alter_system(values, deadline);
    reload(deadline);
  }
  /// ALTER DATABASE … ALLOW_CONNECTIONS for all of them in one transaction: one transaction id, none when there are
  /// none. Begins at once; the node takes no other call until `get()`, which throws Error.
  [[nodiscard]] virtual std::future<void> allow_connections(const std::vector<std::string>& databases, bool allow,
                                                            Duration deadline) = 0;
  /// Has the server close these databases and take it back before anybody sees it: finds out whether a lock or a right
  /// stands in the way of allow_connections(). Uses a transaction id.
  virtual void try_to_close(const std::vector<std::string>& databases, Duration deadline) = 0;
  /// ALTER ROLE … SET (or RESET) pgrm.cutover for this session's role: words about a cutover, in a shared catalog.
  virtual void set_marker(const std::optional<std::string>& words, Duration deadline) = 0;
  /// ALTER SUBSCRIPTION … ENABLE or DISABLE, in one transaction, in this session's database. A worker that runs may
  /// take a moment to end: see client_sessions().
  virtual void enable_subscriptions(const std::vector<std::string>& names, bool enable, Duration deadline) = 0;
  /// Asks client sessions to end that `began` then or are in one of `databases`, but not this process' own, and none
  /// that was `asked` already (their pids). Returns all of them: they may still be there afterwards, look again. Once a
  /// database is closed, every backend that is in it, or is still being let in, is among them. Those of superusers only
  /// a superuser may end; for others they are left alone.
  virtual EndingSessions end_sessions(Began began, const std::vector<std::string>& databases,
                                      const std::set<int>& asked, Duration deadline) = 0;
  /// order_reload() and end_sessions() of those that are in one of `databases`, over one round trip. `loaded` is from
  /// before the reload.
  virtual EndingSessions reload_and_end_sessions(const std::vector<std::string>& databases, Duration deadline) = 0;
  /// Asks all writers() to end, and returns them.
  virtual std::vector<Writer> end_writers(Duration deadline) = 0;
  virtual void checkpoint(Duration deadline) = 0;
  /// Brings all WAL written so far to disk, and so on its way to the standby, at the price of one transaction id:
  /// without it, what was committed asynchronously waits for the WAL writer (wal_writer_delay). REQUIRES a primary.
  virtual void flush_wal(Duration deadline) = 0;
  /// Writes about `bytes` of WAL that say nothing (pg_logical_emit_message, of no transaction), and does not flush it.
  /// REQUIRES a primary.
  virtual void fill_wal(std::int64_t bytes, Duration deadline) = 0;
  /// Whether the WAL segment after the present one is there already: recycled, or made by a checkpoint. false also
  /// without the right to look (pg_ls_waldir). REQUIRES a primary.
  virtual bool has_next_segment(Duration deadline) = 0;
  /// Ends the present WAL segment and flushes everything (pg_switch_wal), at the price of no transaction id, if at most
  /// `most` bytes of it are left: they reach the standby as zeros. Whether it did. REQUIRES a primary.
  virtual bool switch_wal(std::int64_t most, Duration deadline) = 0;
  /// ALTER SYSTEM SET (or RESET for nullopt) each of them, and one reload.
  virtual void set_system_settings(const SystemSettings& values, Duration deadline) = 0;
  /// pg_promote(wait => false): returns as soon as the postmaster was told; false when it could not be told. After
  /// Error(unreachable, authentication, permission_denied, file_failed) it was not ordered. After any other it may be.
  virtual bool promote(Duration deadline) = 0;
  /// Takes the advisory lock that keeps a second agent out; false when another session holds it, also an agent that
  /// uses another maintenance database. Held until disconnect().
  virtual bool try_lock(Duration deadline) = 0;
  /// Whether this very session holds it. Never opens a session: without one, nothing is held.
  virtual bool holds_lock(Duration deadline) = 0;
  /// If another session of this process (same application_name and role) holds the lock, ends it: the server has not
  /// noticed that the network dropped it. Returns whether there was one; it takes a moment to end.
  virtual bool end_own_lock(Duration deadline) = 0;
  /// Shows lock_holder() whether its holder waits for a person or a window. REQUIRES: this session holds the lock.
  virtual void show_hold(bool holding, Duration deadline) = 0;
  /// Who holds it, for people: "pgrm-agent/20260131T… (pid 123, from 10.0.0.7, since …), on hold"; empty when nobody
  /// does.
  virtual std::string lock_holder(Duration deadline) = 0;
  /// Ends every other session of this session's application_name, and waits until none is left. For a recovery: what
  /// the dead agent has ordered must not be carried out later. REQUIRES: this is the first session of the process
  /// there.
  virtual void end_predecessors(Duration deadline) = 0;
  /// Tries to write a row into pgrm.cutover_probe, as any client would. An accepted write is committed; a refusal by
  /// the server is an answer, not an exception. Begins at once; the node takes no other call until `get()`, which
  /// throws Error.
  [[nodiscard]] virtual std::future<WriteProbe> write_probe(const std::string& cutover_id, Duration deadline) = 0;
  /// The same, and reads the row once it is committed, in one round trip after prepare_orders().
  virtual WriteProbe write_and_read(const std::string& cutover_id, Duration deadline) = 0;
  /// write_probe() over a connection of its own, opened for it and closed afterwards, while this session is free for
  /// other calls. Nothing is left behind: an accepted write is rolled back. `get()` throws Error for what is no answer.
  [[nodiscard]] virtual std::future<WriteProbe> attack(const Attack& how, Duration deadline) = 0;
  /// Whether this session's role may write such rows; asked without writing one.
  virtual bool may_write_probe(Duration deadline) = 0;
  /// What is wrong with pgrm.cutover_probe: how somebody else's code could run as the role that writes. Empty:
  /// nothing.
  virtual std::vector<std::string> probe_table_problems(Duration deadline) = 0;
  /// Creates a physical slot that keeps WAL from now on, unless there is a slot of that name. Whether it did.
  virtual bool create_slot(const std::string& name, Duration deadline) = 0;
  /// Drops a slot; harmless when it is not there.
  virtual void drop_slot(const std::string& name, Duration deadline) = 0;
  /// Makes a standby stream from `primary`'s host and port; everything else in primary_conninfo stays.
  virtual void follow(const Conninfo& primary, Duration deadline) = 0;
};

}  // namespace pgrm
