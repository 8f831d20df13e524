// Two PostgreSQL servers in memory, as far as a cutover can tell: one primary, one standby, WAL that flows, databases
// that close, sessions that write, clients that are told their writes are safe. Every call can be made to fail before
// or after it had its effect.
#pragma once

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/pg/node.h"
#include "core/replication/sample.h"

namespace pgrm {

/// The application's sessions.
inline std::vector<ClientSession> three_clients(int first_pid) {
  std::vector<ClientSession> sessions;
  for (int i = 0; i < 3; ++i) sessions.push_back({first_pid + i, "app", "testdb", "app", "idle", false});
  return sessions;
}

class FakeCluster {
 public:
  static constexpr int oldest_pid = 4711;  // of the transaction that is open for longest
  struct Server {
    bool up = true;
    ServerState state;
    ServerFacts facts;
    std::optional<PromotionWork> promotion_work;
    DatabaseFacts database, other_database;  // the application's; any other
    std::vector<std::string> probe_table_problems;
    std::string refuses_role;     // what it says to the application's role
    Overrides written, override;  // by ALTER SYSTEM: in the file, and in effect
    SystemSettings others;        // by ALTER SYSTEM
    std::vector<ClientSession> sessions, being_let_in;
    std::vector<Writer> writers;  // those that have come back, as writers() has them
    std::uint64_t next_xid = 700;
    // Of the catalogs, hence replicated.
    std::vector<Database> databases{{"testdb", "app", true, true}};
    std::vector<Subscription> subscriptions;  // enabled ones
    std::set<std::string> rows;               // of pgrm.cutover_probe
    std::vector<std::string> markers;         // of cutovers
    std::vector<int> writes;                  // of clients, in order

    bool locked = false;               // by another agent
    bool notices = true;               // at once that a session of ours is gone
    bool lock_left = false;            // the lock of such a session
    const Node* lock_owner = nullptr;  // the session of ours that has the lock
    int epoch = 0;                     // sessions of an earlier one have been ended
    bool unloadable = false;           // an error stands in its configuration: a reload changes nothing
    bool unwritable = false;           // ALTER SYSTEM fails
    std::vector<std::string> prepared_transactions;
    std::vector<std::string> read_only_exceptions, wedge_exceptions;
    bool idle = true;               // no transaction in progress
    bool on_hold = false;           // as the lock's holder shows it
    bool orphan = false;            // killed; sessions that are open live on
    std::string refusal = "25006";  // of a write on a server that does not take one
    bool obeys_terminate = true;
    bool may_mark = true;           // roles.sql has given the right
    bool locked_databases = false;  // somebody holds a lock on a row of pg_database
    bool obeys_promote = true;
    int promotes_after = 0;  // calls from the order on: an order may be carried out when the agent is dead already
    bool flushes = true;     // a commit brings WAL to disk

    bool open() const { return databases.front().open; }
    bool wedged() const { return override.standby_names.value_or("").starts_with("pgrm_"); }
    /// Takes a plain client's writes, and acknowledges them.
    bool writable() const { return acknowledges() && override.read_only != "on"; }
    /// Acknowledges a write to somebody, be it one who overrides the read-only default.
    bool acknowledges() const { return up && !state.in_recovery && open() && !wedged(); }
    /// A server that starts reads its files.
    void restart() {
      up = true;
      orphan = false;
      override = written;
      end_sessions();
    }
    /// Of agents, with what they hold.
    void end_sessions() {
      ++epoch;
      lock_owner = nullptr;
      lock_left = false;
    }
  };

