#include "agent/steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "agent/cutover.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

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
  const Facts facts = gather_facts(cutover.servers, cutover.exporter, cutover.traffic, cutover.options, cutover.clock);
  cutover.findings = judge(facts);
  cutover.progress.checked(cutover.findings);
  std::vector<std::string_view> refusing, warning;
  for (const Finding& finding : cutover.findings) {
    if (refuses(finding.verdict.level)) refusing.push_back(finding.check->name);
    if (finding.verdict.level == Level::warn) warning.push_back(finding.check->name);
  }
  if (!refusing.empty()) {
    throw Error(ErrorCode::preflight_refused, fmt::format("{} of {} checks refuse the cutover: {}", refusing.size(),
                                                          cutover.findings.size(), fmt::join(refusing, ", ")));
  }
  cutover.system_identifier = facts.sample.primary.state->system_identifier;
  cutover.old_timeline = facts.sample.primary.state->timeline.value();
  return fmt::format(
      "{} checks passed{}", cutover.findings.size() - warning.size(),
      warning.empty() ? "" : fmt::format(", {} with a warning: {}", warning.size(), fmt::join(warning, ", ")));
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
  cutover.progress.waits("checkpoint on the primary");
  old_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  cutover.progress.waits("restartpoint on the replica");
  new_admin(cutover).checkpoint(cutover.options.checkpoint_deadline);
  // Every connection and statement of the critical path is used once, so that nothing has to be opened or planned
  // there.
  const Duration deadline = cutover.options.call_deadline;
  old_admin(cutover).wal_end(deadline);
  old_admin(cutover).client_sessions(std::nullopt, deadline);
  new_admin(cutover).wal_replayed(deadline);
  new_admin(cutover).in_recovery(deadline);
  for (Server* const server : {&cutover.servers.primary, &cutover.servers.replica}) {
    server->application->probe_present(cutover.id, deadline);
  }
  cutover.prediction = try_predict(cutover);
  return fmt::format("checkpoints written, connections open{}",
                     cutover.prediction ? ", a write gap of " + human(cutover.prediction->total()) + " predicted" : "");
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

void undo_stop_traffic(Cutover& cutover, const nlohmann::json&) {
  std::string problems;
  for (auto driver = cutover.traffic.rbegin(); driver != cutover.traffic.rend(); ++driver) {
    try {
      (*driver)->resume_on_old(cutover.options.drain_timeout);
    } catch (const Error& error) {  // the others must go on all the same
      problems += fmt::format("{}: {}; ", (*driver)->name(), error.what());
    }
  }
  cutover.writes_resumed = cutover.clock.now();
  // The database is open again, which is what decides the outcome; that a driver did not hear of it is a warning.
  if (!problems.empty()) cutover.warnings.push_back("traffic was not resumed: " + problems);
}

// ---- fence

Look look_fence(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  const auto override = old_admin(cutover).read_only_override(deadline);
  const auto sessions = old_admin(cutover).client_sessions(std::nullopt, deadline);
  return {override == "on" ? Seen::done : Seen::not_done,
          fmt::format("sets default_transaction_read_only and ends {} client sessions on {}", sessions.size(),
                      cutover.options.pair.primary.address())};
}

nlohmann::json before_step_fence(Cutover& cutover) {
  return before_fence(old_admin(cutover), cutover.options.call_deadline);
}

std::string run_fence(Cutover& cutover) {
  cutover.fence = raise_fence(old_admin(cutover), cutover.clock, cutover.options.drain_timeout);
  const auto exceptions = old_admin(cutover).read_only_exceptions(cutover.options.call_deadline);
  if (!exceptions.empty()) {
    throw Error(ErrorCode::proof_failed, fmt::format("the fence does not hold for {}", fmt::join(exceptions, ", ")));
  }
  attack_fence(*cutover.servers.primary.application, cutover.id, cutover.options.call_deadline);
  for (const auto& driver : cutover.traffic) driver->after_fence(cutover.options.drain_timeout);
  return fmt::format("read-only, {} sessions ended, a write was refused", cutover.fence->sessions_ended);
}

