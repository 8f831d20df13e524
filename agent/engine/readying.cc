// Before writes are stopped: preflight, wait_sync, prepare, hold, moment.
#include "agent/engine/acts.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "core/replication/catch_up.h"
#include "core/replication/json.h"

namespace pgrm::agent {

// ---- preflight

std::string preview_preflight(Cutover& /*cutover*/) {
  return "asks both servers, the exporter and the traffic drivers";
}

std::string run_preflight(Cutover& cutover) {
  const Facts facts = gather_facts(cutover.servers, cutover.exporter, cutover.traffic, cutover.node_control,
                                   cutover.options, cutover.clock);
  cutover.findings = judge(facts);
  cutover.progress.checked(cutover.findings);
  if (!passed(cutover.findings)) throw Error(ErrorCode::preflight_refused, sum_up(cutover.findings));
  cutover.system_identifier = facts.sample.primary.state->system_identifier;
  cutover.old_timeline = facts.sample.primary.state->timeline.value();
  refuse_strangers(cutover.servers, cutover.old_timeline);
  cutover.wal_segment = segment_to_align(facts);
  cutover.replica_settings = settings_for_promotion(facts);
  look_at_begin(cutover);
  return sum_up(cutover.findings);
}

// ---- wait_sync

std::string preview_wait_sync(Cutover& cutover) {
  return fmt::format("waits for {} consecutive in-sync checks, at most {}", cutover.options.required_checks,
                     human(cutover.options.sync_timeout));
}

/// Empty when the exporter's word counts; otherwise why not.
static std::string distrust(const Cutover& cutover, const ExporterState& state) {
  if (state.age > state.stale_after) {
    return fmt::format("its observation is {} old, allowed: {}", human(state.age), human(state.stale_after));
  }
  if (state.primary.system_identifier != cutover.system_identifier) return "it does not see our primary";
  if (state.replica.system_identifier != cutover.system_identifier) return "it does not see our replica";
  return {};
}

/// What the exporter says of the pair.
struct SyncSeen {
  std::optional<ExporterState> state{};  // in sync often enough; nullopt: not, or it is not to be trusted
  std::string words;
};

static SyncSeen ask_exporter(Cutover& cutover) {
  const int required = cutover.options.required_checks;
  try {
    ExporterState state =
        state_from_json(http::get_ok(cutover.exporter, cutover.options.exporter_state, cutover.options.call_deadline));
    if (std::string why = distrust(cutover, state); !why.empty()) return {.words = std::move(why)};
    std::string words = fmt::format("{} of {} checks in sync", std::min(state.consecutive, required), required);
    for (const SyncReason& reason : state.reasons) words += "; " + reason.text;
    if (state.consecutive < required) return {.words = std::move(words)};
    return {std::move(state), std::move(words)};
  } catch (const Error& error) {
    return {.words = error.what()};
  }
}

std::string run_wait_sync(Cutover& cutover) {
  SyncSeen seen;
  const auto in_sync = [&] {
    seen = ask_exporter(cutover);
    cutover.progress.waits(seen.words);
    return seen.state.has_value();
  };
  if (!waited(cutover, cutover.options.sync_timeout, std::chrono::milliseconds(100), in_sync)) {
    throw Error(ErrorCode::sync_timeout,
                fmt::format("not in sync within {}: {}", human(cutover.options.sync_timeout), seen.words),
                "agent status --watch and the exporter's page show the same values");
  }
  return fmt::format("{} consecutive checks in sync, {} bytes behind", seen.state->consecutive,
                     seen.state->lag_bytes.value_or(0));
}

// ---- prepare

/// Somebody may have promoted it since the preflight.
static void require_standby(Cutover& cutover) {
  if (new_admin(cutover).in_recovery(cutover.options.call_deadline)) return;
  throw Error(ErrorCode::preflight_refused, "the replica has left recovery since the preflight",
              "agent status shows both servers");
}

/// Writes and loads the configuration as it is, so that an error shows now and not behind the fence.
static void prove_configuration(Server& server, const std::string& address, Duration deadline) {
  Node& admin = *server.admin;
  try {
    const auto written = admin.overrides_in_file(deadline);
    admin.alter_system(written ? *written : admin.fence_view(deadline).overrides, deadline);
    admin.reload(deadline);
  } catch (const Error& error) {
    if (is_without_session(error.code())) throw;  // that says nothing about the configuration
    throw Error(ErrorCode::preflight_refused,
                fmt::format("the configuration of {} cannot be written and loaded: {}", address, error.what()),
                "select sourcefile, sourceline, name, error from pg_file_settings where error is not null");
  }
}

/// The same on the replica, where only a short promotion needs it.
static void prove_replica_configuration(Cutover& cutover) {
  if (cutover.replica_settings.empty()) return;
  try {
    prove_configuration(cutover.servers.new_primary, cutover.options.pair.new_primary.address(),
                        cutover.options.call_deadline);
  } catch (const Error& error) {
    cutover.wal_segment = 0;
    cutover.replica_settings.clear();
    cutover.warnings.push_back(fmt::format("{}; the promotion takes longer", error.what()));
  }
}

std::string preview_prepare(Cutover&) { return "writes a checkpoint on both servers, so that promotion is quick"; }

std::string run_prepare(Cutover& cutover) {
  const std::string warmed = warm_again(cutover);
  prove_configuration(cutover.servers.old_primary, cutover.options.pair.old_primary.address(),
                      cutover.options.call_deadline);
  prove_replica_configuration(cutover);
  cutover.prepared_at = cutover.clock.now();
  cutover.prepared_from = old_admin(cutover).wal_end(cutover.options.call_deadline).insert;
  cutover.progress.waits("checkpoint on the primary");
  old_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  cutover.progress.waits("restartpoint on the replica");
  new_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  // Every connection and statement of the critical path is used once, so that nothing has to be opened or planned
  // there.
  const Duration deadline = cutover.options.call_deadline;
  old_admin(cutover).wal_end(deadline);
  const FenceView view = old_admin(cutover).fence_view(deadline);
  old_admin(cutover).end_sessions(Began::in_databases, {}, {}, deadline);  // none
  new_admin(cutover).wal_replayed(deadline);
  require_standby(cutover);
  new_admin(cutover).identity(deadline);
  const FencePlan plan = plan_fence(view, cutover.options, cutover.id);  // refuses now what the fence would refuse
  rehearse_attack(cutover.servers.old_primary, plan, deadline);
  if (!new_admin(cutover).accepts_connections(deadline).get()) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections");
  }
  for (Server* const server : {&cutover.servers.old_primary, &cutover.servers.new_primary}) {
    for (Node* const node : {server->admin.get(), server->application.get()}) node->prepare_orders(deadline);
  }
  cutover.prediction = try_predict(cutover);
  return fmt::format("checkpoints written, connections open{}{}", warmed,
                     cutover.prediction ? ", a pause of " + human(cutover.prediction->total()) + " predicted" : "");
}

