#include "core/pg/imagined.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "core/base/error.h"
#include "core/pg/orders.h"

namespace pgrm {
namespace {

/// `text` between `quote`s, as libpq has it.
std::string quoted(const std::string& text, char quote) {
  std::string result(1, quote);
  for (const char c : text) {
    if (c == quote) result += quote;
    result += c;
  }
  return result + quote;
}

std::string identifier(const std::string& name) { return quoted(name, '"'); }
std::string literal(const std::string& text) { return quoted(text, '\''); }
std::optional<std::string> literal(const std::optional<std::string>& text) {
  return text ? std::optional(literal(*text)) : std::nullopt;
}

/// An answer that is there already.
template <typename Answer>
std::future<Answer> ready(Answer answer) {
  std::promise<Answer> promise;
  promise.set_value(std::move(answer));
  return promise.get_future();
}

WriteProbe accepted() { return {.accepted = true, .refusal = {}}; }

WriteProbe refused(bool shut_out) {
  return {.read_only = !shut_out, .shut_out = shut_out, .refusal = shut_out ? "SQLSTATE 55000" : "SQLSTATE 25006"};
}

constexpr auto before_reload = "before", after_reload = "after";

}  // namespace

class ImaginedNode final : public Node {
 public:
  ImaginedNode(std::unique_ptr<Node> real, ImaginedPair& pair, Imagined& server)
      : real_(std::move(real)), pair_(pair), server_(server) {}

  std::string describe() const override { return real_->describe(); }
  std::string address() const override { return real_->address(); }
  void refuse_strangers(std::function<std::string(const Identity&)> stranger) override {
    real_->refuse_strangers(std::move(stranger));
  }
  void disconnect() override { real_->disconnect(); }
  bool is_connected() const override { return real_->is_connected(); }
  std::launch beside() const override { return std::launch::deferred; }

  // Questions that no order changes the answer of.

  ServerFacts facts(Duration deadline) override { return real_->facts(deadline); }
  DatabaseFacts database_facts(Duration deadline) override { return real_->database_facts(deadline); }
  std::string refusal_of(const std::string& role, Duration deadline) override {
    return real_->refusal_of(role, deadline);
  }
  std::optional<PromotionWork> promotion_work(Duration deadline) override { return real_->promotion_work(deadline); }
  std::vector<std::string> relation_names(const std::vector<std::string>& files, Duration deadline) override {
    return real_->relation_names(files, deadline);
  }
  std::string replication_slot(Duration deadline) override { return real_->replication_slot(deadline); }
  bool holds_lock(Duration deadline) override { return real_->holds_lock(deadline); }
  std::string lock_holder(Duration deadline) override { return real_->lock_holder(deadline); }
  bool may_write_probe(Duration deadline) override { return real_->may_write_probe(deadline); }
  std::vector<std::string> probe_table_problems(Duration deadline) override {
    return real_->probe_table_problems(deadline);
  }
  /// It changes nothing: the server reads them, and the lock ends with the session.
  void prepare_orders(Duration deadline) override { real_->prepare_orders(deadline); }
  bool try_lock(Duration deadline) override { return real_->try_lock(deadline); }
  bool end_own_lock(Duration deadline) override { return real_->end_own_lock(deadline); }

  // Questions.

  ServerState observe(Duration deadline) override {
    ServerState state = real_->observe(deadline);
    if (server_.promoted) {
      state.in_recovery = false;
      state.timeline = pair_.timeline_;
      for (const Imagined* const follower : followers()) {
        Standby row;
        row.name = *follower->slot;
        row.slot = *follower->slot;
        row.state = "streaming";
        state.standbys.push_back(std::move(row));
      }
    }
    if (server_.slot) {
      state.in_recovery = true;
      state.timeline = pair_.timeline_;
      state.standbys.clear();
      for (Slot& slot : state.slots) slot.active = false;
      state.receiver = WalReceiver{};
      state.receiver->status = "streaming";
      state.receiver->slot = *server_.slot;
    }
    return state;
  }

