// Two PostgreSQL servers in memory, as far as a cutover can tell: one primary, one standby, WAL that flows, sessions
// that write. Every call can be made to fail before or after it had its effect.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/pg/node.h"
#include "core/replication/sample.h"

namespace pgrm {

class FakeCluster {
 public:
  struct Server {
    bool up = true;
    ServerState state;
    ServerFacts facts;
    std::optional<std::string> override;  // default_transaction_read_only by ALTER SYSTEM
    std::vector<ClientSession> sessions;
    std::uint64_t next_xid = 700;
    std::set<std::string> rows;  // of pgrm.cutover_probe
    bool locked = false;
    std::vector<std::string> read_only_exceptions;
    bool idle = true;               // no transaction in progress
    bool orphan = false;            // killed; sessions that are open live on
    std::string refusal = "25006";  // of a write on a server that does not take one
    bool obeys_terminate = true;
    bool obeys_promote = true;
    bool flushes = true;  // a commit brings WAL to disk

    bool writable() const { return up && !state.in_recovery && override != "on"; }
  };

  FakeCluster() {
    for (Server* const server : {&primary, &replica}) {
      server->state.version = 160004;
      server->state.system_identifier = "7300000000000000001";
      server->state.timeline = 1;
      server->state.full_view = true;
      server->state.server_time = from_unix(1'800'000'000);
      server->state.started_at = from_unix(1'700'000'000);
      server->facts.settings = {
          {"server_version", "16.4"},        {"max_connections", "100"},         {"max_worker_processes", "8"},
          {"max_wal_senders", "10"},         {"max_prepared_transactions", "0"}, {"max_locks_per_transaction", "64"},
          {"synchronous_standby_names", ""}, {"recovery_min_apply_delay", "0"},  {"archive_mode", "off"},
          {"shared_preload_libraries", ""}};
      server->facts.rights = {{"pg_signal_backend", true},
                              {"pg_promote", true},
                              {"pg_reload_conf", true},
                              {"pg_checkpoint", true},
                              {"ALTER SYSTEM default_transaction_read_only", true}};
    }
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
    for (int pid = 1; pid <= 3; ++pid) primary.sessions.push_back({pid, "app", "testdb", "app", "idle", false});
    write(1000);
  }

  /// A client's write on the primary: WAL and a transaction id.
  void write(std::uint64_t bytes) {
    end_ = Lsn(end_.bytes() + bytes);
    ++primary.next_xid;
    if (streams) replayed_ = end_;
    refresh();
  }
  /// Brings the standby up to date.
  void replay_all() {
    replayed_ = end_;
    refresh();
  }

  std::unique_ptr<Node> node(Side side, std::string database = "postgres");

  /// Both must never be true of the same moment; every call checks it.
  bool two_writable() const { return primary.writable() && replica.writable(); }

  Server& operator[](Side side) { return side == Side::primary ? primary : replica; }

  Server primary, replica;
  bool streams = true;
  bool ever_two_writable = false;
  std::vector<std::string> calls;  // "primary.override_read_only(on)", …
  /// Called around every call, with its text; may throw what the caller shall see.
  std::function<void(const std::string&call)> before, after;

 private:
  friend class FakeNode;

  void refresh() {
    primary.state.wal_insert = primary.state.wal_write = primary.state.wal_flush = end_;
    if (replica.state.in_recovery) replica.state.wal_receive = replica.state.wal_replay = replayed_;
    Standby& standby = primary.state.standbys.front();
    standby.sent = standby.write = standby.flush = standby.replay = replayed_;
    for (Server* const server : {&primary, &replica}) server->state.default_read_only = server->override == "on";
  }

  Lsn end_{0x3000000};
  Lsn replayed_{0x3000000};
};

class FakeNode final : public Node {
 public:
  FakeNode(FakeCluster& cluster, Side side, std::string database)
      : cluster_(cluster), side_(side), database_(std::move(database)) {}

  std::string describe() const override {
    return std::string("agent@") + (side_ == Side::primary ? "old" : "new") + ":5432/" + database_;
  }
  void disconnect() override {}

  ServerState observe(Duration) override {
    return call("observe", [this] { return server().state; });
  }
  ServerFacts facts(Duration) override {
    return call("facts", [this] { return server().facts; });
  }
  bool in_recovery(Duration) override {
    return call("in_recovery", [this] { return server().state.in_recovery; });
  }
  WalEnd wal_end(Duration) override {
    return call("wal_end", [this] {
      return WalEnd{*server().state.wal_insert, *server().state.wal_flush, server().next_xid, server().idle};
    });
  }
  std::optional<Lsn> wal_replayed(Duration) override {
    return call("wal_replayed", [this] { return server().state.wal_replay; });
  }
  std::optional<std::string> read_only_override(Duration) override {
    return call("read_only_override", [this] { return server().override; });
  }
  std::vector<std::string> read_only_exceptions(Duration) override {
    return call("read_only_exceptions", [this] { return server().read_only_exceptions; });
  }
  bool accepts_connections(Duration) override {
    return call("accepts_connections", [this] { return !server().orphan; });
  }
  std::vector<ClientSession> client_sessions(std::optional<WallTime>, Duration) override {
    return call("client_sessions", [this] { return server().sessions; });
  }

  WallTime override_read_only(const std::optional<std::string>& value, Duration) override {
    return call("override_read_only(" + value.value_or("reset") + ")", [&] {
      server().override = value;
      cluster_.refresh();
      return server().state.server_time;
    });
  }
  void terminate(int pid, Duration) override {
    call("terminate", [&] {
      if (server().obeys_terminate) std::erase_if(server().sessions, [pid](const auto& s) { return s.pid == pid; });
      return true;
    });
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
  bool promote(Duration) override {
    return call("promote", [this] {
      if (server().obeys_promote) {
        server().state.in_recovery = false;
        server().state.timeline = 2;
      }
      return true;
    });
  }
  bool try_lock(Duration) override {
    return call("try_lock", [this] { return !server().locked; });
  }
  WriteProbe write_probe(const std::string& cutover, Duration) override {
    return call("write_probe", [&] {
      if (!server().writable()) return WriteProbe{false, server().refusal == "25006", "SQLSTATE " + server().refusal};
      server().rows.insert(cutover);
      ++server().next_xid;
      return WriteProbe{true, false, {}};
    });
  }
  bool may_write_probe(Duration) override {
    return call("may_write_probe", [] { return true; });
  }
  bool probe_present(const std::string& cutover, Duration) override {
    return call("probe_present", [&] { return server().rows.contains(cutover); });
  }

 private:
  FakeCluster::Server& server() { return cluster_[side_]; }

  template <typename Effect>
  std::invoke_result_t<Effect> call(const std::string& name, Effect&& effect) {
    const std::string text = std::string(to_string(side_)) + "." + name;
    cluster_.calls.push_back(text);
    if (cluster_.before) cluster_.before(text);
    if (!server().up) throw Error(ErrorCode::unreachable, describe() + " is down");
    auto result = effect();
    cluster_.ever_two_writable = cluster_.ever_two_writable || cluster_.two_writable();
    if (cluster_.after) cluster_.after(text);
    return result;
  }

  FakeCluster& cluster_;
  Side side_;
  std::string database_;
};

inline std::unique_ptr<Node> FakeCluster::node(Side side, std::string database) {
  return std::make_unique<FakeNode>(*this, side, std::move(database));
}

}  // namespace pgrm