// ---- hold

/// A checkpoint, open connections and planned statements are worth that long.
constexpr Duration prepared_for = std::chrono::minutes(5);

/// What stands between here and a server forgets a connection that says nothing for some minutes.
constexpr Duration sessions_are_used = std::chrono::seconds(30);

/// As long as it takes.
constexpr Duration a_year = std::chrono::hours(24 * 365);

static std::string window_text(const Cutover& cutover) {
  return fmt::format("the window {}, local time", cutover.options.window->text());
}

/// Throws Error(sync_timeout) outside of the window.
static void require_window(const Cutover& cutover) {
  if (!cutover.options.window || cutover.options.window->contains(cutover.clock.wall())) return;
  throw Error(ErrorCode::sync_timeout, window_text(cutover) + ", has ended", "the same command waits for the next one");
}

std::string preview_hold(Cutover& cutover) {
  const std::string held = cutover.held_by();
  if (!held.empty()) return "waits: " + held;
  return cutover.options.window ? "waits for " + window_text(cutover) : "nothing to wait for";
}

/// For `agent status`, on whatever host. Without it the hold is as good.
static void show_hold(Cutover& cutover, bool holding) {
  try {
    cutover.servers.lock->show_hold(holding, cutover.options.call_deadline);
  } catch (const Error& error) {
    spdlog::warn("agent status does not show the hold: {}", error.what());
  }
}

