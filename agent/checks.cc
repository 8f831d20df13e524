#include "agent/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace pgrm::agent {
namespace {

// REQUIRES of every judge: what its row `needs` is there.
const ServerState& primary_state(const Facts& facts) { return *facts.sample.primary.state; }
const ServerState& replica_state(const Facts& facts) { return *facts.sample.replica.state; }

std::string setting_of(const NodeFacts& node, std::string_view name) {
  const auto found = node.facts->settings.find(name);
  return found == node.facts->settings.end() ? "" : found->second;
}

long number_of(const NodeFacts& node, std::string_view name) {
  const std::string text = setting_of(node, name);
  long value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Verdict reachable(const NodeSample& node, const NodeFacts& facts) {
  if (!node.state) {
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
  if (std::min(ours, theirs) < 130000) return fail(observed + ", required is 13 or newer", "upgrade first");
  if (ours / 10000 != theirs / 10000) {
    return fail(observed + ", required is the same major version", "physical replication needs it");
  }
  return pass(observed);
}

Verdict roles(const Facts& facts) {
  if (primary_state(facts).in_recovery) {
    return fail("the primary is in recovery", "swap --primary and --replica if the pair was cut over before");
  }
  if (!replica_state(facts).in_recovery) {
    return fail("the replica is not in recovery: it takes writes already",
                "swap --primary and --replica if the pair was cut over before");
  }
  return pass("primary takes writes, replica is in recovery");
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
    return fail(fmt::format("the WAL receiver is {}, required is streaming", receiver->status),
                "look at the replica's log");
  }
  const Standby* const standby = paired_standby(facts.sample);
  if (standby == nullptr) {
    return fail(fmt::format("the replica streams from {}:{}, but this primary has no walsender for it",
                            receiver->sender_host, receiver->sender_port),
                "check that the replica follows this very primary");
  }
  if (standby->state != "streaming") {
    return fail(fmt::format("the primary's walsender is in {}, required is streaming", standby->state.value_or("?")),
                "wait for the replica to catch up");
  }
  return pass(fmt::format("from {}:{} as {}", receiver->sender_host, receiver->sender_port, standby->name));
}

Verdict exporter_fresh(const Facts& facts) {
  if (!facts.exporter) return fail(facts.exporter_error, "start the exporter, or set EXPORTER_URL");
  const Duration limit = 2 * facts.exporter->interval;
  if (facts.exporter->age > limit) {
    return fail(fmt::format("its last observation is {} old, allowed are {}", human(facts.exporter->age), human(limit)),
                "look at the exporter's log");
  }
  return pass(fmt::format("observation {} is {} old", facts.exporter->generation, human(facts.exporter->age)));
}

Verdict exporter_pair(const Facts& facts) {
  const auto& ours = primary_state(facts);
  const auto& theirs = replica_state(facts);
  const auto& seen = *facts.exporter;
  if (seen.primary.system_identifier != ours.system_identifier ||
      seen.replica.system_identifier != theirs.system_identifier || seen.primary.in_recovery != ours.in_recovery ||
      seen.replica.in_recovery != theirs.in_recovery) {
    return fail(fmt::format("it sees primary {} ({}) and replica {} ({}), which are not our servers in our roles",
                            seen.primary.address, seen.primary.system_identifier, seen.replica.address,
                            seen.replica.system_identifier),
                "give exporter and agent the same PRIMARY_* and REPLICA_*");
  }
  return pass(fmt::format("{} and {}", seen.primary.address, seen.replica.address));
}

Verdict clocks(const Facts& facts) {
  // The two were not asked at the same moment: what lies between is no difference of clocks.
  const double apart = std::abs(to_unix(primary_state(facts).server_time) - to_unix(replica_state(facts).server_time)) -
                       to_seconds(facts.sample.took);
  const std::string observed = fmt::format("{:.3f} s apart, allowed are 2 s", std::max(apart, 0.0));
  if (apart > 2) return fail(observed, "synchronise the clocks (chrony, systemd-timesyncd)");
  return pass(observed);
}

Verdict single_agent(const Facts& facts) {
  if (!facts.lock_held) {
    return fail(
        "another agent holds the advisory lock on the primary",
        "wait for it, or look for it: select * from pg_stat_activity where application_name like 'pgrm-agent%'");
  }
  return pass("the advisory lock on the primary is ours");
}

Verdict slot(const Facts& facts) {
  const auto& receiver = replica_state(facts).receiver;
  if (!receiver) return unknown("without a WAL receiver the replica's slot is not known");
  if (receiver->slot.empty()) {
    return warn("the replica streams without a slot", "set primary_slot_name, so that the primary keeps WAL for it");
  }
  const auto& slots = primary_state(facts).slots;
  const auto found = std::ranges::find(slots, receiver->slot, &Slot::name);
  if (found == slots.end()) return fail("the primary has no slot " + receiver->slot, "look at the replica's log");
  const std::string status = found->wal_status.value_or("unknown");
  const std::string observed =
      fmt::format("{} is {}, WAL {}", found->name, found->active ? "active" : "inactive", status);
  if (!found->active || found->type != "physical" || (status != "reserved" && status != "extended")) {
    return fail(observed + ", required is a physical, active slot with WAL reserved",
                "select * from pg_replication_slots on the primary");
  }
  return pass(observed);
}

Verdict lag(const Facts& facts) {
  const auto reasons = out_of_sync(facts.sample, facts.thresholds);
  const PairLag lag = pair_lag(facts.sample);
  if (reasons.empty()) return pass(fmt::format("{} bytes to replay", lag.replay_bytes.value_or(0)));
  std::vector<std::string> texts;
  for (const SyncReason& reason : reasons) texts.push_back(reason.text);
  // A warning: wait_sync waits for the pair to be in sync, and is the judge of it.
  return warn(fmt::format("{}", fmt::join(texts, "; ")), "the cutover waits for it, at most SYNC_TIMEOUT seconds");
}

Verdict replay_running(const Facts& facts) {
  if (replica_state(facts).replay_paused.value_or(false)) {
    return fail("replay is paused", "select pg_wal_replay_resume() on the replica");
  }
  return pass("replay runs");
}

Verdict apply_delay(const Facts& facts) {
  const std::string delay = setting_of(facts.replica, "recovery_min_apply_delay");
  if (delay != "0") {
    return fail("recovery_min_apply_delay is " + delay + " ms, required is 0",
                "alter system reset recovery_min_apply_delay; select pg_reload_conf() on the replica");
  }
  return pass("recovery_min_apply_delay is 0");
}

Verdict base_backup(const Facts& facts) {
  if (facts.primary.facts->base_backup_running.value_or(false)) {
    return fail("a base backup runs on the primary", "wait for it: select * from pg_stat_progress_basebackup");
  }
  return pass("none runs");
}

Verdict capacity(const Facts& facts) {
  static constexpr std::array names{"max_connections", "max_worker_processes", "max_wal_senders",
                                    "max_prepared_transactions", "max_locks_per_transaction"};
  std::vector<std::string> smaller;
  for (const char* const name : names) {
    const long old_value = number_of(facts.primary, name);
    const long new_value = number_of(facts.replica, name);
    if (new_value < old_value) smaller.push_back(fmt::format("{} {} < {}", name, new_value, old_value));
  }
  if (!smaller.empty()) {
    return fail(fmt::format("smaller on the replica: {}", fmt::join(smaller, ", ")),
                "raise them on the replica and restart it");
  }
  return pass("nothing smaller on the replica");
}

Verdict not_read_only(const Facts& facts) {
  const bool old_server = primary_state(facts).default_read_only;
  const bool new_server = replica_state(facts).default_read_only;
  if (old_server || new_server) {
    return fail(fmt::format("default_transaction_read_only is on at the {}", old_server && new_server
                                                                                 ? "primary and the replica"
                                                                             : old_server ? "primary"
                                                                                          : "replica"),
                "an earlier cutover may have left it: alter system reset default_transaction_read_only; select "
                "pg_reload_conf()");
  }
  return pass("default_transaction_read_only is off on both");
}

Verdict read_only_exceptions(const Facts& facts) {
  const auto& names = facts.primary.read_only_exceptions;
  if (!names.empty()) {
    return fail(fmt::format("a read-only setting of its own has {}: it beats the fence", fmt::join(names, ", ")),
                "alter role … [in database …] reset default_transaction_read_only, or alter database … reset …");
  }
  return pass("no role and no database has one of its own");
}

Verdict synchronous_standbys(const Facts& facts) {
  const std::string names = setting_of(facts.replica, "synchronous_standby_names");
  if (!names.empty()) {
    return fail(fmt::format("synchronous_standby_names is \"{}\" on the replica: commits would hang there", names),
                "alter system reset synchronous_standby_names; select pg_reload_conf() on the replica");
  }
  return pass("synchronous_standby_names is empty on the replica");
}

Verdict archiving(const Facts& facts) {
  const std::string old_mode = setting_of(facts.primary, "archive_mode");
  const std::string new_mode = setting_of(facts.replica, "archive_mode");
  if (old_mode != "off" && new_mode == "off") {
    return warn(fmt::format("archive_mode is {} on the primary, off on the replica", old_mode),
                "set archive_mode on the replica, or point-in-time recovery ends at the cutover");
  }
  return pass(fmt::format("archive_mode {} and {}", old_mode, new_mode));
}

Verdict libraries(const Facts& facts) {
  const std::string ours = setting_of(facts.primary, "shared_preload_libraries");
  const std::string theirs = setting_of(facts.replica, "shared_preload_libraries");
  if (ours != theirs) {
    return warn(fmt::format("shared_preload_libraries is \"{}\" on the primary, \"{}\" on the replica", ours, theirs),
                "make them equal and restart the replica, unless the difference is meant");
  }
  return pass(ours.empty() ? "none on both" : ours + " on both");
}

Verdict prepared_transactions(const Facts& facts) {
  const int count = facts.primary.facts->prepared_transactions;
  if (count > 0) {
    return fail(fmt::format("{} prepared transactions, required are 0: they could commit behind the fence", count),
                "commit or roll them back: select * from pg_prepared_xacts on the primary");
  }
  return pass("none");
}

Verdict long_transactions(const Facts& facts) {
  const auto oldest = facts.primary.facts->oldest_transaction;
  if (oldest && *oldest > std::chrono::seconds(5)) {
    return warn(fmt::format("a transaction is open for {}: the fence will end it", human(*oldest)),
                "select pid, usename, xact_start, query from pg_stat_activity order by xact_start on the primary");
  }
  return pass(oldest ? "the oldest is " + human(*oldest) : "none open");
}

Verdict superuser_sessions(const Facts& facts) {
  const int count = facts.primary.facts->superuser_sessions;
  if (count > 0 && !facts.primary.facts->superuser) {
    return fail(fmt::format("{} sessions of superusers, which the agent's role cannot end", count),
                "close them: select pid, usename, application_name from pg_stat_activity on the primary");
  }
  return pass(fmt::format("{} of others", count));
}

Verdict subscriptions(const Facts& facts) {
  const auto& names = facts.primary.facts->subscriptions;
  if (!names.empty()) {
    return fail(fmt::format("enabled subscriptions write on the primary: {}", fmt::join(names, ", ")),
                "alter subscription … disable on the primary");
  }
  return pass("none enabled");
}

Verdict logical_slots(const Facts& facts) {
  const auto& names = facts.primary.facts->logical_slots;
  if (!names.empty()) {
    return warn(fmt::format("logical slots do not move with the cutover: {}", fmt::join(names, ", ")),
                "make them anew on the new primary, or synchronise them (17+)");
  }
  return pass("none");
}

Verdict rights(const NodeFacts& node, std::initializer_list<std::string_view> needed) {
  std::vector<std::string_view> missing;
  for (const std::string_view right : needed) {
    const auto found = node.facts->rights.find(right);
    if (found == node.facts->rights.end() || !found->second) missing.push_back(right);
  }
  if (!node.may_write_probe) missing.emplace_back("INSERT on pgrm.cutover_probe");
  if (!missing.empty()) {
    return fail(fmt::format("{} lacks {}", node.who, fmt::join(missing, ", ")),
                "grant them as postgresql/roles.sql does");
  }
  return pass(fmt::format("{} has {}", node.who, fmt::join(needed, ", ")));
}

Verdict fence_rights(const Facts& facts) {
  return rights(facts.primary,
                {"ALTER SYSTEM default_transaction_read_only", "pg_reload_conf", "pg_signal_backend", "pg_checkpoint"});
}

Verdict promote_rights(const Facts& facts) { return rights(facts.replica, {"pg_promote", "pg_checkpoint"}); }

Verdict traffic(const Facts& facts) {
  if (facts.traffic.empty()) {
    return warn("nothing tells the application: its sessions are ended by the fence",
                "clients need target_session_attrs=read-write and both hosts, or use --traffic and --hooks");
  }
  std::vector<std::string> names;
  for (const auto& driver : facts.traffic) {
    if (!driver.problem.empty()) {
      return fail(driver.name + ": " + driver.problem, "cure it, or cut over without: --traffic none");
    }
    names.push_back(driver.name);
  }
  return pass(fmt::format("{} ready", fmt::join(names, ", ")));
}

Verdict state_directory(const Facts& facts) {
  if (!facts.state_dir_problem.empty()) return fail(facts.state_dir_problem, "choose another with --state-dir");
  return pass("writable");
}

constexpr std::array table{
    Check{"identity", "primary_reachable", "the old primary answers the agent's role", nothing, primary_reachable},
    Check{"identity", "replica_reachable", "the future primary answers the agent's role", nothing, replica_reachable},
    Check{"identity", "roles", "there is one primary and one standby, and they are the ones we think", both, roles},
    Check{"identity", "versions", "physical replication stays within one major version, 13 or newer", both, versions},
    Check{"identity", "system_identifier", "both are copies of the same cluster", both, system_identifier},
    Check{"identity", "timeline", "the standby is on the primary's own line of history", both, timeline},
    Check{"identity", "streaming", "the standby receives WAL from this very primary", both, streaming},
    Check{"identity", "exporter_fresh", "the gate of the cutover looks at the servers right now", nothing,
          exporter_fresh},
    Check{"identity", "exporter_pair", "the exporter watches the same two servers", both | exporter, exporter_pair},
    Check{"identity", "clocks", "times of both servers can be compared", both, clocks},
    Check{"identity", "single_agent", "no second cutover runs", primary, single_agent},
    Check{"replication", "slot", "the primary keeps the WAL that the standby still needs", both, slot},
    Check{"replication", "lag", "the standby keeps up", both, lag},
    Check{"replication", "replay_running", "a paused replay never reaches the end of WAL", replica, replay_running},
    Check{"replication", "apply_delay", "a delayed standby is late by design", replica, apply_delay},
    Check{"replication", "base_backup", "a base backup would be cut off", primary, base_backup},
    Check{"fitness", "capacity", "the new primary must not be smaller than the old one", both, capacity},
    Check{"fitness", "not_read_only", "the new primary must accept writes at once", both, not_read_only},
    Check{"fitness", "synchronous_standbys", "commits must not wait for standbys that are not there", replica,
          synchronous_standbys},
    Check{"fitness", "archiving", "backups go on after the cutover", both, archiving},
    Check{"fitness", "libraries", "extensions need their libraries", both, libraries},
    Check{"loss", "prepared_transactions", "COMMIT PREPARED passes every read-only fence", primary,
          prepared_transactions},
    Check{"loss", "read_only_exceptions", "a role's or database's own setting beats the fence", primary,
          read_only_exceptions},
    Check{"loss", "long_transactions", "the fence ends what is open", primary, long_transactions},
    Check{"loss", "superuser_sessions", "the fence must be able to end every session", primary, superuser_sessions},
    Check{"loss", "subscriptions", "apply workers write behind the fence", primary, subscriptions},
    Check{"loss", "logical_slots", "consumers of logical replication lose their place", primary, logical_slots},
    Check{"rights", "fence_rights", "everything the fence needs, asked without doing it", primary, fence_rights},
    Check{"rights", "promote_rights", "everything the promotion needs, asked without doing it", replica,
          promote_rights},
    Check{"rights", "traffic", "the application can be told to stop and to go on", nothing, traffic},
    Check{"rights", "state_directory", "the journal has a place", nothing, state_directory},
};

std::string missing(const Check& check, const Facts& facts) {
  std::vector<std::string_view> parts;
  if ((check.needs & primary) != 0 && (!facts.sample.primary.state || !facts.primary.facts))
    parts.emplace_back("primary");
  if ((check.needs & replica) != 0 && (!facts.sample.replica.state || !facts.replica.facts))
    parts.emplace_back("replica");
  if ((check.needs & exporter) != 0 && !facts.exporter) parts.emplace_back("exporter");
  return fmt::format("{}", fmt::join(parts, " and "));
}

}  // namespace

std::span<const Check> checks() { return table; }

std::vector<Finding> judge(const Facts& facts) {
  std::vector<Finding> findings;
  for (const Check& check : table) {
    const std::string lacking = missing(check, facts);
    findings.push_back(
        {&check, lacking.empty() ? check.judge(facts) : unknown("cannot be judged without the " + lacking)});
  }
  return findings;
}

bool passed(const std::vector<Finding>& findings) {
  return std::ranges::none_of(findings, [](const Finding& finding) { return refuses(finding.verdict.level); });
}

}  // namespace pgrm::agent