  FakeCluster() {
    for (Server* const server : {&primary, &replica}) {
      server->state.version = 160004;
      server->state.system_identifier = "7300000000000000001";
      server->state.timeline = 1;
      server->state.full_view = true;
      server->state.server_time = from_unix(1'800'000'000);
      server->state.started_at = from_unix(1'700'000'000);
      server->facts.settings = {{"server_version", "16.4"},
                                {"max_connections", "100"},
                                {"max_worker_processes", "8"},
                                {"max_wal_senders", "10"},
                                {"max_prepared_transactions", "0"},
                                {"max_locks_per_transaction", "64"},
                                {"synchronous_standby_names", ""},
                                {"synchronous_commit", "on"},
                                {"recovery_min_apply_delay", "0"},
                                {"archive_mode", "off"},
                                {"shared_preload_libraries", ""},
                                {"max_replication_slots", "10"},
                                {"superuser_reserved_connections", "3"},
                                {"wal_log_hints", "on"},
                                {"data_checksums", "off"},
                                {"max_standby_streaming_delay", "30000"},
                                {"wal_segment_size", "16777216"},
                                {"TimeZone", "UTC"}};
      server->state.connections = 5;
      server->state.connections_limit = 100;
      server->database.owner = "app";
      server->facts.archive_ready = 0;
      server->promotion_work = PromotionWork{.directories = 4, .spare_segments = 2};
      server->facts.rights = {{"pg_signal_backend", true},
                              {"pg_promote", true},
                              {"pg_reload_conf", true},
                              {"pg_checkpoint", true},
                              {"pg_switch_wal", true},
                              {"pg_read_all_settings", true},
                              {"pg_file_settings", true},
                              {"ALTER SYSTEM wal_init_zero", true},
                              {"ALTER SYSTEM restore_command", true},
                              {"REPLICATION", true},
                              {"ALTER SYSTEM primary_conninfo", true},
                              {"ALTER SYSTEM default_transaction_read_only", true},
                              {"ALTER SYSTEM synchronous_standby_names", true}};
      server->facts.databases = server->databases;
    }
    replica.state.started_at += std::chrono::hours(1);
    replica.state.in_recovery = true;
    replica.state.replay_paused = false;
    Standby standby;
    standby.name = "replica_slot";
    standby.application_name = "replica";
    standby.slot = "replica_slot";
    standby.state = "streaming";
    standby.sync_state = "async";
    primary.state.standbys.push_back(standby);
    Slot slot;
    slot.name = "replica_slot";
    slot.type = "physical";
    slot.active = true;
    slot.wal_status = "reserved";
    primary.state.slots.push_back(slot);
    WalReceiver receiver;
    receiver.status = "streaming";
    receiver.slot = "replica_slot";
    receiver.sender_host = "old";
    receiver.sender_port = 5432;
    replica.state.receiver = receiver;
    primary.sessions = three_clients(1);
    write(1000);
  }

  /// A client's write on the primary: WAL and a transaction id.
  void write(std::uint64_t bytes) {
    ++primary.next_xid;
    log(bytes);
  }
  /// WAL of no transaction.
  void log(std::uint64_t bytes) {
    end_ = Lsn(end_.bytes() + bytes);
    if (streams) replayed_ = end_;
    refresh();
  }
  /// Brings the standby up to date.
  void replay_all() {
    replayed_ = end_;
    refresh();
  }

  std::unique_ptr<Node> node(Side side, std::string database = "postgres");

  /// One client on each server that tries to write, in whatever way he gets in; who is told that his write is safe
  /// remembers it.
  void clients_write() {
    ever_two_writable = ever_two_writable || (primary.acknowledges() && replica.acknowledges());
    if (!clients) return;
    for (Server* const server : {&primary, &replica}) {
      if (!server->writable()) continue;
      server->writes.push_back(++last_write_);
      acknowledged.push_back(last_write_);
      if (server == &primary) {
        write(100);
      } else {
        ++server->next_xid;
      }
    }
  }

  /// By this agent or anybody else.
  void replica_is_promoted() {
    replica.state.in_recovery = false;
    replica.state.timeline = 2;
  }

  /// An order to promote was given and is still to be carried out.
  bool promotion_is_due() const { return promotion_due_.has_value(); }

  /// The acknowledged writes that `server` does not have.
  std::vector<int> lost(const Server& server) const {
    std::vector<int> missing;
    std::ranges::set_difference(acknowledged, server.writes, std::back_inserter(missing));
    return missing;
  }

  Server& operator[](Side side) { return side == Side::primary ? primary : replica; }
  /// Where new connections under that name go.
  Side& leads_to(Side name) { return name == Side::primary ? old_name_leads_to : new_name_leads_to; }

  Server primary, replica;
  Side old_name_leads_to = Side::primary, new_name_leads_to = Side::replica;
  bool streams = true;
  bool recycles = false;    // the next WAL segment is always there
  bool no_threads = false;  // the machine has none left
  bool clients = false;
  std::vector<int> acknowledged;
  bool ever_two_writable = false;
  std::vector<std::string> calls;  // "primary.allow_connections(testdb,false)", …
  /// Called around every call, with its text; may throw what the caller shall see.
  std::function<void(const std::string&call)> before, after;

 private:
  friend class FakeNode;

  void refresh() {
    primary.state.wal_insert = primary.state.wal_write = primary.state.wal_flush = end_;
    if (replica.state.in_recovery) {
      replica.state.wal_receive = replica.state.wal_replay = replayed_;
      if (replayed_ == end_) {
        replica.databases = primary.databases;
        replica.subscriptions = primary.subscriptions;
        replica.rows = primary.rows;
        replica.writes = primary.writes;
      }
    }
    Standby& standby = primary.state.standbys.front();
    standby.sent = standby.write = standby.flush = standby.replay = replayed_;
    for (Server* const server : {&primary, &replica}) {
      server->state.default_read_only = server->override.read_only == "on";
    }
  }

  /// Somebody's transaction on `server`.
  void commit(Server& server) {
    if (server.state.in_recovery) throw Error(ErrorCode::read_only, "recovery is in progress (SQLSTATE 25006)");
    if (&server == &primary) {
      write(64);
    } else {
      ++server.next_xid;
    }
  }

  void order_promotion() {
    if (replica.obeys_promote) promotion_due_ = calls.size() + static_cast<std::size_t>(replica.promotes_after);
  }
  void promote_when_due() {
    if (!promotion_due_ || calls.size() < *promotion_due_ || !replica.up) return;
    promotion_due_.reset();
    replica_is_promoted();
  }

  Lsn end_{0x3000000};
  Lsn replayed_{0x3000000};
  int last_write_ = 0;
  std::optional<std::size_t> promotion_due_;
};

class FakeNode final : public Node {
 public:
  FakeNode(FakeCluster& cluster, Side side, std::string database)
      : cluster_(cluster), side_(side), database_(std::move(database)) {}

  std::string describe() const override { return "agent@" + address() + "/" + database_; }
  std::string address() const override { return side_ == Side::primary ? "old:5432" : "new:5432"; }
  void refuse_strangers(std::function<std::string(const Identity&)> stranger) override {
    stranger_ = std::move(stranger);
  }
  void disconnect() override { drop(); }
  bool is_connected() const override { return connected_; }
  std::launch beside() const override {
    if (cluster_.no_threads) throw std::system_error(EAGAIN, std::generic_category(), "no thread");
    return std::launch::deferred;  // one order of calls in every run
  }

  ServerState observe(Duration) override {
    return call("observe", [this] { return server().state; });
  }
  ServerFacts facts(Duration) override {
    return call("facts", [this] { return server().facts; });
  }
  DatabaseFacts database_facts(Duration) override {
    return call(database_ == "testdb" ? "database_facts" : "database_facts(" + database_ + ")",
                [this] { return database_ == "testdb" ? server().database : server().other_database; });
  }
  std::string refusal_of(const std::string&, Duration) override {
    return call("refusal_of", [this] { return server().refuses_role; });
  }
  bool in_recovery(Duration) override {
    return call("in_recovery", [this] { return server().state.in_recovery; });
  }
  WalEnd wal_end(Duration) override {
    return call("wal_end", [this] {
      return WalEnd{*server().state.wal_insert, *server().state.wal_flush, server().next_xid, server().idle};
    });
  }
  std::optional<Lsn> wal_flushed(Duration) override {
    return call("wal_flushed", [this] { return server().state.in_recovery ? std::nullopt : server().state.wal_flush; });
  }
  std::optional<OldestTransaction> oldest_transaction(const std::optional<std::vector<int>>& pids, Duration) override {
    return call("oldest_transaction", [&]() -> std::optional<OldestTransaction> {
      const auto age = server().facts.oldest_transaction;
      if (!age || (pids && std::ranges::find(*pids, FakeCluster::oldest_pid) == pids->end())) return std::nullopt;
      return OldestTransaction{*age,
                               fmt::format("pid {} of shop in testdb, idle in transaction", FakeCluster::oldest_pid)};
    });
  }
  std::optional<Lsn> wal_replayed(Duration) override {
    return call("wal_replayed", [this] { return server().state.wal_replay; });
  }
  std::optional<PromotionWork> promotion_work(Duration) override {
    return call("promotion_work", [this] { return server().promotion_work; });
  }
  Identity identity(Duration) override {
    return call("identity", [this] { return identity(); });
  }
  std::future<Identity> fresh_identity(Duration) override {
    return at_once([this] {
      return call_apart("fresh_identity", [this] {
        log_in();
        return identity();
      });
    });
  }
  FenceView fence_view(Duration) override {
    return call("fence_view", [this] {
      return FenceView{server().override,
                       server().databases,
                       server().subscriptions,
                       server().prepared_transactions,
                       server().read_only_exceptions,
                       server().wedge_exceptions,
                       server().markers};
    });
  }
  std::optional<Overrides> overrides_in_file(Duration) override {
    return call("overrides_in_file", [this] { return std::optional(server().written); });
  }
  std::future<bool> accepts_connections(Duration) override {
    return at_once(
        [this] { return call_apart("accepts_connections", [this] { return server().up && !server().orphan; }); });
  }
  std::vector<ClientSession> client_sessions(Duration) override {
    return call("client_sessions", [this] { return server().sessions; });
  }
  std::vector<Writer> writers(Duration) override {
    return call("writers", [this] { return server().writers; });
  }
  std::vector<Writer> end_writers(Duration) override {
    return call("end_writers", [this] { return std::exchange(server().writers, {}); });
  }

  void prepare_orders(Duration) override {
    call("prepare_orders", [] { return true; });
  }
  /// Two calls, as it is two statements.
  void alter_system(const Overrides& values, Duration) override {
    alter("alter_system(" + values.read_only.value_or("reset") + ")", server().written.read_only, values.read_only);
    alter("alter_system(" + values.standby_names.value_or("reset") + ")", server().written.standby_names,
          values.standby_names);
  }
  Reload order_reload(Duration) override {
    return call("order_reload", [] { return Reload{"before"}; });
  }
  void await_reload(const Reload&, Duration) override {
    call("await_reload", [&] {
      if (!load()) throw Error(ErrorCode::timeout, "has not reloaded its configuration in time");
      return true;
    });
  }
  std::future<void> allow_connections(const std::vector<std::string>& names, bool allow, Duration) override {
    return at_once([&] {
      if (!names.empty()) allow_connections(names, allow);
    });
  }
  void try_to_close(const std::vector<std::string>&, Duration) override {
    call("try_to_close", [this] {
      if (server().locked_databases) throw Error(ErrorCode::query_failed, "canceling statement due to lock timeout");
      return true;
    });
  }
  void set_marker(const std::optional<std::string>& words, Duration) override {
    call(std::string("set_marker") + (words ? "" : "(reset)"), [&] {
      if (!server().may_mark) throw Error(ErrorCode::permission_denied, "permission denied to set parameter");
      server().markers.clear();
      if (words) server().markers.push_back(*words);
      if (cluster_.streams && side_ == Side::primary && cluster_.replica.state.in_recovery) {
        cluster_.replica.markers = server().markers;
      }
      return true;
    });
  }
  void enable_subscriptions(const std::vector<std::string>& names, bool enable, Duration) override {
    if (names.empty()) return;
    call(std::string("enable_subscriptions(") + (enable ? "true)" : "false)"), [&] {
      for (const std::string& name : names) {
        std::erase_if(server().subscriptions, [&](const Subscription& there) { return there.name == name; });
        if (enable) server().subscriptions.push_back({name, database_, true});
      }
      cluster_.commit(server());
      return true;
    });
  }
  EndingSessions end_sessions(Began began, const std::vector<std::string>& databases, const std::set<int>& before,
                              Duration) override {
    return call("end_sessions", [&] {
      const bool loaded = began == Began::before_reload && load();
      const auto meant = [&](const ClientSession& session) {
        return began == Began::whenever || loaded || std::ranges::find(databases, session.database) != databases.end();
      };
      EndingSessions asked{{}, loaded ? "after" : "before"};
      std::ranges::copy_if(server().sessions, std::back_inserter(asked.left), meant);
      for (ClientSession& session : asked.left) session.asked_to_end = !before.contains(session.pid);
      if (server().obeys_terminate) {
        std::erase_if(server().sessions,
                      [&](const ClientSession& one) { return meant(one) && !before.contains(one.pid); });
      }
      // Nobody can be asked before it is in.
      asked.left.insert(asked.left.end(), server().being_let_in.begin(), server().being_let_in.end());
      for (ClientSession& session : std::exchange(server().being_let_in, {})) {
        session.state = "idle";
        server().sessions.push_back(session);
      }
      return asked;
    });
  }
  EndingSessions reload_and_end_sessions(const std::vector<std::string>& databases, Duration deadline) override {
    order_reload(deadline);
    return end_sessions(Began::in_databases, databases, {}, deadline);
  }
  void checkpoint(Duration) override {
    call("checkpoint", [] { return true; });
  }
  void flush_wal(Duration) override {
    call("flush_wal", [this] {
      if (server().state.in_recovery) throw Error(ErrorCode::query_failed, "recovery is in progress");
      if (server().flushes) cluster_.write(64);
      return true;
    });
  }
  void fill_wal(std::int64_t bytes, Duration) override {
    call("fill_wal", [&] {
      cluster_.log(static_cast<std::uint64_t>(bytes));
      return true;
    });
  }
  bool has_next_segment(Duration) override {
    return call("has_next_segment", [this] { return cluster_.recycles; });
  }
  bool switch_wal(std::int64_t most, Duration) override {
    constexpr std::uint64_t segment = 16 << 20;
    const std::uint64_t left = (segment - cluster_.end_.bytes() % segment) % segment;
    const bool wanted = left > 0 && left <= static_cast<std::uint64_t>(most);
    return call(wanted ? "switch_wal" : "switch_wal(no)", [&] {
      if (wanted && server().flushes) cluster_.log(left);
      return wanted;
    });
  }
  SystemSettings system_settings(const std::vector<std::string>& names, Duration) override {
    return call("system_settings", [&] {
      SystemSettings values;
      for (const std::string& name : names) values[name] = server().others[name];
      return values;
    });
  }
  void set_system_settings(const SystemSettings& values, Duration) override {
    std::string text;
    for (const auto& [name, value] : values) text += (text.empty() ? "" : ", ") + name + "=" + value.value_or("reset");
    call("set_system_settings(" + text + ")", [&] {
      for (const auto& [name, value] : values) server().others[name] = value;
      return true;
    });
  }
  bool promote(Duration) override {
    return call("promote", [this] {
      if (!server().state.in_recovery) throw Error(ErrorCode::query_failed, "recovery is not in progress");
      if (server().orphan) throw Error(ErrorCode::unreachable, "the session has ended");
      cluster_.order_promotion();
      return true;
    });
  }
  bool try_lock(Duration) override {
    return call("try_lock", [this] {
      if (server().locked || server().lock_left) return false;
      if (server().lock_owner != nullptr && server().lock_owner != this) return false;
      server().lock_owner = this;
      return true;
    });
  }
  bool holds_lock(Duration) override {
    if (!connected_) return false;
    return call("holds_lock", [this] { return server().lock_owner == this; });
  }
  bool end_own_lock(Duration) override {
    return call("end_own_lock", [this] { return std::exchange(server().lock_left, false); });
  }
  void end_predecessors(Duration) override {
    call("end_predecessors", [] { return true; });
  }
  void show_hold(bool holding, Duration) override {
    call("show_hold", [&] { return server().on_hold = holding; });
  }
  std::string lock_holder(Duration) override {
    return call("lock_holder", [this] {
      const bool held = server().locked || server().lock_left || server().lock_owner != nullptr;
      return std::string(held ? "pgrm-agent/other (pid 9)" : "");
    });
  }
  std::future<WriteProbe> write_probe(const std::string& cutover_id, Duration) override {
    return at_once([&] { return call("write_probe", [&] { return write(cutover_id); }); });
  }
  WriteProbe write_and_read(const std::string& cutover_id, Duration) override {
    return call("write_and_read", [&] {
      WriteProbe probe = write(cutover_id);
      probe.reads_back = probe.accepted;
      return probe;
    });
  }
  std::future<WriteProbe> attack(const Attack& how, Duration) override {
    return at_once([&] {
      const auto attacked = [&] {
        log_in();
        if (!server().open()) return WriteProbe{false, false, true, false, "SQLSTATE 55000"};
        const bool refused =
            server().state.in_recovery || (server().override.read_only == "on" && !how.overrides_read_only);
        const bool read_only = refused && server().refusal == "25006";
        return WriteProbe{!refused, read_only, false, false, refused ? server().refusal : ""};
      };
      const char* const name = !how.writes ? "log_in" : how.overrides_read_only ? "attack(read write)" : "attack";
      return call_apart(name, attacked);
    });
  }
  bool may_write_probe(Duration) override {
    return call("may_write_probe", [] { return true; });
  }
  std::vector<std::string> probe_table_problems(Duration) override {
    return call("probe_table_problems", [this] { return server().probe_table_problems; });
  }
  std::vector<std::string> relation_names(const std::vector<std::string>& files, Duration) override {
    return call("relation_names", [&] { return files; });
  }
  std::string replication_slot(Duration) override {
    return call("replication_slot", [this] { return server().state.receiver ? server().state.receiver->slot : ""; });
  }
  bool create_slot(const std::string& name, Duration) override {
    return call("create_slot(" + name + ")", [&] {
      auto& slots = server().state.slots;
      if (std::ranges::find(slots, name, &Slot::name) != slots.end()) return false;
      Slot slot;
      slot.name = name;
      slot.type = "physical";
      slots.push_back(slot);
      return true;
    });
  }
  void drop_slot(const std::string& name, Duration) override {
    call("drop_slot(" + name + ")", [&] {
      std::erase_if(server().state.slots, [&](const Slot& slot) { return slot.name == name; });
      return true;
    });
  }
  void follow(const Conninfo& primary, Duration) override {
    call("follow(" + primary.address() + ")", [] { return true; });
  }

 private:
  /// What a real node does beside others, done now. What is no exception of the standard's kills the agent: it passes.
  template <typename Work>
  static std::future<std::invoke_result_t<Work>> at_once(Work&& work) {
    std::promise<std::invoke_result_t<Work>> promise;
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
        work();
        promise.set_value();
      } else {
        promise.set_value(work());
      }
    } catch (const std::exception&) {
      promise.set_exception(std::current_exception());
    }
    return promise.get_future();
  }

