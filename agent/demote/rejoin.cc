#include "agent/demote/rejoin.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <sstream>

#include "agent/fence/fence.h"
#include "core/base/error.h"
#include "core/base/wait.h"

namespace pgrm::agent {
namespace {

constexpr auto poll = std::chrono::milliseconds(100);

void shut_down(const Rejoin& rejoin) {
  rejoin.waits("the old primary is being stopped");
  for (Node* const node : {rejoin.old_primary.admin.get(), rejoin.old_primary.application.get()}) node->disconnect();
  rejoin.control.carry_out(NodeVerb::stop, rejoin.options.node_control_timeout);
  if (rejoin.old_primary.admin->accepts_connections(rejoin.options.call_deadline).get()) {
    throw Error(ErrorCode::proof_failed, "the command stop has ended, and the old primary still accepts connections",
                "stop must return only when the server is down");
  }
}

/// pg_waldump names files, people know relations. Nothing rests on the names.
void name_relations(Server& server, std::vector<std::string>& changes, Duration deadline) {
  std::vector<std::string> files;
  for (const std::string& change : changes) files.push_back(change.substr(0, change.find(' ')));
  try {
    const std::vector<std::string> names = server.application->relation_names(files, deadline);
    for (std::size_t i = 0; i < names.size() && i < changes.size(); ++i) {
      changes[i].replace(0, files[i].size(), names[i]);
    }
  } catch (const Error&) {  // as files, then
  }
}

Error cannot_be_told(const std::string& why, std::string_view state) {
  return {ErrorCode::unfinished,
          fmt::format("whether the old primary has writes that the new one lacks cannot be told: {}; {}", why, state),
          "when they may be thrown away: agent rejoin --discard-diverged"};
}

/// Before anything is done to it. One that cannot be reached is no reason to throw anything away.
void require_commands(const Rejoin& rejoin) {
  for (const NodeVerb verb : {NodeVerb::stop, NodeVerb::rewind, NodeVerb::start}) {
    const std::string problem = rejoin.control.problem(verb, rejoin.options.call_deadline);
    if (problem.empty()) continue;
    throw Error(ErrorCode::unreachable, fmt::format("the old primary cannot be made a standby: {}", problem),
                "nothing was done to it; agent rejoin tries again");
  }
}

/// Before it is stopped.
void require_that_it_can_be_told(const Rejoin& rejoin) {
  if (rejoin.discard_diverged || rejoin.nothing_written) return;
  const std::string problem = rejoin.control.problem(NodeVerb::diverged, rejoin.options.call_deadline);
  if (!problem.empty()) throw cannot_be_told(problem, "nothing was done to it");
}

/// Nothing that somebody was told is committed may be destroyed unseen.
void require_nothing_lost(const Rejoin& rejoin) {
  if (rejoin.discard_diverged) return;
  std::vector<std::string> lost;
  try {
    lost = diverged(rejoin);
  } catch (const Error& error) {
    if (rejoin.nothing_written) return;
    throw cannot_be_told(error.what(), "it is stopped and kept as it is");
  }
  if (lost.empty()) return;
  const std::size_t all = lost.size();
  if (all > 5) lost.resize(5);
  throw Error(ErrorCode::unfinished,
              fmt::format("the old primary has committed what the new one lacks: {}{}; it is stopped and kept as it is",
                          fmt::join(lost, ", "), all > lost.size() ? ", …" : ""),
              "agent diverged lists it; to throw it away: agent rejoin --discard-diverged");
}

/// Empty when `standby` streams from `primary`, on its timeline; otherwise what is missing.
std::string not_following(Node& standby, Node& primary, Duration deadline) {
  const ServerState behind = standby.observe(deadline);
  if (!behind.in_recovery) return "it is not in recovery";
  if (!behind.receiver) return "it has no WAL receiver";
  if (behind.receiver->status != "streaming") return "its WAL receiver is " + behind.receiver->status;
  const ServerState ahead = primary.observe(deadline);
  if (behind.system_identifier != ahead.system_identifier) return "it is of another cluster";
  if (behind.timeline != ahead.timeline) {
    return fmt::format("it is on timeline {}, the new primary on {}", behind.timeline.value_or(0),
                       ahead.timeline.value_or(0));
  }
  const std::string& slot = behind.receiver->slot;
  const bool known = std::ranges::any_of(ahead.standbys, [&slot](const Standby& row) {
    return row.state == "streaming" && (slot.empty() || row.slot == slot);
  });
  return known ? "" : "the new primary has no WAL sender for it";
}

/// The same; a server that cannot be asked does not follow.
std::string why_not_following(Node& standby, Node& primary, Duration deadline) {
  try {
    return not_following(standby, primary, deadline);
  } catch (const Error& error) {
    return error.what();
  }
}

void wait_until_it_follows(const Rejoin& rejoin) {
  Node& standby = *rejoin.old_primary.admin;
  const Duration deadline = rejoin.options.call_deadline;
  std::string missing;
  const auto follows = [&] {
    missing = why_not_following(standby, *rejoin.new_primary.admin, deadline);
    if (!missing.empty()) rejoin.waits("the old primary does not stream yet: " + missing);
    return missing.empty();
  };
  const WaitEnd end = wait_until(rejoin.clock, rejoin.options.follow_timeout, poll, rejoin.stop, follows);
  if (end == WaitEnd::reached) return;
  throw Error(ErrorCode::timeout,
              fmt::format("the old primary does not stream from the new one{}: {}",
                          end == WaitEnd::stopped ? ", interrupted" : " within " + human(rejoin.options.follow_timeout),
                          missing),
              "look at its log; agent rejoin tries again");
}

/// A second primary must never come of it.
void refuse_a_second_primary(const Rejoin& rejoin) {
  Node& old = *rejoin.old_primary.admin;
  bool standby = false;
  try {
    standby = old.in_recovery(rejoin.options.call_deadline);
  } catch (const Error&) {  // it may have another address by now
    standby = old.in_recovery(rejoin.options.call_deadline);
  }
  if (standby) return;
  shut_down(rejoin);
  throw Error(ErrorCode::proof_failed, "the old primary came up as a primary and was stopped again",
              "the command rewind must leave standby.signal in the data directory");
}

/// What the fence has left is not for a standby, which may be the primary again. Returns the slots that were dropped.
std::vector<std::string> tidy_up(const Rejoin& rejoin) {
  Node& standby = *rejoin.old_primary.admin;
  const Duration deadline = rejoin.options.call_deadline;
  // After a rewind the server has the new primary's settings. Only those of a fence are reset, because a person may
  // have made the others.
  const Overrides loaded = standby.fence_view(deadline).overrides;
  const Overrides written = standby.overrides_in_file(deadline).value_or(loaded);
  if (!fence_in(loaded).empty() || !fence_in(written).empty()) standby.override_settings({}, deadline);
  std::vector<std::string> dropped;
  for (const Slot& slot : standby.observe(deadline).slots) {
    // Its own former standbys have gone: nobody advances these any more, and they would keep WAL for ever.
    if (slot.type != "physical" || slot.active) continue;
    standby.drop_slot(slot.name, deadline);
    dropped.push_back(slot.name);
  }
  return dropped;
}

/// Empty, or why it was not told. What it receives from now on comes from `primary_at`. Idempotent.
std::string point_to(Node& sibling, Node& primary, const Conninfo& primary_at, Duration deadline) {
  try {
    const std::string slot = sibling.replication_slot(deadline);
    if (!slot.empty()) primary.create_slot(slot, deadline);
    sibling.follow(primary_at, deadline);
    return {};
  } catch (const Error& error) {
    return fmt::format("{} was not redirected: {}", sibling.describe(), error.what());
  }
}

}  // namespace

std::string stop_old_primary(const Rejoin& rejoin) {
  shut_down(rejoin);
  return "stopped, nobody answers there";
}

std::vector<std::string> diverged(const Rejoin& rejoin) {
  std::vector<std::string> changes;
  std::istringstream printed(rejoin.control.carry_out(NodeVerb::diverged, rejoin.options.node_control_timeout));
  for (std::string line; std::getline(printed, line);) {
    if (!line.empty()) changes.push_back(line);
  }
  name_relations(rejoin.new_primary, changes, rejoin.options.call_deadline);
  return changes;
}

/// From a server that may run to a data directory that is a standby's.
static void rewind(const Rejoin& rejoin) {
  // First of all: libpq does not go past a closed server in its host list, but it goes past a server that is down.
  shut_down(rejoin);
  // pg_rewind reads the new timeline from the control file, where only a checkpoint brings it (before 16).
  rejoin.waits("checkpoint on the new primary");
  rejoin.new_primary.admin->checkpoint(rejoin.options.checkpoint_deadline);
  rejoin.waits("what the old primary has committed is compared with the new one");
  require_nothing_lost(rejoin);
  rejoin.waits("the old primary's data directory is being rewound");
  rejoin.control.carry_out(NodeVerb::rewind, rejoin.options.node_control_timeout);
}

static void try_to_drop(Node& node, const std::string& slot, Duration deadline) {
  try {
    node.drop_slot(slot, deadline);
  } catch (const Error& error) {
    spdlog::warn("the slot {} is still there: {}", slot, error.what());
  }
}

/// Two agents that stop, rewind and start one data directory would ruin it.
static void take_lock(const Rejoin& rejoin) {
  const Duration deadline = rejoin.options.call_deadline;
  Node& fresh = *rejoin.new_primary.admin;
  // A preflight has it for as long as it looks.
  const auto ours = [&] { return fresh.holds_lock(deadline) || fresh.try_lock(deadline); };
  if (wait_until(rejoin.clock, std::chrono::seconds(10), poll, rejoin.stop, ours) != WaitEnd::reached) {
    const std::string holder = fresh.lock_holder(deadline);
    throw Error(ErrorCode::preflight_refused,
                fmt::format("{} holds the advisory lock on the new primary", holder.empty() ? "another agent" : holder),
                "wait until it has ended, then: agent rejoin");
  }
  if (!fresh.in_recovery(deadline)) return;
  throw Error(ErrorCode::preflight_refused, "the new primary is a standby by now",
              "agent status shows both; then: agent rejoin");
}

std::string make_standby(const Rejoin& rejoin) {
  const Duration deadline = rejoin.options.call_deadline;
  Node& fresh = *rejoin.new_primary.admin;
  take_lock(rejoin);
  const bool already = why_not_following(*rejoin.old_primary.admin, fresh, deadline).empty();
  if (!already) {
    require_commands(rejoin);
    require_that_it_can_be_told(rejoin);
    const bool created = fresh.create_slot(rejoin.options.standby_slot, deadline);
    try {
      rewind(rejoin);
    } catch (const Error&) {
      // Nobody is going to advance it, and it would keep WAL for ever.
      if (created) try_to_drop(fresh, rejoin.options.standby_slot, deadline);
      throw;
    }
    rejoin.waits("the old primary is being started as a standby");
    rejoin.control.carry_out(NodeVerb::start, rejoin.options.node_control_timeout);
    refuse_a_second_primary(rejoin);
    wait_until_it_follows(rejoin);
  }
  // One that streams and carries no fence is somebody's standby in good order, with slots that may be in use.
  if (already && fence_in(rejoin.old_primary.admin->fence_view(deadline).overrides).empty()) {
    return "streams already from the new primary";
  }
  const auto dropped = tidy_up(rejoin);
  return fmt::format("{} the new primary{}", already ? "streams already from" : "is a standby, streams from",
                     dropped.empty() ? "" : fmt::format(", orphan slots dropped: {}", fmt::join(dropped, ", ")));
}

void point_siblings(std::vector<std::unique_ptr<Node>>& siblings, Node& primary, const Conninfo& primary_at,
                    Duration deadline) {
  for (const auto& sibling : siblings) point_to(*sibling, primary, primary_at, deadline);
}

std::vector<std::string> redirect_siblings(std::vector<std::unique_ptr<Node>>& siblings, Node& primary,
                                           const Conninfo& primary_at, const Clock& clock, Duration deadline) {
  std::vector<std::string> problems;
  std::vector<Node*> redirected;
  for (const auto& sibling : siblings) {
    if (std::string problem = point_to(*sibling, primary, primary_at, deadline); problem.empty()) {
      redirected.push_back(sibling.get());
    } else {
      problems.push_back(std::move(problem));
    }
  }
  const Mono end = clock.now() + std::chrono::seconds(30);
  for (Node* const sibling : redirected) {
    std::string missing;
    wait_until(clock, end - clock.now(), poll, {}, [&] {
      missing = why_not_following(*sibling, primary, deadline);
      return missing.empty();
    });
    if (!missing.empty()) {
      problems.push_back(
          fmt::format("{} does not follow {}: {}; if it had received more than the new primary, it needs "
                      "pg_rewind or a new copy",
                      sibling->describe(), primary_at.address(), missing));
    }
  }
  return problems;
}

Side find_new_primary(const Sample& sample) {
  const auto& primary = sample.primary.state;
  const auto& replica = sample.replica.state;
  const auto refuse = [](const std::string& what, const std::string& hint) {
    return Error(ErrorCode::preflight_refused, what, hint);
  };
  if (!primary && !replica) throw refuse("neither server can be seen", sample.primary.error);
  if (primary && replica && primary->system_identifier != replica->system_identifier) {
    throw refuse("the two servers are not copies of one cluster", "check PRIMARY_* and REPLICA_*");
  }
  if (primary && replica && one_server(*primary, *replica)) {
    throw refuse("PRIMARY_* and REPLICA_* lead to one server", "correct one of them");
  }
  if (primary && replica && takes_writes(*primary) && takes_writes(*replica)) {
    throw refuse("both servers take writes: rejoining one would lose what it has got",
                 "decide which one is right, and stop the other");
  }
  for (const Side side : both_sides) {
    if (sample[side].state && takes_writes(*sample[side].state)) return side;
  }
  throw refuse("no server is seen to take writes", "agent status shows them, agent recover ends what has begun");
}

}  // namespace pgrm::agent