/// Uses each session that the cutover will need. One that has ended is opened anew by the next call, but for the one
/// that holds the lock: throws Error(connection_lost) without it, because another agent may have it now. Returns
/// why one is not there; empty: all are.
static std::string use_sessions(Cutover& cutover) {
  prove_lock(cutover).get();
  std::string trouble;
  const auto use = [&trouble](const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      trouble = error.what();
    }
  };
  std::vector<Node*> nodes;
  for (Server* const server : {&cutover.servers.old_primary, &cutover.servers.new_primary}) {
    nodes.insert(nodes.end(), {server->admin.get(), server->application.get()});
  }
  for (const auto& sibling : cutover.servers.siblings) nodes.push_back(sibling.get());
  for (Node* const node : nodes) {
    use([&] {
      try {
        node->in_recovery(cutover.options.call_deadline);
      } catch (const Error&) {
        node->disconnect();
        throw;
      }
    });
  }
  for (const auto& driver : cutover.traffic) use([&] { driver->waits_for(); });
  return trouble;
}

std::string run_hold(Cutover& cutover) {
  if (cutover.released) return "released already";
  const Mono since = cutover.clock.now();
  Mono used = since;
  bool prepared = true;
  std::string trouble;
  const auto use = [&] {
    trouble = use_sessions(cutover);
    prepared = prepared && trouble.empty();
    if (trouble.empty()) require_standby(cutover);
    if (const SyncSeen sync = ask_exporter(cutover); !sync.state) add_trouble(trouble, "not in sync: " + sync.words);
    used = cutover.clock.now();
  };
  bool inside = !cutover.options.window;
  const auto released = [&] {
    if (inside) {
      require_window(cutover);
    } else {
      inside = cutover.options.window->contains(cutover.clock.wall());
    }
    if (cutover.clock.now() - used >= sessions_are_used) use();
    const std::string held = inside ? cutover.held_by() : "for " + window_text(cutover);
    if (!held.empty()) cutover.progress.waits("waits: " + held + (trouble.empty() ? "" : "; " + trouble));
    return held.empty();
  };
  if (!released()) {
    show_hold(cutover, true);
    waited(cutover, a_year, std::chrono::milliseconds(200), released);
    show_hold(cutover, false);
    use();
  }
  cutover.released = true;
  const Duration took = cutover.clock.now() - since;
  if (took < std::chrono::seconds(1)) return "nothing to wait for";
  std::string evidence = "released";
  if (took > prepared_for || !prepared) {
    evidence += ", " + run_preflight(cutover) + ", " + run_prepare(cutover);
  } else {
    cutover.prediction = try_predict(cutover);
  }
  return evidence + ", " + run_wait_sync(cutover);
}

// ---- moment

/// What a catch-up may take of the whole pause.
static Duration catch_up_share(const Options& options) { return options.max_write_pause / 5; }
/// How old a transaction may be whose end a driver waits for.
static Duration draining_share(const Options& options) { return options.max_write_pause / 2; }

std::string preview_moment(Cutover& cutover) {
  const Options& options = cutover.options;
  std::string text = fmt::format("waits until the replica catches up within {} and a pause of at most {} is predicted",
                                 human(catch_up_share(options)), human(options.max_write_pause));
  if (!cutover.traffic.empty()) {
    text += fmt::format(", no transaction that a driver waits for is older than {}", human(draining_share(options)));
  }
  if (options.wait_for_transactions > Duration::zero()) {
    text +=
        fmt::format(", and no client transaction is older than 1 s, at most {}", human(options.wait_for_transactions));
  }
  return text;
}

/// Why writes may not be stopped at this moment, and what a person can do about it.
struct NotNow {
  std::string why;  // empty: they may
  std::string hint{};
};

