// The new primary: promote, validate, open.
#include "agent/engine/acts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/demote/rejoin.h"

namespace pgrm::agent {

// ---- promote

std::string preview_promote(Cutover& cutover) {
  const bool promoted = !new_admin(cutover).in_recovery(cutover.options.call_deadline);
  return (promoted ? "has promoted " : "promotes ") + cutover.options.pair.new_primary.address();
}

/// How far the old primary had come when it was decided to promote: what a new agent holds both servers against.
nlohmann::json before_promote(Cutover& cutover) {
  const WalEnd& end = cutover.fenced_end.value();
  return {{"fence_lsn", end.flush.to_string()}, {"next_transaction_id", end.next_xid}};
}

void recall_promote(Cutover& cutover, const nlohmann::json& before) {
  const Lsn lsn = Lsn::parse(before.at("fence_lsn").get<std::string>());
  cutover.fenced_end = WalEnd{lsn, lsn, before.at("next_transaction_id"), true};
}

/// Somebody may have taken the fence away since it was proved, by an ALTER SYSTEM of their own for one: then it is
/// raised again. An old primary that cannot be seen has it on its disk. Throws Error when it does not hold.
static void keep_old_fenced(Cutover& cutover) {
  if (!cutover.plan) return;
  const auto holds = [&] {
    const Duration deadline = cutover.options.call_deadline;
    return old_admin(cutover).fence_view(deadline).overrides == cutover.plan->settings() ||
           old_admin(cutover).in_recovery(deadline);  // it is a standby already
  };
  const auto held = seen_anew(old_admin(cutover), holds);
  if (held.value_or(true)) return;
  cutover.warnings.emplace_back("somebody has changed the settings of the fence: it was raised again");
  raise_fence_again(cutover);
}

/// While the replica promotes itself, which takes longer: so that nobody waits for it.
static void look_at_fence_once(Cutover& cutover) {
  if (cutover.fence_looked_at) return;
  cutover.fence_looked_at = true;
  try {
    keep_old_fenced(cutover);
  } catch (const std::exception& failure) {
    cutover.warnings.push_back(fmt::format("the fence does not hold: {}", failure.what()));
    cutover.fence_looked_at = false;  // the validation insists on it
  }
}

/// The proof must be of now when the order to promote is given: writing the record of the order may have taken longer.
/// Then lock and fence are proved again.
static void require_fresh_proof(Cutover& cutover) {
  constexpr Duration fresh = std::chrono::milliseconds(100);
  if (!cutover.proved_at || cutover.clock.now() - *cutover.proved_at <= fresh) return;
  left_of_pause(cutover);
  const Duration deadline = call_deadline(cutover);
  prove_lock(cutover).get();
  prove_layers(cutover.servers.old_primary, *cutover.plan, cutover.id, deadline);
  const std::uint64_t next = old_admin(cutover).wal_end(deadline).next_xid;
  if (next == cutover.fenced_end->next_xid) return;
  throw Error(
      ErrorCode::timeout,
      "writing the journal took too long, and the old primary has given out a transaction id since the last proof",
      "look at the disk of STATE_DIR");
}

std::string run_promote(Cutover& cutover) {
  require_fresh_proof(cutover);
  const Duration deadline = cutover.options.call_deadline;
  static constexpr std::array nothing_happened{ErrorCode::unreachable, ErrorCode::authentication,
                                               ErrorCode::permission_denied, ErrorCode::file_failed};
  std::string trouble;
  bool told = true;
  try {
    told = new_admin(cutover).promote(deadline);
  } catch (const Error& error) {
    // Never sent, or refused: nothing happened. After anything else it may have happened, and may still happen.
    if (std::ranges::find(nothing_happened, error.code()) != nothing_happened.end()) throw;
    trouble = error.what();
  } catch (const std::exception& surprise) {
    trouble = surprise.what();
  }
  if (!told) throw Error(ErrorCode::query_failed, "the replica's postmaster could not be told to promote");
  cutover.fence_looked_at = false;
  const auto promoted = [&] {
    // The order was given: no exception may be taken for one from before it.
    try {
      auto asked = std::async(new_admin(cutover).beside(), [&] { return new_admin(cutover).identity(deadline); });
      look_at_fence_once(cutover);
      const Identity now = asked.get();
      if (!now.in_recovery) cutover.promoted_as = now;
      return !now.in_recovery;
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
  return fmt::format("{} has left recovery", cutover.options.pair.new_primary.address());
}

// ---- validate

std::string preview_validate(Cutover& /*cutover*/) { return "writes a row to the new primary and reads it back"; }

/// Over the connection from before the fence. A new agent has none, and the gate came over by replication: it opens the
/// gate first, which is right once the promotion is proved.
static WriteProbe probe_new_primary(Cutover& cutover) {
  const Duration deadline = cutover.options.call_deadline;
  Server& server = cutover.servers.new_primary;
  try {
    return server.application->write_and_read(cutover.id, deadline);
  } catch (const Error& error) {
    if (!cutover.recovering || !cutover.plan || error.code() != ErrorCode::unreachable) throw;
    lift_replicated_fence(server, *cutover.plan, deadline);
    return server.application->write_and_read(cutover.id, deadline);
  }
}

/// Begun while the new primary is validated: until a client has logged in here and gone on, that one is open as well.
void reopen_old(Cutover& cutover) {
  if (!cutover.plan || cutover.options.demotion == Demotion::closed || cutover.plan->databases.empty()) return;
  if (cutover.situation && cutover.situation->old_primary.in_recovery) return;  // it is a standby already
  ++cutover.own_writes;
  cutover.old_reopens =
      old_admin(cutover).allow_connections(cutover.plan->databases, true, cutover.options.call_deadline);
}

std::string run_validate(Cutover& cutover) {
  if (!cutover.fence_looked_at) keep_old_fenced(cutover);
  if (cutover.servers.siblings.empty()) reopen_old(cutover);  // else `open` does it, once they follow somebody else
  const Duration deadline = cutover.options.call_deadline;
  // An agent that has promoted it itself has just seen it.
  const Identity identity = cutover.promoted_as ? *cutover.promoted_as : new_admin(cutover).identity(deadline);
  if (identity.system_identifier != cutover.system_identifier) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary's system identifier is {}, expected {}",
                                                     identity.system_identifier, cutover.system_identifier));
  }
  cutover.new_timeline = identity.timeline.value_or(0);
  // Not always the next one: a number whose history file is there already, in the archive for one, is skipped.
  if (cutover.new_timeline <= cutover.old_timeline) {
    throw Error(ErrorCode::proof_failed, fmt::format("the new primary is on timeline {}, expected: one after {}",
                                                     cutover.new_timeline, cutover.old_timeline));
  }
  const WriteProbe probe = probe_new_primary(cutover);
  if (!probe.accepted) throw Error(ErrorCode::proof_failed, "the new primary refuses a write: " + probe.refusal);
  if (!probe.reads_back) throw Error(ErrorCode::proof_failed, "a row written to the new primary is not there");
  return fmt::format("a write committed and reads back, timeline {} -> {}", cutover.old_timeline, cutover.new_timeline);
}

// ---- open

std::string preview_open(Cutover& cutover) {
  return "lets the application go on with " + cutover.options.pair.new_primary.address();
}

std::string run_open(Cutover& cutover) {
  if (cutover.plan) lift_replicated_fence(cutover.servers.new_primary, *cutover.plan, cutover.options.call_deadline);
  // From here on the new primary is open whatever happens, and everybody else must go on: warnings.
  point_siblings(cutover.servers.siblings, new_admin(cutover), cutover.options.pair.new_primary,
                 cutover.options.call_deadline);
  if (!cutover.servers.siblings.empty()) reopen_old(cutover);
  cutover.still_paused.clear();
  for (const auto& driver : cutover.traffic) {
    add_trouble(cutover.still_paused,
                resumed(cutover, *driver, [&] { driver->resume_on_new(cutover.options.drain_timeout); }));
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

}  // namespace pgrm::agent
