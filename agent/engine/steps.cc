#include "agent/engine/steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "agent/demote/rejoin.h"
#include "agent/engine/alignment.h"
#include "agent/engine/cutover.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

constexpr WallTime before_everybody{};  // no session began so early

constexpr auto tick = std::chrono::milliseconds(1);  // while writes are stopped, nothing polls slower

Node& old_admin(Cutover& cutover) { return *cutover.servers.primary.admin; }
Node& new_admin(Cutover& cutover) { return *cutover.servers.replica.admin; }

/// wait_until() for conditions before the point of no return: a request to stop becomes an Error.
template <typename Condition>
bool waited(Cutover& cutover, Duration budget, Duration poll, Condition&& reached) {
  const WaitEnd end = wait_until(cutover.clock, budget, poll, cutover.stop, std::forward<Condition>(reached));
  if (end == WaitEnd::stopped) throw Error(ErrorCode::undone, "interrupted");
  return end == WaitEnd::reached;
}

// ---- preflight

Look look_preflight(Cutover&) { return {Seen::not_done, "asks both servers, the exporter and the traffic drivers"}; }

std::string run_preflight(Cutover& cutover) {
  const Facts facts = gather_facts(cutover.servers, cutover.exporter, cutover.traffic, cutover.node_control,
                                   cutover.options, cutover.clock);
  cutover.findings = judge(facts);
  cutover.progress.checked(cutover.findings);
  if (!passed(cutover.findings)) throw Error(ErrorCode::preflight_refused, sum_up(cutover.findings));
  cutover.system_identifier = facts.sample.primary.state->system_identifier;
  cutover.old_timeline = facts.sample.primary.state->timeline.value();
  cutover.wal_segment = segment_to_align(facts);
  return sum_up(cutover.findings);
}

// ---- wait_sync

Look look_wait_sync(Cutover& cutover) {
  return {Seen::not_done, fmt::format("waits for {} consecutive in-sync checks, at most {}",
                                      cutover.options.required_checks, human(cutover.options.sync_timeout))};
}

/// Empty when the exporter's word counts; otherwise why not.
std::string distrust(const Cutover& cutover, const ExporterState& state) {
  if (state.age > 2 * state.interval) return fmt::format("its observation is {} old", human(state.age));
  if (state.primary.system_identifier != cutover.system_identifier) return "it does not see our primary";
  if (state.replica.system_identifier != cutover.system_identifier) return "it does not see our replica";
  return {};
}

std::string run_wait_sync(Cutover& cutover) {
  std::string seen = "the exporter has not answered";
  std::optional<ExporterState> state;
  const int required = cutover.options.required_checks;
  const auto in_sync = [&] {
    try {
      state = state_from_json(http::get_ok(cutover.exporter, "/api/v1/state", cutover.options.call_deadline));
    } catch (const Error& error) {
      seen = error.what();
      cutover.progress.waits(seen);
      return false;
    }
    seen = distrust(cutover, *state);
    const bool trusted = seen.empty();
    if (trusted) {
      seen = fmt::format("{} of {} checks in sync", std::min(state->consecutive, required), required);
      for (const SyncReason& reason : state->reasons) seen += "; " + reason.text;
    }
    cutover.progress.waits(seen);
    return trusted && state->consecutive >= required;
  };
  if (!waited(cutover, cutover.options.sync_timeout, std::chrono::milliseconds(100), in_sync)) {
    throw Error(ErrorCode::sync_timeout,
                fmt::format("not in sync within {}: {}", human(cutover.options.sync_timeout), seen));
  }
  return fmt::format("{} consecutive checks in sync, {} bytes behind", state->consecutive,
                     state->lag_bytes.value_or(0));
}

// ---- prepare

Look look_prepare(Cutover&) {
  return {Seen::not_done, "writes a checkpoint on both servers, so that promotion is quick"};
}

