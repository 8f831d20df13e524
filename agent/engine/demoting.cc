// What becomes of the old primary, and of the sessions there: demote_old, drain_old.
#include "agent/engine/acts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "agent/demote/rejoin.h"
#include "agent/engine/replica_settings.h"

namespace pgrm::agent {

// ---- demote_old

std::string preview_demote_old(Cutover& cutover) {
  return fmt::format("{}: {}", to_string(cutover.options.demotion), strength_of(cutover.options.demotion));
}

static Rejoin rejoin_of(Cutover& cutover) {
  return {.old_primary = cutover.servers.old_primary,
          .new_primary = cutover.servers.new_primary,
          .control = cutover.node_control,
          .options = cutover.options,
          .clock = cutover.clock,
          .stop = {},  // promoted: only forward
          .waits = [&cutover](const std::string& what) { cutover.progress.waits(what); }};
}

/// The forms of demotion that SQL alone cannot do. `untouched`: see Rejoin::nothing_written.
static std::string demote_host(Cutover& cutover, bool untouched) {
  Rejoin rejoin = rejoin_of(cutover);
  rejoin.nothing_written = untouched;
  return cutover.options.demotion == Demotion::stop ? stop_old_primary(rejoin) : make_standby(rejoin);
}

/// Whether the old primary is shut again before it is stopped. Where what it has written can be listed afterwards, it
/// stays open for reading until then: clients whose host list names it first do not get past a closed server.
static bool is_shut(Cutover& cutover) {
  if (cutover.options.demotion == Demotion::closed) return true;
  return cutover.options.demotion == Demotion::standby &&
         !cutover.node_control.problem(NodeVerb::diverged, cutover.options.call_deadline).empty();
}

/// Clients that wait for the new primary go first, for a moment at most: what is left to do keeps nobody waiting, and
/// logging in is work for the same processors.
static void let_clients_in(Cutover& cutover) {
  const std::string application = cutover.options.pair.old_primary.get("dbname");
  const int ended = cutover.fence ? cutover.fence->sessions_ended : 1;
  const auto all_are_in = [&] {
    const auto sessions = new_admin(cutover).client_sessions(cutover.options.call_deadline);
    return std::ranges::count(sessions, application, &ClientSession::database) >= ended;
  };
  wait_until(cutover.clock, std::chrono::milliseconds(100), std::chrono::milliseconds(10), {}, all_are_in);
}

/// Whether an agent that died since had come that far.
static bool demoted_already(Cutover& cutover) {
  if (!needs_node_control(cutover.options.demotion)) return false;
  const Duration deadline = cutover.options.call_deadline;
  return !old_admin(cutover).accepts_connections(deadline).get() || old_admin(cutover).in_recovery(deadline);
}

/// Transaction ids that the old primary has given out since it was fenced, and how many of them this agent has used.
/// An agent that died may have opened the old primary and closed it again, which uses ids, too.
struct Since {
  std::uint64_t used = 0, own = 0;
  bool only_own() const { return used <= own; }
};

static std::optional<Since> since_fence(Cutover& cutover) {
  if (!cutover.fenced_end) return std::nullopt;
  const WalEnd now = old_admin(cutover).wal_end(cutover.options.call_deadline);
  const std::uint64_t then = cutover.fenced_end->next_xid;
  return Since{now.next_xid < then ? 0 : now.next_xid - then, cutover.own_writes};
}

static std::string describe(Cutover& cutover, const Since& since) {
  if (since.only_own()) return fmt::format(", {} transaction ids since the fence, the agent's own", since.used);
  cutover.warnings.push_back(
      fmt::format("the old primary has given out {} transaction ids since the fence, and this agent used {}. The "
                  "others came from {}"
                  "autovacuum, a background worker of an extension, or a client that overrode the read-only default; "
                  "what they wrote is not on the new primary",
                  since.used, since.own, cutover.recovering ? "an agent before it, " : ""));
  return fmt::format(", {} transaction ids since the fence, {} of them the agent's own", since.used, since.own);
}

/// By SQL alone, and proved. Returns the evidence; `untouched`: it is certain that nobody else has written there.
static std::string demote_in_place(Cutover& cutover, bool& untouched) {
  const Duration deadline = cutover.options.call_deadline;
  Server& old = cutover.servers.old_primary;
  const bool shut = is_shut(cutover);
  FencePlan plan = *cutover.plan;
  const FenceView view = old.admin->fence_view(deadline);
  if (view.overrides != plan.settings()) {
    throw Error(ErrorCode::proof_failed, "default_transaction_read_only is no longer on at the old primary",
                "agent recover raises it again");
  }
  const bool as_wanted = std::ranges::all_of(view.databases, [&](const Database& database) {
    return std::ranges::find(plan.databases, database.name) == plan.databases.end() || database.open != shut;
  });
  if (!as_wanted) {
    old.admin->allow_connections(plan.databases, !shut, deadline).get();
    ++cutover.own_writes;
  }
  int ended = 0;
  if (shut) {
    ended = end_gated_sessions(old, plan, cutover.clock, cutover.options.drain_timeout);
  } else {
    plan.form = FenceForm::read_only;
  }
  attack_fence(old, plan, cutover.id, deadline);
  std::string evidence = "a write was refused";
  if (ended > 0) evidence += fmt::format(", {} sessions that had come back were ended", ended);
  if (const auto since = since_fence(cutover)) {
    evidence += describe(cutover, *since);
    untouched = shut && plan.form == FenceForm::closed && since->only_own();
  }
  return evidence;
}

std::string run_demote_old(Cutover& cutover) {
  if (!cutover.plan) throw Error(ErrorCode::unfinished, "what was fenced is not known: the journal has no fence");
  let_clients_in(cutover);
  restore_replica_settings(cutover);
  for (std::string& problem :
       redirect_siblings(cutover.servers.siblings, new_admin(cutover), cutover.options.pair.new_primary, cutover.clock,
                         cutover.options.call_deadline)) {
    cutover.warnings.push_back(std::move(problem));
  }
  bool untouched = false;
  if (demoted_already(cutover)) return demote_host(cutover, untouched);
  const std::string evidence = demote_in_place(cutover, untouched);
  return needs_node_control(cutover.options.demotion) ? evidence + "; " + demote_host(cutover, untouched) : evidence;
}

// ---- drain_old

/// A driver whose session was ended is back by then, and one that only looks whether it may write has gone on.
constexpr Duration drain_interval = std::chrono::milliseconds(500);

std::string preview_drain_old(Cutover& cutover) {
  if (needs_node_control(cutover.options.demotion)) return "nobody can write to a server that is stopped or a standby";
  if (cutover.options.drain_old == Duration::zero()) return "names the sessions that have come back to the old primary";
  return fmt::format("ends for {} the sessions that come back to the old primary, and names those that are left",
                     human(cutover.options.drain_old));
}

/// Returns how many sessions were ended.
static std::size_t drain(Cutover& cutover) {
  std::set<int> ended;
  const auto end_them = [&] {
    for (const Writer& writer : old_admin(cutover).end_writers(cutover.options.call_deadline)) ended.insert(writer.pid);
    cutover.progress.waits(fmt::format("{} sessions that had come back to the old primary were ended", ended.size()));
    return false;
  };
  // An interrupt only ends the draining: the cutover is done.
  wait_until(cutover.clock, cutover.options.drain_old, drain_interval, cutover.stop, end_them);
  return ended.size();
}

/// Those that are seen twice.
static std::vector<Writer> settled_writers(Cutover& cutover) {
  std::vector<Writer> before, now;
  int looks = 0;
  const auto looked_twice = [&] {
    before = std::exchange(now, old_admin(cutover).writers(cutover.options.call_deadline));
    return ++looks == 3;  // the first look finds those that are about to come
  };
  wait_until(cutover.clock, 3 * drain_interval, drain_interval, {}, looked_twice);
  std::erase_if(
      now, [&](const Writer& writer) { return std::ranges::find(before, writer.pid, &Writer::pid) == before.end(); });
  return now;
}

static std::string names_of(const std::vector<Writer>& writers) {
  std::vector<std::string> names;
  for (const Writer& writer : writers) {
    names.push_back(fmt::format("{} of {} from {} since {}",
                                writer.application_name.empty() ? "a session" : writer.application_name, writer.user,
                                writer.address, to_iso8601(writer.since)));
    if (names.size() == 3) break;
  }
  if (writers.size() > names.size()) names.push_back(fmt::format("{} more", writers.size() - names.size()));
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string run_drain_old(Cutover& cutover) {
  if (needs_node_control(cutover.options.demotion)) return preview_drain_old(cutover);
  const Duration wanted = cutover.options.drain_old;
  try {
    const std::size_t ended = wanted == Duration::zero() ? 0 : drain(cutover);
    cutover.left_behind = settled_writers(cutover);
    cutover.progress.left_behind(cutover.left_behind);
    if (!cutover.left_behind.empty()) {
      cutover.warnings.push_back(
          fmt::format("sessions on the old primary may still try to write there: {}. Restart these clients with both "
                      "servers in their connection string; --drain-old ends what comes back",
                      names_of(cutover.left_behind)));
    }
    const std::string left = cutover.left_behind.empty()
                                 ? "no session that may want to write is on the old primary"
                                 : fmt::format("{} sessions are on the old primary", cutover.left_behind.size());
    return wanted == Duration::zero() ? left : fmt::format("{} sessions ended in {}, {}", ended, human(wanted), left);
  } catch (const Error& error) {  // the new primary is open, and the old one was proved to refuse writes
    cutover.warnings.push_back(fmt::format("what is left on the old primary is not known: {}", error.what()));
    return "the old primary could not be asked";
  }
}

}  // namespace pgrm::agent