  FakeCluster::Server& server() { return cluster_[connected_ && !apart_ ? at_ : cluster_.leads_to(side_)]; }

  WriteProbe write(const std::string& cutover_id) {
    if (server().state.in_recovery || server().override.read_only == "on") {
      return {.accepted = false,
              .read_only = server().refusal == "25006",
              .shut_out = false,
              .reads_back = false,
              .refusal = "SQLSTATE " + server().refusal};
    }
    server().rows.insert(cutover_id);
    cluster_.commit(server());
    WriteProbe probe;
    probe.accepted = true;
    return probe;
  }

  /// Whether the server could load its configuration.
  bool load() {
    if (server().unloadable) return false;
    server().override = server().written;
    cluster_.refresh();
    return true;
  }

  Identity identity() {
    const ServerState& state = server().state;
    return {state.system_identifier, state.in_recovery ? std::nullopt : state.timeline, state.in_recovery,
            state.started_at};
  }

  /// Over a connection of its own.
  void log_in() {
    if (!server().up || server().orphan) throw Error(ErrorCode::unreachable, "cannot connect to " + describe());
  }

  void require_no_stranger() {
    if (!stranger_) return;
    if (const std::string why = stranger_(identity()); !why.empty()) {
      throw Error(ErrorCode::unreachable, address() + " " + why);
    }
  }