std::string run_prepare(Cutover& cutover) {
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
  old_admin(cutover).client_sessions(std::nullopt, {}, deadline);
  old_admin(cutover).end_sessions(before_everybody, {}, {}, deadline);
  new_admin(cutover).wal_replayed(deadline);
  new_admin(cutover).in_recovery(deadline);
  new_admin(cutover).identity(deadline);
  const FencePlan plan = plan_fence(view, cutover.options);  // refuses now what the fence would refuse
  rehearse_attack(cutover.servers.primary, plan, deadline);
  if (!new_admin(cutover).accepts_connections(deadline).get()) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections");
  }
  for (Server* const server : {&cutover.servers.primary, &cutover.servers.replica}) {
    for (Node* const node : {server->admin.get(), server->application.get()}) node->prepare_orders(deadline);
    server->application->probe_present(cutover.id, deadline);
  }
  cutover.prediction = try_predict(cutover);
  return fmt::format("checkpoints written, connections open{}",
                     cutover.prediction ? ", a write gap of " + human(cutover.prediction->total()) + " predicted" : "");
}

// ---- arm_fence

Look look_arm_fence(Cutover& cutover) {
  return {Seen::not_done, fmt::format("writes the settings of the fence into the configuration of {}, to be in effect "
                                      "with the fence",
                                      cutover.options.pair.primary.address())};
}

nlohmann::json before_arm_fence(Cutover& cutover) {
  cutover.plan = plan_fence(old_admin(cutover).fence_view(cutover.options.call_deadline), cutover.options);
  return cutover.plan->to_json();
}

std::string run_arm_fence(Cutover& cutover) {
  old_admin(cutover).alter_system(fenced_overrides(), cutover.options.call_deadline);
  return "in the configuration, not in effect yet";
}

/// What undo_fence has done already when there was a fence.
void undo_arm_fence(Cutover& cutover, const nlohmann::json&) {
  old_admin(cutover).override_settings(cutover.plan->before, cutover.options.call_deadline);
}

// ---- stop_traffic

Look look_stop_traffic(Cutover& cutover) {
  std::vector<std::string> names;
  for (const auto& driver : cutover.traffic) names.push_back(driver->name());
  if (names.empty()) return {Seen::not_done, "nobody is told: the fence ends the application's sessions"};
  return {Seen::not_done, fmt::format("pauses {}", fmt::join(names, ", "))};
}

std::string run_stop_traffic(Cutover& cutover) {
  cutover.writes_stopped = cutover.clock.now();
  for (const auto& driver : cutover.traffic) driver->stop(cutover.options.drain_timeout);
  return cutover.traffic.empty() ? "nobody to tell" : "nothing in flight";
}

/// Lets one driver's application go on, and the others in any case: a failure is a warning. Returns it when somebody is
/// held up by it: who is gone holds nobody up.
std::string resume(Cutover& cutover, Traffic& driver, void (Traffic::*go_on)(Duration)) {
  try {
    (driver.*go_on)(cutover.options.drain_timeout);
    return {};
  } catch (const Error& error) {
    cutover.warnings.push_back(fmt::format("{} was not resumed: {}", driver.name(), error.what()));
    if (!driver.holds_application() || error.code() == ErrorCode::unreachable) return {};
    return fmt::format("{}: {}; ", driver.name(), error.what());
  }
}

void undo_stop_traffic(Cutover& cutover, const nlohmann::json&) {
  std::string paused;
  for (auto driver = cutover.traffic.rbegin(); driver != cutover.traffic.rend(); ++driver) {
    paused += resume(cutover, **driver, &Traffic::resume_on_old);
  }
  cutover.writes_resumed = cutover.clock.now();
  if (!paused.empty()) {
    throw Error(ErrorCode::undecided, "the application was not resumed: " + paused, "agent recover tries again");
  }
}

// ---- fence

Look look_fence(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  const FenceView view = old_admin(cutover).fence_view(deadline);
  const FencePlan plan = plan_fence(view, cutover.options);
  const auto sessions = old_admin(cutover).client_sessions(std::nullopt, {}, deadline);
  std::string text = fmt::format("makes {} read-only, ends {} client sessions", cutover.options.pair.primary.address(),
                                 sessions.size());
  if (!plan.databases.empty()) text += fmt::format(", closes {}", fmt::join(plan.databases, ", "));
  if (!plan.subscriptions.empty()) text += fmt::format(", disables {}", fmt::join(plan.subscriptions, ", "));
  return {view.overrides.read_only == "on" ? Seen::done : Seen::not_done, text};
}