  bool in_recovery(Duration deadline) override {
    if (server_.promoted) return false;
    return server_.slot.has_value() || real_->in_recovery(deadline);
  }

  WalEnd wal_end(Duration deadline) override {
    if (!server_.at_rest) {
      WalEnd end = real_->wal_end(deadline);
      end.insert = moved(end.insert);
      end.flush = moved(end.flush);
      end.next_xid += server_.transactions;
      if (!takes_no_writes()) return end;
      end.insert = end.flush;
      end.idle = true;
      end.next_xid -= server_.transactions;
      server_.at_rest = end;
    }
    WalEnd end = *server_.at_rest;
    end.next_xid += server_.transactions;
    if (!server_.flushed) end.insert = Lsn(end.flush.bytes() + 1);
    return end;
  }

  std::optional<Lsn> wal_flushed(Duration deadline) override {
    const auto flushed = real_->wal_flushed(deadline);
    return flushed ? std::optional(moved(*flushed)) : std::nullopt;
  }

  std::optional<OldestTransaction> oldest_transaction(const std::optional<std::vector<int>>& pids,
                                                      Duration deadline) override {
    return real_->oldest_transaction(pids, deadline);
  }

  std::optional<Lsn> wal_replayed(Duration deadline) override {
    const auto replayed = real_->wal_replayed(deadline);
    if (!replayed) return std::nullopt;
    const Lsn reached(replayed->bytes() + static_cast<std::uint64_t>(pair_.old_.filled));
    return pair_.old_.at_rest ? std::max(reached, pair_.old_.at_rest->flush) : reached;
  }

  Identity identity(Duration deadline) override { return changed(real_->identity(deadline)); }

  std::future<Identity> fresh_identity(Duration deadline) override {
    return std::async(std::launch::deferred,
                      [this, deadline] { return changed(real_->fresh_identity(deadline).get()); });
  }

  FenceView fence_view(Duration deadline) override {
    FenceView view = real_->fence_view(deadline);
    if (server_.loaded) view.overrides = *server_.loaded;
    for (Database& database : view.databases) {
      if (const auto found = server_.open.find(database.name); found != server_.open.end()) {
        database.open = found->second;
      }
    }
    std::erase_if(view.subscriptions, [&](const Subscription& row) { return server_.disabled.contains(row.name); });
    if (server_.markers) view.markers = *server_.markers;
    return view;
  }

  std::optional<Overrides> overrides_in_file(Duration deadline) override {
    auto written = real_->overrides_in_file(deadline);
    return written && server_.written ? server_.written : written;
  }

  std::future<bool> accepts_connections(Duration deadline) override {
    return server_.down ? ready(false) : real_->accepts_connections(deadline);
  }

  std::vector<ClientSession> client_sessions(Duration deadline) override {
    const std::vector<ClientSession> sessions = real_->client_sessions(deadline);
    return takes_no_writes() ? std::vector<ClientSession>() : sessions;
  }

  std::vector<Writer> writers(Duration deadline) override {
    const std::vector<Writer> writers = real_->writers(deadline);
    return takes_no_writes() ? std::vector<Writer>() : writers;
  }

  SystemSettings system_settings(const std::vector<std::string>& names, Duration deadline) override {
    SystemSettings values = real_->system_settings(names, deadline);
    for (auto& [name, value] : values) {
      if (const auto found = server_.settings.find(name); found != server_.settings.end()) value = found->second;
    }
    return values;
  }

  // Orders.

  void alter_system(const Overrides& values, Duration) override {
    alter("default_transaction_read_only", values.read_only);
    alter("synchronous_standby_names", values.standby_names);
    server_.written = values;
  }

  Reload order_reload(Duration) override {
    give(orders::reload);
    if (server_.written) server_.loaded = server_.written;
    return {before_reload};
  }

  /// The real one has not reloaded since: it is asked once.
  void await_reload(const Reload& ordered, Duration deadline) override { real_->await_reload(ordered, deadline); }