  void drop() {
    if (server().lock_owner == this) {
      server().lock_owner = nullptr;
      server().lock_left = !server().notices;
    }
    connected_ = false;
  }

  void alter(const std::string& order, std::optional<std::string>& setting, const std::optional<std::string>& value) {
    call(order, [&] {
      if (server().unwritable) throw Error(ErrorCode::query_failed, "could not open file \"postgresql.auto.conf\"");
      setting = value;
      return true;
    });
  }

  void allow_connections(const std::vector<std::string>& names, bool allow) {
    call(std::string("allow_connections(") + (allow ? "true)" : "false)"), [&] {
      for (Database& database : server().databases) {
        if (std::ranges::find(names, database.name) != names.end()) database.open = allow;
      }
      if (allow && side_ == Side::replica) server().sessions = three_clients(4);  // they have waited for that
      cluster_.commit(server());
      return true;
    });
  }

  void connect() {
    const auto fails = [&](const std::string& why) {
      drop();
      throw Error(ErrorCode::unreachable, "cannot connect to " + describe() + ": " + why);
    };
    if (!server().up) fails("connection refused");
    if (connected_ && epoch_ != server().epoch) {
      drop();
      throw Error(ErrorCode::connection_lost, "lost the connection to " + describe());
    }
    if (connected_) return;
    if (server().orphan) fails("connection refused");
    for (const Database& database : server().databases) {
      if (database.name == database_ && !database.open) fails("not currently accepting connections");
    }
    connected_ = true;
    at_ = cluster_.leads_to(side_);
    epoch_ = server().epoch;
    try {
      require_no_stranger();
    } catch (const Error&) {
      drop();
      throw;
    }
  }