/// The insert position runs ahead of the flush position by the header of a page that nothing has been written to yet
/// (XLogBytePosToRecPtr); any other difference is WAL that is not on disk and so not sent either.
bool all_flushed(const WalEnd& end) {
  constexpr std::uint64_t page = 8192;
  constexpr std::int64_t longest_header = 40;
  const std::int64_t ahead = distance(end.flush, end.insert);
  return ahead == 0 || (end.flush.bytes() % page == 0 && ahead > 0 && ahead <= longest_header);
}

/// Brings what is written to disk, and so on its way to the replica. Returns where it ends.
WalEnd flush(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  const WalEnd end = old_admin(cutover).wal_end(deadline);
  if (all_flushed(end)) return end;
  old_admin(cutover).flush_wal(deadline);
  return old_admin(cutover).wal_end(deadline);
}

std::string run_fence(Cutover& cutover) {
  const bool paused =
      std::ranges::any_of(cutover.traffic, [](const auto& driver) { return driver->holds_application(); });
  cutover.fence =
      raise_fence(cutover.servers.primary, *cutover.plan, paused, cutover.clock, cutover.options.drain_timeout);
  // Nobody is left to write: the last of the WAL travels while the fence is proved.
  if (!end_segment(cutover)) flush(cutover);
  // First, because a hook may take its time, and may touch what the fence is made of.
  for (const auto& driver : cutover.traffic) driver->after_fence(cutover.options.drain_timeout);
  cutover.replica_accepts = new_admin(cutover).accepts_connections(cutover.options.call_deadline);
  prove_layers(cutover.servers.primary, *cutover.plan, cutover.id, cutover.options.call_deadline);
  return fmt::format("{}, {} sessions ended, a write over an open one refused", to_string(cutover.plan->form),
                     cutover.fence->sessions_ended);
}

void undo_fence(Cutover& cutover, const nlohmann::json&) {
  lift_fence(cutover.servers.primary, *cutover.plan, cutover.id, cutover.options.call_deadline);
}

// ---- final_verification

Look look_final_verification(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // The replica first, so that the difference can only look larger.
  const auto replayed = new_admin(cutover).wal_replayed(deadline);
  const WalEnd end = old_admin(cutover).wal_end(deadline);
  const auto behind = replayed ? std::max<std::int64_t>(0, distance(*replayed, end.flush)) : -1;
  return {Seen::not_done, fmt::format("proves that the replica has replayed everything ({} now)",
                                      behind < 0 ? "nothing replayed" : fmt::format("{} bytes behind", behind))};
}

std::string run_final_verification(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // A fixed point, not a race: the replica has replayed all that the primary had, and then the primary still has no
  // more and has given out no transaction id. Autovacuum and the like may move it a few times before it rests.
  WalEnd end = flush(cutover);
  std::optional<Lsn> replayed;
  const bool equal = waited(cutover, cutover.options.drain_timeout, tick, [&] {
    replayed = new_admin(cutover).wal_replayed(deadline);
    if (replayed)
      cutover.progress.lag().add(cutover.clock.now(), std::max<std::int64_t>(0, distance(*replayed, end.flush)));
    if (!all_flushed(end) || !replayed || *replayed < end.flush) {
      // An order that a dead agent gave may be carried out now: then there is nothing to wait for.
      if (cutover.recovering && !new_admin(cutover).in_recovery(deadline)) {
        throw Error(ErrorCode::proof_failed, "the replica has been promoted meanwhile");
      }
      end = old_admin(cutover).wal_end(deadline);
      return false;
    }
    const WalEnd again = old_admin(cutover).wal_end(deadline);
    const bool rests = again.flush == end.flush && again.insert == end.insert && again.next_xid == end.next_xid;
    end = again;
    return rests && again.idle;
  });
  const std::string reached = replayed ? replayed->to_string() : "nothing";
  if (!equal) {
    throw Error(
        ErrorCode::timeout,
        fmt::format("the replica has not replayed all within {}: required {} (insert {}), reached {}{}",
                    human(cutover.options.drain_timeout), end.flush.to_string(), end.insert.to_string(), reached,
                    end.idle ? "" : "; a transaction is still open on the primary"),
        end.idle
            ? "look at the replica's log and at what it replays"
            : "select * from pg_prepared_xacts; select * from pg_stat_activity where backend_xid is not null on the "
              "primary");
  }
  if (!cutover.replica_accepts.get()) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections any more: nothing was ordered yet");
  }
  if (cutover.fence) require_repulsed(*cutover.fence, *cutover.plan);
  cutover.fenced_end = end;
  return fmt::format("0 bytes behind at {}, a write over a new connection refused", end.flush.to_string());
}