/// A lock that somebody holds on a database would hold up its closing, behind the stopped application.
static NotNow why_not_closed(Cutover& cutover) {
  const FenceView view = old_admin(cutover).fence_view(cutover.options.call_deadline);
  try {
    old_admin(cutover).try_to_close(plan_fence(view, cutover.options, cutover.id).databases,
                                    catch_up_share(cutover.options));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::query_failed && error.code() != ErrorCode::timeout) throw;
    return {fmt::format("the databases could not be closed now: {}", error.what()), error.hint()};
  }
  return {};
}

static NotNow why_not_now(Cutover& cutover) {
  const Options& options = cutover.options;
  const LagThresholds wanted{options.thresholds.bytes, catch_up_share(options)};
  const auto probe = measure_catch_up(old_admin(cutover), new_admin(cutover), wanted, cutover.clock,
                                      options.call_deadline, cutover.stop);
  if (!probe) return {"the replica has replayed nothing, or the primary is in recovery", "agent status shows both"};
  if (!probe->in_time(wanted)) {
    return {fmt::format("the replica needs more than {} to catch up, {} bytes are missing", human(wanted.seconds),
                        probe->remaining),
            "agent status says what holds it up; --max-write-pause allows five times that time"};
  }
  if (const auto open = holds_up_traffic(cutover); open && open->age > draining_share(options)) {
    return {fmt::format("a transaction that the drivers would wait for is open for {}, allowed: {}: {}",
                        human(open->age), human(draining_share(options)), open->who),
            "end it; or --max-write-pause allows twice that time"};
  }
  // A prediction takes as long as some round trips: a new one only where the last one says no. What the application
  // writes meanwhile is missing from the room that the alignment has left in the WAL segment.
  if (!too_long(cutover).empty()) cutover.prediction = try_predict(cutover);
  if (const std::string why = too_long(cutover); !why.empty()) return {why, "--max-write-pause allows a longer one"};
  require_standby(cutover);
  return why_not_closed(cutover);
}

/// Until no client's transaction is old, at most for `left`, which becomes shorter by that time.
static void wait_for_transactions(Cutover& cutover, Duration& left) {
  if (cutover.options.wait_for_transactions == Duration::zero()) return;
  const Mono since = cutover.clock.now();
  std::string open;
  const auto none_is_old = [&] {
    const auto oldest = old_admin(cutover).oldest_transaction(std::nullopt, cutover.options.call_deadline);
    if (!oldest || oldest->age <= std::chrono::seconds(1)) return true;
    open = fmt::format("a client transaction is open for {}: {}", human(oldest->age), oldest->who);
    cutover.progress.waits(open);
    return false;
  };
  const bool none = waited(cutover, left, std::chrono::milliseconds(200), none_is_old);
  left -= cutover.clock.now() - since;
  if (none) return;
  throw Error(
      ErrorCode::sync_timeout,
      fmt::format("{}. There was no moment without one within {}", open, human(cutover.options.wait_for_transactions)),
      "select pid, usename, xact_start, query from pg_stat_activity order by xact_start on the primary");
}

std::string run_moment(Cutover& cutover) {
  // A new agent finds writes stopped: whatever it waits for, the application waits as well.
  if (cutover.recovering) return "not waited for";
  look_at_end(cutover);
  const Options& options = cutover.options;
  Duration left_for_transactions = options.wait_for_transactions;
  NotNow not_now;
  // Transactions first: what is judged after them is so when writes stop.
  const auto now = [&] {
    require_window(cutover);
    wait_for_transactions(cutover, left_for_transactions);
    require_window(cutover);
    not_now = why_not_now(cutover);
    if (!not_now.why.empty()) cutover.progress.waits(not_now.why);
    return not_now.why.empty();
  };
  const Duration patience = options.sync_timeout + options.wait_for_transactions;
  if (!waited(cutover, patience, std::chrono::milliseconds(100), now)) {
    throw Error(ErrorCode::sync_timeout,
                fmt::format("no moment for a short pause within {}: {}", human(patience), not_now.why), not_now.hint);
  }
  return "the replica catches up in time";
}

}  // namespace pgrm::agent
