// Which servers these are, and that nobody else acts on them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "agent/checks/groups.h"
#include "agent/checks/ha_manager.h"
#include "agent/checks/judging.h"

namespace pgrm::agent {
namespace {

Verdict reachable(const ServerSample& node, const NodeFacts& facts) {
  if (!node.state) {
    if (node.error.find("permission denied for database") != std::string::npos) {
      return fail(node.error, "grant connect on that database to the agent's role, or name another: --maintenance-db");
    }
    if (node.error.find("database") != std::string::npos && node.error.find("does not exist") != std::string::npos) {
      return fail(node.error, "name a database that exists and belongs to no application: --maintenance-db");
    }
    return fail(node.error, "start the server, or correct host, port and credentials; then: agent preflight");
  }
  if (!facts.facts)
    return fail(facts.error, "the agent's role must log in and read the catalogs: postgresql/roles.sql");
  return pass("as " + facts.who);
}

Verdict primary_reachable(const Facts& facts) { return reachable(facts.sample.primary, facts.primary); }

Verdict replica_reachable(const Facts& facts) { return reachable(facts.sample.replica, facts.replica); }

Verdict versions(const Facts& facts) {
  const int ours = primary_state(facts).version;
  const int theirs = replica_state(facts).version;
  const std::string observed = fmt::format("primary {}, replica {}", setting_of(facts.primary, "server_version"),
                                           setting_of(facts.replica, "server_version"));
  if (std::min(ours, theirs) < 130000) return fail(observed + ", required: 13 or newer", "upgrade first");
  if (ours / 10000 != theirs / 10000) {
    return fail(observed + ", required: the same major version", "physical replication needs it");
  }
  return pass(observed);
}

Verdict two_servers(const Facts& facts) {
  if (one_server(primary_state(facts), replica_state(facts))) {
    return fail(fmt::format("{} and {} are one server", facts.sample.primary.address, facts.sample.replica.address),
                "correct PRIMARY_* or REPLICA_*");
  }
  return pass("two servers");
}

Verdict roles(const Facts& facts) {
  const std::string& ours = facts.sample.primary.address;
  const std::string& theirs = facts.sample.replica.address;
  if (one_server(primary_state(facts), replica_state(facts))) return unknown("both names lead to one server");
  const bool old_primary = !primary_state(facts).in_recovery;
  const bool new_primary = !replica_state(facts).in_recovery;
  if (old_primary && !new_primary) return pass("primary takes writes, replica is in recovery");
  if (!old_primary && !new_primary) {
    return fail(fmt::format("{} and {} are both in recovery: neither is a primary", ours, theirs),
                "agent status shows both; agent recover ends what a cutover has begun");
  }
  if (!old_primary) {
    return fail(fmt::format("{} is a standby, {} is the primary", ours, theirs),
                "agent cutover --switch-back moves the primary role back");
  }
  if (const std::string& fence = facts.primary.fence.in_force; !fence.empty()) {
    return fail(fmt::format("{} is the primary; {} was demoted by the cutover of {}", theirs, ours, fence),
                "agent rejoin makes the demoted server a standby; nothing is to be cut over");
  }
  if (const std::string& fence = facts.replica.fence.in_force; !fence.empty()) {
    return fail(fmt::format("{} is the primary; {} was demoted by the cutover of {}", ours, theirs, fence),
                "first: agent rejoin makes the demoted server a standby");
  }
  return fail(fmt::format("{} and {} are both out of recovery", ours, theirs),
              "stop one of them before anything else: agent status shows which one takes writes");
}

Verdict cutover_under_way(const Facts& facts) {
  if (!replica_state(facts).in_recovery) return unknown("see the check roles");
  if (facts.primary.markers.empty()) return pass("no cutover is under way");
  return fail(fmt::format("cutover {} has not come to its end", fmt::join(facts.primary.markers, "; ")),
              "agent recover there; if that host is lost: agent recover --abort here");
}

/// What an earlier cutover has left must not be mistaken for somebody's settings.
Verdict fence_left(const Facts& facts) {
  for (const auto& [node, sample] : both_servers(facts)) {
    if (!node.fence.any()) continue;
    return fail(fmt::format("{} carries the fence {}{}", sample.address, node.fence.whose(),
                            node.fence.in_force.empty() ? ", which takes effect with its next reload" : ""),
                replica_state(facts).in_recovery ? "agent recover, where that cutover has its STATE_DIR"
                                                 : "see the check roles: the other server is the primary");
  }
  if (!has_right(facts.primary, "pg_file_settings")) {
    return warn(
        "no fence is in force; whether one stands in the configuration cannot be seen",
        "grant select on pg_file_settings and execute on pg_show_all_file_settings() to the agent's role, in the "
        "database postgres");
  }
  return pass("no cutover has left a fence");
}

Verdict system_identifier(const Facts& facts) {
  const std::string& ours = primary_state(facts).system_identifier;
  const std::string& theirs = replica_state(facts).system_identifier;
  if (ours != theirs) {
    return fail(fmt::format("primary {}, replica {}: not copies of one cluster", ours, theirs),
                "check PRIMARY_HOST and REPLICA_HOST");
  }
  return pass(ours);
}

Verdict timeline(const Facts& facts) {
  const auto ours = primary_state(facts).timeline;
  const auto theirs = replica_state(facts).timeline;
  if (!ours || !theirs) return unknown("the timeline of one of the servers is not known");
  if (*ours != *theirs) {
    return fail(fmt::format("primary on {}, replica on {}", *ours, *theirs),
                "let the replica follow the primary's timeline, or make it anew with pg_basebackup");
  }
  return pass(fmt::format("both on {}", *ours));
}

Verdict streaming(const Facts& facts) {
  const auto& receiver = replica_state(facts).receiver;
  if (!receiver) {
    return fail("the replica has no WAL receiver", "look at primary_conninfo and the replica's log");
  }
  if (receiver->status != "streaming") {
    return fail(fmt::format("the WAL receiver is {}, required: streaming", receiver->status),
                "look at the replica's log");
  }
  const Standby* const standby = paired_standby(facts.sample);
  if (const std::size_t possible = possible_standbys(facts.sample).size(); possible > 1) {
    return fail(fmt::format("{} WAL senders of the primary could be the replica's", possible),
                "give the replica a slot of its own: primary_slot_name");
  }
  if (standby == nullptr) {
    return fail(fmt::format("the replica streams from {}:{}, but this primary has no WAL sender for it",
                            receiver->sender_host, receiver->sender_port),
                "check that the replica follows this very primary");
  }
  if (standby->state != "streaming") {
    return fail(fmt::format("the primary's WAL sender is in {}, required: streaming", standby->state.value_or("?")),
                "wait for the replica to catch up");
  }
  return pass(fmt::format("from {}:{} as {}", receiver->sender_host, receiver->sender_port, standby->name));
}

Verdict exporter_fresh(const Facts& facts) {
  if (!facts.exporter) return fail(facts.exporter_error, "start the exporter, or set EXPORTER_URL");
  const Duration limit = facts.exporter->stale_after;
  if (facts.exporter->age > limit) {
    return fail(fmt::format("its last observation is {} old, allowed: {}", human(facts.exporter->age), human(limit)),
                "look at the exporter's log");
  }
  return pass(fmt::format("observation {} is {} old", facts.exporter->generation, human(facts.exporter->age)));
}

Verdict exporter_pair(const Facts& facts) {
  const auto& seen = *facts.exporter;
  // Which of the two is the primary does not matter: for a switch-back, the exporter's replica is our primary.
  for (const auto* const server : {&seen.primary, &seen.replica}) {
    if (server->reachable && server->system_identifier != primary_state(facts).system_identifier) {
      return fail(fmt::format("it sees {} of cluster {}, ours is {}", server->address, server->system_identifier,
                              primary_state(facts).system_identifier),
                  "give exporter and agent the same PRIMARY_* and REPLICA_*");
    }
  }
  const std::string both = fmt::format("{} and {}", seen.primary.address, seen.replica.address);
  // Its last look may be from before a server came back, or changed its role. The wait for synchronisation goes on
  // until it has seen the pair as it is.
  for (const auto* const server : {&seen.primary, &seen.replica}) {
    if (!server->reachable) {
      return warn(fmt::format("it does not reach {} yet, of {}", server->address, both), "look at the exporter's log");
    }
  }
  if (seen.primary.in_recovery == seen.replica.in_recovery) {
    return warn(fmt::format("it does not see a primary and a standby yet in {}", both), "look at the exporter's log");
  }
  return pass(both);
}

Verdict clocks(const Facts& facts) {
  // The two were not asked at the same moment: what lies between is no difference of clocks.
  const double apart = std::abs(to_unix(primary_state(facts).server_time) - to_unix(replica_state(facts).server_time)) -
                       to_seconds(facts.sample.took);
  const std::string observed = fmt::format("{:.3f} s apart, allowed: 2 s", std::max(apart, 0.0));
  if (apart > 2) return fail(observed, "synchronise the clocks (chrony, systemd-timesyncd)");
  return pass(observed);
}

Verdict single_agent(const Facts& facts) {
  if (!facts.lock_error.empty()) return unknown("the advisory lock could not be asked for: " + facts.lock_error);
  if (!facts.lock_held) {
    return fail(
        fmt::format("{} holds the advisory lock on the primary",
                    facts.lock_holder.empty() ? "another agent" : facts.lock_holder),
        "wait for it, or look for it: select * from pg_stat_activity where application_name like 'pgrm-agent%'");
  }
  return pass("the advisory lock on the primary is ours");
}

Verdict databases_seen(const Facts& facts) {
  std::vector<std::string> unseen = facts.primary.unseen_databases;
  for (const std::string& database : facts.replica.unseen_databases) {
    if (std::ranges::find(unseen, database) == unseen.end()) unseen.push_back(database);
  }
  const std::size_t seen = facts.primary.other_databases.size() + (facts.primary.database ? 1 : 0);
  if (unseen.empty()) return pass(fmt::format("looked into {}", seen));
  return warn(fmt::format("not looked into: {}", fmt::join(unseen, "; ")),
              "unlogged tables, extensions, collations and invalid indexes of these are not known: grant connect on "
              "them to the agent's role");
}

constexpr std::array table{
    Check{"identity", "primary_reachable", "the old primary answers the agent's role", nothing, primary_reachable},
    Check{"identity", "replica_reachable", "the future primary answers the agent's role", nothing, replica_reachable},
    Check{"identity", "two_servers", "both names must not lead to one server", both, two_servers},
    Check{"identity", "roles", "there is one primary and one standby, and each is where it is expected", both, roles},
    Check{"identity", "versions", "physical replication stays within one major version, 13 or newer", both, versions},
    Check{"identity", "system_identifier", "both are copies of the same cluster", both, system_identifier},
    Check{"identity", "timeline", "the standby is on the primary's timeline", both, timeline},
    Check{"identity", "streaming", "the standby receives WAL from this very primary", both, streaming},
    Check{"identity", "fence_left", "an earlier cutover must have come to its end", both, fence_left},
    Check{"identity", "exporter_fresh", "the exporter has seen both servers just now", nothing, exporter_fresh},
    Check{"identity", "exporter_pair", "the exporter watches the same two servers", both | exporter, exporter_pair},
    Check{"identity", "clocks", "times of both servers can be compared", both, clocks},
    Check{"identity", "single_agent", "no second cutover runs", primary, single_agent},
    Check{"identity", "cutover_under_way", "an agent on another host may have died in the middle of one", both,
          cutover_under_way},
    Check{"identity", "ha_manager", "another program that moves primaries would undo the cutover", both, ha_manager},
    Check{"identity", "databases_seen", "a check says nothing about a database that the agent cannot look into", both,
          databases_seen},
};

}  // namespace

std::span<const Check> identity_checks() { return table; }

}  // namespace pgrm::agent