void undo_fence(Cutover& cutover, const nlohmann::json& before) {
  lift_fence(old_admin(cutover), *cutover.servers.primary.application, before, cutover.id,
             cutover.options.call_deadline);
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

/// The insert position runs ahead of the flush position by the header of a page that nothing has been written to yet
/// (XLogBytePosToRecPtr); any other difference is WAL that is not on disk and so not sent either.
bool all_flushed(const WalEnd& end) {
  constexpr std::uint64_t page = 8192;
  constexpr std::int64_t longest_header = 40;
  const std::int64_t ahead = distance(end.flush, end.insert);
  return ahead == 0 || (end.flush.bytes() % page == 0 && ahead > 0 && ahead <= longest_header);
}

std::string run_final_verification(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // A fixed point, not a race: the replica has replayed all that the primary had, and then the primary still has no
  // more and has given out no transaction id. Autovacuum and the like may move it a few times before it rests.
  WalEnd end = old_admin(cutover).wal_end(deadline);
  if (!all_flushed(end)) {
    old_admin(cutover).flush_wal(deadline);
    end = old_admin(cutover).wal_end(deadline);
  }
  std::optional<Lsn> replayed;
  const bool equal = waited(cutover, cutover.options.drain_timeout, tick, [&] {
    replayed = new_admin(cutover).wal_replayed(deadline);
    if (replayed)
      cutover.progress.lag().add(cutover.clock.now(), std::max<std::int64_t>(0, distance(*replayed, end.flush)));
    if (!all_flushed(end) || !replayed || *replayed < end.flush) {
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
  if (!new_admin(cutover).accepts_connections(deadline)) {
    throw Error(ErrorCode::unreachable, "the replica does not accept connections any more: nothing was ordered yet");
  }
  cutover.fenced_end = end;
  return fmt::format("0 bytes behind at {}, next transaction id {}", end.flush.to_string(), end.next_xid);
}

// ---- promote

Look look_promote(Cutover& cutover) {
  const bool promoted = !new_admin(cutover).in_recovery(cutover.options.call_deadline);
  return {promoted ? Seen::done : Seen::not_done, "promotes " + cutover.options.pair.replica.address()};
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

std::string run_validate(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  Node& application = *cutover.servers.replica.application;
  const WriteProbe probe = application.write_probe(cutover.id, deadline);
  if (!probe.accepted) throw Error(ErrorCode::proof_failed, "the new primary refuses a write: " + probe.refusal);
  if (!application.probe_present(cutover.id, deadline)) {
    throw Error(ErrorCode::proof_failed, "a row written to the new primary is not there");
  }
  const ServerState state = new_admin(cutover).observe(deadline);
  if (state.system_identifier != cutover.system_identifier) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary's system identifier is {}, expected {}",
                                                     state.system_identifier, cutover.system_identifier));
  }
  cutover.new_timeline = state.timeline.value_or(0);
  if (cutover.new_timeline != cutover.old_timeline + 1) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary is on timeline {}, expected {}",
                                                     cutover.new_timeline, cutover.old_timeline + 1));
  }
  return fmt::format("a write committed and reads back, timeline {} -> {}", cutover.old_timeline, cutover.new_timeline);
}

// ---- open

Look look_open(Cutover& cutover) {
  return {Seen::not_done, "lets the application go on with " + cutover.options.pair.replica.address()};
}

std::string run_open(Cutover& cutover) {
  for (const auto& driver : cutover.traffic) {
    // The new primary is open whatever a driver says, and the other drivers must go on: a warning.
    try {
      driver->resume_on_new(cutover.options.drain_timeout);
    } catch (const Error& error) {
      cutover.warnings.push_back(fmt::format("{} was not resumed: {}", driver->name(), error.what()));
    }
  }
  cutover.writes_resumed = cutover.clock.now();
  if (!cutover.writes_stopped) return "resumed";  // stopped by an agent that died since
  return fmt::format("writes were stopped for {}", human(*cutover.writes_resumed - *cutover.writes_stopped));
}

// ---- demote_old

Look look_demote_old(Cutover& cutover) {
  return {Seen::not_done, fmt::format("proves that {} stays read-only", cutover.options.pair.primary.address())};
}

std::string run_demote_old(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  if (old_admin(cutover).read_only_override(deadline) != "on") {
    throw Error(ErrorCode::proof_failed, "default_transaction_read_only is no longer on at the old primary",
                "alter system set default_transaction_read_only = on; select pg_reload_conf() on the old primary");
  }
  attack_fence(*cutover.servers.primary.application, cutover.id, deadline);
  const WalEnd end = old_admin(cutover).wal_end(deadline);
  if (!cutover.fenced_end) return "a write was refused";  // fenced by an agent that died since
  const std::uint64_t used = end.next_xid - cutover.fenced_end->next_xid;
  if (used != 0) {
    cutover.warnings.push_back(
        fmt::format("the old primary has given out {} transaction ids since the fence: autovacuum, or a client that "
                    "overrode the read-only default and whose writes are not on the new primary",
                    used));
  }
  return fmt::format("a write was refused, {} transaction ids since the fence", used);
}

constexpr std::array table{
    Step{"preflight", "every prerequisite is checked, nothing is changed", false, false, true, look_preflight, nullptr,
         run_preflight, nullptr},
    Step{"wait_sync", "the exporter must have seen the pair in sync several times in a row", false, false, true,
         look_wait_sync, nullptr, run_wait_sync, nullptr},
    Step{"prepare", "what can be done before writes are stopped is done now", false, false, false, look_prepare,
         nullptr, run_prepare, nullptr},
    Step{"stop_traffic", "the application stops writing by itself", true, false, false, look_stop_traffic, nullptr,
         run_stop_traffic, undo_stop_traffic},
    Step{"fence", "nobody else writes to the old primary either", true, false, false, look_fence, before_step_fence,
         run_fence, undo_fence},
    Step{"final_verification", "every byte has arrived and is replayed", false, false, false, look_final_verification,
         nullptr, run_final_verification, nullptr},
    Step{"promote", "the point of no return", true, true, false, look_promote, nullptr, run_promote, nullptr},
    Step{"validate", "the new primary proves itself by writing", true, false, false, look_validate, nullptr,
         run_validate, nullptr},
    Step{"open", "the application goes on with the new primary", true, false, false, look_open, nullptr, run_open,
         nullptr},
    Step{"demote_old", "the old primary is proved to refuse writes", false, false, false, look_demote_old, nullptr,
         run_demote_old, nullptr},
};
static_assert(well_formed(table));

}  // namespace

std::span<const Step> steps() { return table; }

}  // namespace pgrm::agent
