// What becomes of the old primary: demote_old.
#include "agent/engine/acts.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/demote/rejoin.h"
#include "agent/engine/alignment.h"

namespace pgrm::agent {

// ---- demote_old

std::string look_demote_old(Cutover& cutover) {
  return fmt::format("{}: {}", to_string(cutover.options.demotion), strength_of(cutover.options.demotion));
}

/// The forms of demotion that SQL alone cannot do.
static std::string demote_host(Cutover& cutover) {
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
static void let_clients_in(Cutover& cutover) {
  const std::string application = cutover.options.pair.primary.get("dbname");
  const int ended = cutover.fence ? cutover.fence->sessions_ended : 1;
  const auto all_are_in = [&] {
    const auto sessions = new_admin(cutover).client_sessions(std::nullopt, {}, cutover.options.call_deadline);
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

/// What the old primary has written since it was fenced. Only the agent may have.
static std::string transactions_since_fence(Cutover& cutover) {
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

static std::string demote_in_place(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  // What is about to be stopped stays shut: nobody gets in for a moment.
  const bool closed = cutover.options.demotion != Demotion::read_only;
  FencePlan plan = *cutover.plan;
  const FenceView view = old_admin(cutover).fence_view(deadline);
  if (view.overrides != cutover.plan->settings()) {
    throw Error(ErrorCode::proof_failed, "default_transaction_read_only is no longer on at the old primary",
                "agent recover raises it again");
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

}  // namespace pgrm::agent