  /// Over a connection of its own.
  template <typename Effect>
  std::invoke_result_t<Effect> call_apart(const std::string& name, Effect&& effect) {
    apart_ = true;
    try {
      auto result = call(name, std::forward<Effect>(effect), [] {});
      apart_ = false;
      return result;
    } catch (...) {
      apart_ = false;
      throw;
    }
  }

  template <typename Effect>
  std::invoke_result_t<Effect> call(const std::string& name, Effect&& effect) {
    return call(name, std::forward<Effect>(effect), [this] { connect(); });
  }

  template <typename Effect, typename Reach>
  std::invoke_result_t<Effect> call(const std::string& name, Effect&& effect, Reach&& reach) {
    const std::string text = std::string(to_string(side_)) + "." + name;
    cluster_.calls.push_back(text);
    cluster_.promote_when_due();
    cluster_.clients_write();
    try {
      if (cluster_.before) cluster_.before(text);
      reach();
      auto result = effect();
      cluster_.promote_when_due();
      cluster_.clients_write();
      if (cluster_.after) cluster_.after(text);
      return result;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::connection_lost || error.code() == ErrorCode::timeout) drop();
      throw;
    }
  }

  FakeCluster& cluster_;
  Side side_;
  std::string database_;
  std::function<std::string(const Identity&)> stranger_;
  bool connected_ = false, apart_ = false;
  Side at_ = side_;  // where the open session is
  int epoch_ = 0;
};

inline std::unique_ptr<Node> FakeCluster::node(Side side, std::string database) {
  return std::make_unique<FakeNode>(*this, side, std::move(database));
}

}  // namespace pgrm