  std::future<void> allow_connections(const std::vector<std::string>& databases, bool allow,
                                      Duration deadline) override {
    write_each(databases, orders::allow_connections, allow, deadline);
    for (Imagined* const server : with_replica()) {
      for (const std::string& name : databases) server->open[name] = allow;
    }
    std::promise<void> done;
    done.set_value();
    return done.get_future();
  }

  void try_to_close(const std::vector<std::string>& databases, Duration deadline) override {
    if (databases.empty()) return;
    give(orders::and_back(for_each(databases, orders::allow_connections, false), deadline));
    ++server_.transactions;
  }

  void set_marker(const std::optional<std::string>& words, Duration deadline) override {
    give(orders::in_one_transaction({orders::set_marker(literal(words))}, deadline));
    ++server_.transactions;
    for (Imagined* const server : with_replica()) {
      server->markers = words ? std::vector{*words} : std::vector<std::string>();
    }
  }

  void enable_subscriptions(const std::vector<std::string>& names, bool enable, Duration deadline) override {
    write_each(names, orders::enable_subscription, enable, deadline);
    for (Imagined* const server : with_replica()) {
      for (const std::string& name : names) {
        if (enable) {
          server->disabled.erase(name);
        } else {
          server->disabled.insert(name);
        }
      }
    }
  }

  EndingSessions end_sessions(Began began, const std::vector<std::string>& databases, const std::set<int>& asked,
                              Duration) override {
    give(orders::client_sessions,
         {orders::words_of(began), orders::array_of(databases), fmt::format("{{{}}}", fmt::join(asked, ","))});
    return {{}, after_reload};
  }

  EndingSessions reload_and_end_sessions(const std::vector<std::string>& databases, Duration deadline) override {
    const std::vector<ClientSession> sessions = real_->client_sessions(deadline);
    give(orders::reload_and_end_sessions(literal(orders::array_of(databases))));
    server_.loaded = server_.written;
    return {sessions, before_reload};
  }

  std::vector<Writer> end_writers(Duration) override {
    give(orders::writers, {"true"});
    return {};
  }

  void checkpoint(Duration) override { give("CHECKPOINT"); }

  void flush_wal(Duration) override {
    give(orders::flush);
    ++server_.transactions;
    server_.flushed = true;
  }

  void fill_wal(std::int64_t bytes, Duration) override {
    const std::int64_t whole = bytes / orders::largest_message, rest = bytes % orders::largest_message;
    if (whole > 0) give(orders::fill, {std::to_string(whole), std::to_string(orders::largest_message)});
    if (rest > 0) give(orders::fill, {"1", std::to_string(rest)});
    server_.filled += bytes;
  }

  /// A plan names the checkpoint that makes it, which may not be needed in the end.
  bool has_next_segment(Duration deadline) override {
    real_->has_next_segment(deadline);
    return false;
  }
  bool switch_wal(std::int64_t most, Duration) override {
    give(orders::switch_wal, {std::to_string(most)});
    server_.flushed = true;
    return true;
  }

  void set_system_settings(const SystemSettings& values, Duration deadline) override {
    for (const auto& [name, value] : values) {
      alter(name, value);
      server_.settings[name] = value;
    }
    reload(deadline);
  }

  bool promote(Duration deadline) override {
    give(orders::promote);
    pair_.timeline_ = real_->observe(deadline).timeline.value_or(0) + 1;
    server_.promoted = true;
    return true;
  }

  void show_hold(bool holding, Duration) override { give(orders::show_hold, {holding ? "true" : "false"}); }
  void end_predecessors(Duration) override { give(orders::end_predecessors); }

  std::future<WriteProbe> write_probe(const std::string& cutover_id, Duration) override {
    give(orders::probe, {cutover_id});
    return ready(takes_no_writes() ? refused(false) : accepted());
  }

  WriteProbe write_and_read(const std::string& cutover_id, Duration) override {
    give(orders::write_and_read(literal(cutover_id)));
    return {.accepted = true, .reads_back = true, .refusal = {}};
  }

  std::future<WriteProbe> attack(const Attack& how, Duration deadline) override {
    if (!how.writes) return real_->attack(how, deadline);
    for (const std::string& sql : orders::attack(how)) give(sql);
    if (std::ranges::any_of(server_.open, [](const auto& database) { return !database.second; })) {
      return ready(refused(true));
    }
    return ready(takes_no_writes() || in_recovery(deadline) ? refused(false) : accepted());
  }