// ---- promote

Look look_promote(Cutover& cutover) {
  const bool promoted = !new_admin(cutover).in_recovery(cutover.options.call_deadline);
  return {promoted ? Seen::done : Seen::not_done, "promotes " + cutover.options.pair.replica.address()};
}

/// How far the old primary had come when it was decided to promote: what a new agent holds both servers against.
nlohmann::json before_promote(Cutover& cutover) {
  const WalEnd& end = cutover.fenced_end.value();
  return {{"fence_lsn", end.flush.to_string()}, {"next_transaction_id", end.next_xid}};
}

std::string run_promote(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  static constexpr std::array nothing_happened{ErrorCode::unreachable, ErrorCode::authentication,
                                               ErrorCode::permission_denied};
  std::string trouble;
  bool told = true;
  try {
    told = new_admin(cutover).promote(deadline);
  } catch (const Error& error) {
    // Never sent, or not allowed: nothing happened. After anything else it may have happened, and may still happen.
    if (std::ranges::find(nothing_happened, error.code()) != nothing_happened.end()) throw;
    trouble = error.what();
  } catch (const std::exception& surprise) {
    trouble = surprise.what();
  }
  if (!told) throw Error(ErrorCode::query_failed, "the replica's postmaster could not be told to promote");
  const auto promoted = [&] {
    try {
      return !new_admin(cutover).in_recovery(deadline);
    } catch (const std::exception& failure) {
      trouble = failure.what();
      return false;
    }
  };
  // No stop token: from here on, only looking helps.
  if (wait_until(cutover.clock, cutover.options.promote_timeout, tick, {}, promoted) != WaitEnd::reached) {
    throw Error(ErrorCode::undecided,
                fmt::format("the replica has not left recovery within {}{}; it may still do so",
                            human(cutover.options.promote_timeout), trouble.empty() ? "" : ": " + trouble));
  }
  return fmt::format("{} has left recovery", cutover.options.pair.replica.address());
}

// ---- validate

Look look_validate(Cutover&) { return {Seen::not_done, "writes a row to the new primary and reads it back"}; }

/// Over the connection from before the fence. A new agent has none, and the gate came over by replication: it opens the
/// gate first, which is right once the promotion is proved.
WriteProbe probe_new_primary(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  Server& server = cutover.servers.replica;
  try {
    return server.application->write_probe(cutover.id, deadline);
  } catch (const Error& error) {
    if (!cutover.recovering || !cutover.plan || error.code() != ErrorCode::unreachable) throw;
    lift_replicated_fence(server, *cutover.plan, deadline);
    return server.application->write_probe(cutover.id, deadline);
  }
}

/// The old primary opens again, behind the other layers of the fence, so that a host list that names it first gets past
/// it: libpq goes on to the next host after a failed read-write test, but not after "not accepting connections". Begun
/// while the new primary is validated: until a client has logged in here and gone on, that one is open as well.
void reopen_old(Cutover& cutover) {
  if (!cutover.plan || cutover.options.demotion != Demotion::read_only || cutover.plan->databases.empty()) return;
  ++cutover.own_writes;
  cutover.old_reopens =
      old_admin(cutover).allow_connections(cutover.plan->databases, true, cutover.options.call_deadline);
}

std::string run_validate(Cutover& cutover) {
  if (cutover.servers.siblings.empty()) reopen_old(cutover);  // else `open` does it, once they follow somebody else
  const Duration deadline = cutover.options.call_deadline;
  const Identity identity = new_admin(cutover).identity(deadline);
  if (identity.system_identifier != cutover.system_identifier) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary's system identifier is {}, expected {}",
                                                     identity.system_identifier, cutover.system_identifier));
  }
  cutover.new_timeline = identity.timeline.value_or(0);
  // Not always the next one: a number whose history file is there already, in the archive for one, is skipped.
  if (cutover.new_timeline <= cutover.old_timeline) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary is on timeline {}, expected is one after {}",
                                                     cutover.new_timeline, cutover.old_timeline));
  }
  const WriteProbe probe = probe_new_primary(cutover);
  if (!probe.accepted) throw Error(ErrorCode::proof_failed, "the new primary refuses a write: " + probe.refusal);
  if (!cutover.servers.replica.application->probe_present(cutover.id, deadline)) {
    throw Error(ErrorCode::proof_failed, "a row written to the new primary is not there");
  }
  return fmt::format("a write committed and reads back, timeline {} -> {}", cutover.old_timeline, cutover.new_timeline);
}