  bool create_slot(const std::string& name, Duration) override {
    give(orders::create_slot, {name});
    return true;
  }
  void drop_slot(const std::string& name, Duration) override { give(orders::drop_slot, {name}); }

  void follow(const Conninfo& primary, Duration deadline) override {
    give(fmt::format("ALTER SYSTEM SET primary_conninfo = '… host={} port={}'", primary.host(), primary.port()));
    server_.slot = real_->replication_slot(deadline);
    reload(deadline);
  }

 private:
  void give(const Statement& statement, Params parameters = {}) {
    pair_.told_({server_.address, statement.name, statement.sql, std::move(parameters)});
  }
  void give(std::string sql) { pair_.told_({server_.address, {}, std::move(sql), {}}); }

  void alter(std::string_view setting, const std::optional<std::string>& value) {
    give(orders::alter_system(setting, literal(value)));
  }

  using Order = std::string(std::string_view identifier, bool how);

  static std::vector<std::string> for_each(const std::vector<std::string>& names, Order order, bool how) {
    std::vector<std::string> orders;
    for (const std::string& name : names) orders.push_back(order(identifier(name), how));
    return orders;
  }

  void write_each(const std::vector<std::string>& names, Order order, bool how, Duration deadline) {
    if (names.empty()) return;
    give(orders::in_one_transaction(for_each(names, order, how), deadline));
    ++server_.transactions;
  }

  /// Where a change of a catalog gets: here, and by replication to the replica.
  std::vector<Imagined*> with_replica() {
    if (&server_ == &pair_.old_ && !pair_.new_.promoted) return {&server_, &pair_.new_};
    return {&server_};
  }

  bool takes_no_writes() const { return server_.loaded && server_.loaded->read_only == "on"; }

  Lsn moved(Lsn lsn) const { return Lsn(lsn.bytes() + static_cast<std::uint64_t>(server_.filled)); }

  Identity changed(Identity identity) const {
    if (server_.down) throw Error(ErrorCode::unreachable, "it is stopped");
    if (server_.promoted) {
      identity.in_recovery = false;
      identity.timeline = pair_.timeline_;
    }
    if (server_.slot) {
      identity.in_recovery = true;
      identity.timeline = std::nullopt;
    }
    return identity;
  }

  std::vector<const Imagined*> followers() const {
    std::vector<const Imagined*> all;
    if (pair_.old_.slot) all.push_back(&pair_.old_);
    for (const auto& sibling : pair_.siblings_) {
      if (sibling->slot) all.push_back(sibling.get());
    }
    return all;
  }

  std::unique_ptr<Node> real_;
  ImaginedPair& pair_;
  Imagined& server_;
};

ImaginedPair::ImaginedPair(std::string old_primary, std::string new_primary,
                           std::function<void(const GivenOrder&)> told)
    : told_(std::move(told)) {
  old_.address = std::move(old_primary);
  new_.address = std::move(new_primary);
}

std::unique_ptr<Node> ImaginedPair::old_primary(std::unique_ptr<Node> real) {
  return std::make_unique<ImaginedNode>(std::move(real), *this, old_);
}

std::unique_ptr<Node> ImaginedPair::new_primary(std::unique_ptr<Node> real) {
  return std::make_unique<ImaginedNode>(std::move(real), *this, new_);
}

std::unique_ptr<Node> ImaginedPair::sibling(std::unique_ptr<Node> real) {
  siblings_.push_back(std::make_unique<Imagined>());
  siblings_.back()->address = real->address();
  return std::make_unique<ImaginedNode>(std::move(real), *this, *siblings_.back());
}

void ImaginedPair::stop_old() { old_.down = true; }

void ImaginedPair::start_old_as_standby(const std::string& slot) {
  old_.down = false;
  old_.slot = slot;
  old_.open = new_.open;
  old_.markers = new_.markers;
}

}  // namespace pgrm