// ---- open

Look look_open(Cutover& cutover) {
  return {Seen::not_done, "lets the application go on with " + cutover.options.pair.replica.address()};
}

std::string run_open(Cutover& cutover) {
  if (cutover.plan) lift_replicated_fence(cutover.servers.replica, *cutover.plan, cutover.options.call_deadline);
  // From here on the new primary is open whatever happens, and everybody else must go on: warnings.
  point_siblings(cutover.servers.siblings, new_admin(cutover), cutover.options.pair.replica,
                 cutover.options.call_deadline);
  if (!cutover.servers.siblings.empty()) reopen_old(cutover);
  cutover.still_paused.clear();
  for (const auto& driver : cutover.traffic) {
    cutover.still_paused += resume(cutover, *driver, &Traffic::resume_on_new);
  }
  cutover.writes_resumed = cutover.clock.now();
  try {
    if (cutover.old_reopens.valid()) cutover.old_reopens.get();
  } catch (const Error& error) {
    cutover.warnings.push_back(fmt::format("the old primary was not reopened for reading: {}", error.what()));
  }
  if (!cutover.writes_stopped) return "resumed";  // stopped by an agent that died since
  return fmt::format("writes were stopped for {}", human(*cutover.writes_resumed - *cutover.writes_stopped));
}

// ---- demote_old

Look look_demote_old(Cutover& cutover) {
  return {Seen::not_done,
          fmt::format("{}: {}", to_string(cutover.options.demotion), strength_of(cutover.options.demotion))};
}

/// The forms of demotion that SQL alone cannot do.
std::string demote_host(Cutover& cutover) {
  const Rejoin rejoin{cutover.servers.primary,
                      cutover.servers.replica,
                      cutover.node_control,
                      cutover.options,
                      cutover.clock,
                      {},  // promoted: only forward
                      [&cutover](const std::string& what) { cutover.progress.waits(what); }};
  return cutover.options.demotion == Demotion::stop ? stop_old_primary(rejoin) : make_standby(rejoin);
}

/// Clients that wait for the new primary go first, for a moment at most: what is left to do keeps nobody waiting, and
/// logging in is work for the same processors.
void let_clients_in(Cutover& cutover) {
  const std::string application = cutover.options.pair.primary.get("dbname");
  const int ended = cutover.fence ? cutover.fence->sessions_ended : 1;
  const auto all_are_in = [&] {
    const auto sessions = new_admin(cutover).client_sessions(std::nullopt, {}, cutover.options.call_deadline);
    return std::ranges::count(sessions, application, &ClientSession::database) >= ended;
  };
  wait_until(cutover.clock, std::chrono::milliseconds(100), std::chrono::milliseconds(10), {}, all_are_in);
}

/// Whether an agent that died since had come that far.
bool demoted_already(Cutover& cutover) {
  if (!needs_node_control(cutover.options.demotion)) return false;
  const Duration deadline = cutover.options.call_deadline;
  return !old_admin(cutover).accepts_connections(deadline).get() || old_admin(cutover).in_recovery(deadline);
}

/// What the old primary has written since it was fenced. Only the agent may have.
std::string transactions_since_fence(Cutover& cutover) {
  if (!cutover.fenced_end) return {};
  const std::uint64_t used =
      old_admin(cutover).wal_end(cutover.options.call_deadline).next_xid - cutover.fenced_end->next_xid;
  // An agent that died may have reopened it.
  const std::uint64_t own = cutover.own_writes + (cutover.recovering ? 1 : 0);
  if (used > own) {
    cutover.warnings.push_back(fmt::format(
        "the old primary has given out {} transaction ids since the fence, and the agent used {}: autovacuum, "
        "or a client that overrode the read-only default and whose writes are not on the new primary",
        used, own));
  }
  return fmt::format(", {} transaction ids since the fence, the agent's own", used);
}

std::string demote_in_place(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // What is about to be stopped stays shut: nobody gets in for a moment.
  const bool closed = cutover.options.demotion != Demotion::read_only;
  FencePlan plan = *cutover.plan;
  const FenceView view = old_admin(cutover).fence_view(deadline);
  if (view.overrides != fenced_overrides()) {
    throw Error(ErrorCode::proof_failed, "default_transaction_read_only is no longer on at the old primary",
                "alter system set default_transaction_read_only = on; select pg_reload_conf() on the old primary");
  }
  const bool as_wanted = std::ranges::all_of(view.databases, [&](const Database& database) {
    return std::ranges::find(plan.databases, database.name) == plan.databases.end() || database.open != closed;
  });
  if (!as_wanted) {
    old_admin(cutover).allow_connections(plan.databases, !closed, deadline).get();
    ++cutover.own_writes;
  }
  if (!closed) plan.form = FenceForm::read_only;
  attack_fence(cutover.servers.primary, plan, cutover.id, deadline);
  return "a write was refused" + transactions_since_fence(cutover);
}

std::string run_demote_old(Cutover& cutover) {
  if (!cutover.plan) throw Error(ErrorCode::unfinished, "what was fenced is not known: the journal has no fence");
  let_clients_in(cutover);
  restore_wal_init_zero(cutover);
  for (std::string& problem :
       redirect_siblings(cutover.servers.siblings, new_admin(cutover), cutover.options.pair.replica, cutover.clock,
                         cutover.options.call_deadline)) {
    cutover.warnings.push_back(std::move(problem));
  }
  if (demoted_already(cutover)) return demote_host(cutover);
  const std::string evidence = demote_in_place(cutover);
  return needs_node_control(cutover.options.demotion) ? evidence + "; " + demote_host(cutover) : evidence;
}

constexpr std::array table{
    Step{"preflight", "every prerequisite is checked, nothing is changed", false, false, true, look_preflight, nullptr,
         run_preflight, nullptr},
    Step{"wait_sync", "the exporter must have seen the pair in sync several times in a row", false, false, true,
         look_wait_sync, nullptr, run_wait_sync, nullptr},
    Step{"prepare", "what can be done before writes are stopped is done now", false, false, false, look_prepare,
         nullptr, run_prepare, nullptr},
    Step{"align_wal", "the promotion need not copy a WAL segment", true, false, false, look_align_wal, before_align_wal,
         run_align_wal, undo_align_wal},
    Step{"arm_fence", "what the fence has to write to disk is written while nobody waits", true, false, false,
         look_arm_fence, before_arm_fence, run_arm_fence, undo_arm_fence},
    Step{"stop_traffic", "the application stops writing by itself", true, false, false, look_stop_traffic, nullptr,
         run_stop_traffic, undo_stop_traffic},
    Step{"fence", "nobody else writes to the old primary either", true, false, false, look_fence, nullptr, run_fence,
         undo_fence},
    Step{"final_verification", "every byte has arrived and is replayed", false, false, false, look_final_verification,
         nullptr, run_final_verification, nullptr},
    Step{"promote", "the point of no return", true, true, false, look_promote, before_promote, run_promote, nullptr},
    Step{"validate", "the new primary proves itself by writing", true, false, false, look_validate, nullptr,
         run_validate, nullptr},
    Step{"open", "the application goes on with the new primary", true, false, false, look_open, nullptr, run_open,
         nullptr},
    Step{"demote_old", "the old primary is proved to refuse writes", true, false, false, look_demote_old, nullptr,
         run_demote_old, nullptr},
};

}  // namespace

std::span<const Step> steps() { return table; }

void recall(Cutover& cutover, std::string_view step, const nlohmann::json& before) {
  if (step == "align_wal" && !before.is_null()) {
    const nlohmann::json& value = before.at("wal_init_zero");
    cutover.wal_init_zero_before.emplace(value.is_null() ? std::nullopt : std::optional(value.get<std::string>()));
  }
  if (step == "arm_fence") cutover.plan = FencePlan::from_json(before);
  if (step == "promote") {
    const Lsn lsn = Lsn::parse(before.at("fence_lsn").get<std::string>());
    cutover.fenced_end = WalEnd{lsn, lsn, before.at("next_transaction_id"), true};
  }
}

}  // namespace pgrm::agent
