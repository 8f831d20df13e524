#include "agent/checks/checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>

#include "agent/base/bytes.h"
#include "agent/checks/judging.h"
#include "agent/checks/surroundings.h"
#include "agent/fence/fence.h"

namespace pgrm::agent {
namespace {

long number_of(const NodeFacts& node, std::string_view name) {
  const std::string text = setting_of(node, name);
  long value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

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
    return fail(observed + ", required: a physical, active slot with WAL reserved",
                "select * from pg_replication_slots on the primary");
  }
  constexpr std::int64_t little = 64LL << 20;
  if (found->safe_wal_bytes && *found->safe_wal_bytes < little) {
    return warn(fmt::format("{}, and only {} bytes more before it is lost (max_slot_wal_keep_size)", observed,
                            *found->safe_wal_bytes),
                "alter system set max_slot_wal_keep_size = '…'; select pg_reload_conf() on the primary");
  }
  return pass(observed);
}

Verdict lag(const Facts& facts) {
  const auto reasons = out_of_sync(facts.sample, facts.thresholds);
  const PairLag lag = pair_lag(facts.sample);
  if (reasons.empty() && facts.sample.catch_up) {
    return pass(fmt::format("the replica caught up in {}", human(facts.sample.catch_up->took)));
  }
  if (reasons.empty()) return pass(fmt::format("{} bytes to replay", lag.replay_bytes.value_or(0)));
  if (facts.lag_before && facts.lag_after && *facts.lag_after > *facts.lag_before &&
      *facts.lag_after > facts.thresholds.bytes) {
    return warn(
        fmt::format("it grows: {} bytes to replay, then {}", *facts.lag_before, *facts.lag_after),
        "select * from pg_stat_replication on the primary shows where WAL waits: sent, written, flushed, replayed");
  }
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
    return fail("recovery_min_apply_delay is " + delay + " ms, required: 0",
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

Verdict conflicts(const Facts& facts) {
  const auto oldest = facts.replica.facts->oldest_transaction;
  const std::string delay = setting_of(facts.replica, "max_standby_streaming_delay");
  const std::string observed = fmt::format("{} queries cancelled so far, the oldest one now is open for {}",
                                           facts.replica.facts->conflicts, oldest ? human(*oldest) : "0 ms");
  if (oldest && *oldest > std::chrono::seconds(5)) {
    return warn(fmt::format("{}: it may hold replay up for max_standby_streaming_delay = {} ms", observed, delay),
                "select pid, usename, xact_start, query from pg_stat_activity order by xact_start on the replica");
  }
  return pass(observed);
}

Verdict archiver(const Facts& facts) {
  const ServerFacts& primary = *facts.primary.facts;
  if (setting_of(facts.primary, "archive_mode") == "off") return pass("archive_mode is off");
  if (!primary.archive_ready) return unknown("no right to execute pg_ls_archive_statusdir(): grant pg_monitor");
  const std::string observed = fmt::format("{} WAL files wait for the archiver", *primary.archive_ready);
  if (primary.archiver_failing || *primary.archive_ready > 8) {
    return warn(observed + (primary.archiver_failing ? ", and its last attempt has failed" : ""),
                "select * from pg_stat_archiver on the primary: what is not archived when it stops is missing for "
                "point-in-time recovery");
  }
  return pass(observed);
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

Verdict pending_restart(const Facts& facts) {
  const auto& names = facts.replica.facts->pending_restart;
  if (!names.empty()) {
    return warn(fmt::format("the replica waits for a restart to apply {}", fmt::join(names, ", ")),
                "restart the replica now: as the primary it cannot be restarted without a pause");
  }
  return pass("the replica runs with what is configured");
}

Verdict headroom(const Facts& facts) {
  const long reserved = number_of(facts.replica, "superuser_reserved_connections") +
                        number_of(facts.replica, "reserved_connections");  // 16+
  const long room = replica_state(facts).connections_limit - reserved - replica_state(facts).connections;
  const int today = primary_state(facts).connections;
  const std::string observed = fmt::format("the replica has room for {} connections, the primary has {}", room, today);
  if (room < today) return fail(observed, "raise max_connections on the replica and restart it");
  return pass(observed);
}

Verdict senders(const Facts& facts) {
  const long needed = (facts.demotion == Demotion::standby ? 1 : 0) + static_cast<long>(facts.siblings.size());
  const auto used_senders = static_cast<long>(replica_state(facts).standbys.size());
  const auto used_slots = static_cast<long>(replica_state(facts).slots.size());
  const long free_senders = number_of(facts.replica, "max_wal_senders") - used_senders;
  const long free_slots = number_of(facts.replica, "max_replication_slots") - used_slots;
  const std::string observed =
      fmt::format("{} WAL senders and {} slots are free on the replica, needed: {}", free_senders, free_slots, needed);
  const auto& slots = replica_state(facts).slots;
  const auto taken = std::ranges::find(slots, facts.standby_slot, &Slot::name);
  if (facts.demotion == Demotion::standby && taken != slots.end() && taken->active) {
    return fail(fmt::format("slot {} on the replica is in use by somebody else", facts.standby_slot),
                "name another one with --standby-slot");
  }
  if (free_senders < needed || free_slots < needed) {
    return fail(observed, "raise max_wal_senders and max_replication_slots on the replica and restart it");
  }
  if (free_senders < 1 || free_slots < 1) {
    return warn(observed + ": the old primary cannot become a standby later",
                "raise max_wal_senders and max_replication_slots on the replica and restart it");
  }
  return pass(observed);
}

/// Where a read-only default comes from; empty: there is none. That of a fence is none of the user's settings, and not
/// for the user to reset.
std::string read_only_default(const ServerState& state, const FenceSeen& fence, std::string_view server) {
  if (!state.default_read_only || !fence.in_force.empty()) return {};
  const std::string& by = state.read_only_hidden_by;
  return by.empty() ? fmt::format("at the {}", server) : fmt::format("at the {} for {}", server, by);
}

Verdict not_read_only(const Facts& facts) {
  const std::string old_server = read_only_default(primary_state(facts), facts.primary.fence, "primary");
  const std::string new_server = read_only_default(replica_state(facts), facts.replica.fence, "replica");
  if (!old_server.empty() || !new_server.empty()) {
    const char* const both = !old_server.empty() && !new_server.empty() ? " and " : "";
    return fail(fmt::format("default_transaction_read_only is on {}{}{}", old_server, both, new_server),
                "show where it comes from: select source, sourcefile, sourceline from pg_settings where name = "
                "'default_transaction_read_only'");
  }
  return pass("only a fence has set default_transaction_read_only = on");
}

Verdict read_only_exceptions(const Facts& facts) {
  const auto& names = facts.primary.read_only_exceptions;
  if (!names.empty()) {
    return fail(
        fmt::format("{} sets default_transaction_read_only itself, which overrides the fence", fmt::join(names, ", ")),
        "alter role … [in database …] reset default_transaction_read_only, or alter database … reset …");
  }
  return pass("no role or database has a read-only setting of its own");
}

Verdict wedge(const Facts& facts) {
  std::vector<std::string> names = facts.primary.wedge_exceptions;
  const std::string everywhere = setting_of(facts.primary, "synchronous_commit");
  if (everywhere == "off" || everywhere == "local") names.insert(names.begin(), "the server");
  if (names.empty()) return pass("every commit waits for standbys");
  const std::string observed = fmt::format("synchronous_commit is off or local for {}", fmt::join(names, ", "));
  const char* const by_itself = "a client that asks for READ WRITE by itself";
  if (choose_fence(facts.fence, facts.primary.facts->databases).form != FenceForm::closed) {
    return fail(fmt::format("{}: {} can write behind a read-only fence, and the new primary will not have it", observed,
                            by_itself),
                "set it to on until the cutover is done, or make a closed fence possible: see fence_form");
  }
  if (facts.demotion == Demotion::read_only) {
    return warn(fmt::format("{}: {} could write to the demoted server, where nobody looks", observed, by_itself),
                "set it to on for the cutover, or choose --demote closed, stop or standby");
  }
  return pass(observed + "; the fence is closed, and the old primary stays so");
}

Verdict synchronous_standbys(const Facts& facts) {
  const std::string names = setting_of(facts.replica, "synchronous_standby_names");
  if (!names.empty() && facts.replica.fence.in_force.empty()) {
    return fail(fmt::format("synchronous_standby_names is \"{}\" on the replica: commits would hang there", names),
                "alter system reset synchronous_standby_names; select pg_reload_conf() on the replica");
  }
  return pass("no commit on the replica waits for a standby");
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

Verdict extensions(const Facts& facts) {
  const auto missing = in_every_database(facts.replica, &DatabaseFacts::missing_extensions);
  if (!missing.empty()) {
    return fail(fmt::format("the replica has no files of {}", fmt::join(missing, ", ")),
                "install their packages on the replica's machine, in the version of the primary");
  }
  const auto differing = in_every_database(facts.replica, &DatabaseFacts::differing_extensions);
  if (!differing.empty()) {
    return warn(fmt::format("the replica's files are of another version than {}", fmt::join(differing, ", ")),
                "install the primary's version there, or plan: alter extension … update after the cutover");
  }
  return pass("every extension has its files on the replica");
}

Verdict collations(const Facts& facts) {
  const auto all = [](const NodeFacts& node) {
    std::vector<std::string> names = node.facts->collation_mismatches;
    const auto more = in_every_database(node, &DatabaseFacts::collation_mismatches);
    names.insert(names.end(), more.begin(), more.end());
    return names;
  };
  const auto ours = all(facts.primary);
  const auto theirs = all(facts.replica);
  std::vector<std::string> only_there;
  std::ranges::copy_if(theirs, std::back_inserter(only_there),
                       [&ours](const std::string& name) { return std::ranges::find(ours, name) == ours.end(); });
  if (!only_there.empty()) {
    return fail(
        fmt::format("the replica's libraries sort text differently from those that {} was built with",
                    fmt::join(only_there, ", ")),
        "use the primary's libc and ICU on the replica's machine, or reindex right after the cutover: indexes on "
        "text may miss rows");
  }
  if (!theirs.empty()) {
    return warn(fmt::format("on both servers, {} was built with other libraries", fmt::join(theirs, ", ")),
                "reindex, then alter database … refresh collation version");
  }
  return pass("the same on both");
}

Verdict differing_settings(const Facts& facts) {
  // What an application can feel. Sizes may differ: the new server is meant to be bigger.
  static constexpr std::array felt{"TimeZone",
                                   "DateStyle",
                                   "IntervalStyle",
                                   "lc_messages",
                                   "lc_monetary",
                                   "lc_numeric",
                                   "lc_time",
                                   "search_path",
                                   "client_encoding",
                                   "default_text_search_config",
                                   "default_transaction_isolation",
                                   "default_transaction_deferrable",
                                   "standard_conforming_strings",
                                   "bytea_output",
                                   "extra_float_digits",
                                   "statement_timeout",
                                   "lock_timeout",
                                   "idle_in_transaction_session_timeout",
                                   "idle_session_timeout",
                                   "transaction_timeout",
                                   "row_security",
                                   "password_encryption",
                                   "ssl",
                                   "wal_level",
                                   "fsync",
                                   "full_page_writes",
                                   "synchronous_commit",
                                   "autovacuum",
                                   "session_replication_role",
                                   "default_tablespace",
                                   "temp_tablespaces",
                                   "vacuum_defer_cleanup_age",
                                   "log_statement"};
  std::vector<std::string> different;
  for (const char* const name : felt) {
    const std::string ours = setting_of(facts.primary, name);
    const std::string theirs = setting_of(facts.replica, name);
    if (ours != theirs) different.push_back(fmt::format("{} \"{}\" and \"{}\"", name, ours, theirs));
  }
  if (!different.empty()) {
    return warn(fmt::format("differ on primary and replica: {}", fmt::join(different, ", ")),
                "alter system set … on the replica, unless the difference is meant");
  }
  return pass(fmt::format("{} that an application feels are the same", felt.size()));
}

Verdict logins(const Facts& facts) {
  const auto& refused = facts.replica.refused_roles;
  if (refused.empty()) return pass("the application's roles are let in as on the primary");
  if (!facts.primary.refused_roles.empty()) {
    return warn(fmt::format("both servers refuse from here {}", fmt::join(refused, "; ")),
                "nothing is known from this machine: compare both pg_hba.conf");
  }
  return fail(fmt::format("the replica refuses {}", fmt::join(refused, "; ")),
              "make the replica's pg_hba.conf like the primary's; select pg_reload_conf()");
}

Verdict rewindable(const Facts& facts) {
  const bool checksums = setting_of(facts.primary, "data_checksums") == "on";
  const bool hints = setting_of(facts.primary, "wal_log_hints") == "on";
  if (checksums || hints) {
    return pass(fmt::format("{} is on", checksums ? "data_checksums" : "wal_log_hints"));
  }
  return warn("the primary has neither data_checksums nor wal_log_hints: pg_rewind cannot make it a standby",
              "it will need a new base copy; or alter system set wal_log_hints = on and restart it beforehand");
}

Verdict prepared_transactions(const Facts& facts) {
  const int count = facts.primary.facts->prepared_transactions;
  if (count > 0) {
    return fail(fmt::format("{} prepared transactions, required: none; they could commit behind the fence", count),
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

Verdict idle_transactions(const Facts& facts) {
  const int count = facts.primary.facts->idle_in_transaction;
  if (count > 0) {
    return warn(
        fmt::format("{} sessions idle in a transaction for more than 5 s: the fence will end them", count),
        "select pid, usename, state_change, query from pg_stat_activity where state like 'idle in transaction%' "
        "on the primary");
  }
  return pass("none");
}

Verdict advisory_locks(const Facts& facts) {
  const int count = facts.primary.facts->advisory_lock_sessions;
  if (count > 0) {
    return warn(
        fmt::format("{} sessions hold advisory locks, which end with them and do not move", count),
        "select * from pg_locks where locktype = 'advisory' on the primary: their programs must take them anew");
  }
  return pass("none held");
}

Verdict unlogged_tables(const Facts& facts) {
  const auto names = in_every_database(facts.primary, &DatabaseFacts::unlogged_tables);
  if (!names.empty()) {
    return warn(fmt::format("unlogged, so empty on the new primary: {}", fmt::join(names, ", ")),
                "alter table … set logged, if the rows are needed");
  }
  return pass("none");
}

Verdict invalid_indexes(const Facts& facts) {
  const auto names = in_every_database(facts.primary, &DatabaseFacts::invalid_indexes);
  if (!names.empty()) {
    return warn(fmt::format("invalid on both servers: {}", fmt::join(names, ", ")),
                "reindex index concurrently …, or drop it");
  }
  return pass("none");
}

/// What streams from the primary besides the replica.
std::vector<const Standby*> others(const Facts& facts) {
  std::vector<const Standby*> rows;
  const Standby* const paired = paired_standby(facts.sample);
  for (const Standby& row : primary_state(facts).standbys) {
    if (&row != paired) rows.push_back(&row);
  }
  return rows;
}

std::string names_of(const std::vector<const Standby*>& rows) {
  std::vector<std::string> names;
  for (const Standby* const row : rows) names.push_back(row->name.empty() ? "without a name" : row->name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Verdict other_standbys(const Facts& facts) {
  for (const auto& sibling : facts.siblings) {
    if (!sibling.problem.empty()) {
      return fail(fmt::format("{} cannot follow: {}", sibling.name, sibling.problem),
                  "fix it, or leave it out of --follow-siblings");
    }
  }
  const auto rows = others(facts);
  if (rows.size() > facts.siblings.size()) {
    const bool stays_shut = facts.demotion == Demotion::closed;
    return warn(
        fmt::format("{} stream from the primary, {} will follow: {}{}", rows.size(), facts.siblings.size(),
                    names_of(rows),
                    stays_shut ? "; nobody gets into those that stay (--demote closed reaches them as WAL)" : ""),
        "--follow-siblings \"host=… port=…\" makes standbys follow; anything else must be moved by hand");
  }
  return pass(rows.empty() ? "none" : fmt::format("{} will follow", names_of(rows)));
}

Verdict shutdown(const Facts& facts) {
  if (!needs_node_control(facts.demotion)) return pass("the old primary is not shut down");
  const auto rows = others(facts);
  if (rows.size() > facts.siblings.size()) {
    return warn(fmt::format("a shutdown waits until these have received everything: {}", names_of(rows)),
                "stop or move them, or the old primary is down only after wal_sender_timeout");
  }
  return pass("nothing else delays a shutdown");
}

Verdict superuser_sessions(const Facts& facts) {
  const int count = facts.primary.facts->superuser_sessions;
  if (count > 0 && !facts.primary.facts->superuser) {
    return fail(
        fmt::format("{} sessions of superusers that are older than 5 s, which the agent's role cannot end", count),
        "close them: select pid, usename, application_name from pg_stat_activity on the primary");
  }
  return pass(fmt::format("{} other sessions of superusers", count));
}

Verdict subscriptions(const Facts& facts) {
  std::vector<std::string> ours, others;
  for (const Subscription& subscription : facts.primary.facts->subscriptions) {
    const bool reach = subscription.may_alter && subscription.database == facts.database;
    (reach ? ours : others).push_back(subscription.name + " of " + subscription.database);
  }
  if (!others.empty()) {
    return fail(fmt::format("enabled subscriptions that the agent cannot disable: {}", fmt::join(others, ", ")),
                "alter subscription … disable, in its database on the primary");
  }
  if (ours.empty()) return pass("none enabled");
  return warn(fmt::format("the fence disables {}, and the new primary enables them", fmt::join(ours, ", ")),
              "see that the publisher can be reached from the new primary");
}

/// Whether the replica has the slot, too, and no later position in it than its consumer. Until 16 a person has made it
/// there, and from 17 on (failover slots) the server, which never puts it further ahead.
bool is_on_replica(const Facts& facts, const std::string& name) {
  const auto& there = facts.replica.facts->logical_slots;
  if (std::ranges::find(there, name) == there.end()) return false;
  if (primary_state(facts).version >= 170000) return true;
  const auto position = [&name](const ServerState& state) {
    const auto slot = std::ranges::find(state.slots, name, &Slot::name);
    return slot == state.slots.end() ? std::nullopt : slot->confirmed_flush;
  };
  const auto begins = position(replica_state(facts));  // unknown while the slot is still being made
  return begins && begins <= position(primary_state(facts));
}

Verdict logical_slots(const Facts& facts) {
  const auto& slots = facts.primary.facts->logical_slots;
  if (slots.empty()) return pass("none");
  std::vector<std::string> lost;
  std::ranges::copy_if(slots, std::back_inserter(lost),
                       [&facts](const std::string& name) { return !is_on_replica(facts, name); });
  if (!lost.empty()) {
    const std::string observed = fmt::format("logical slots do not move with the cutover: {}", fmt::join(lost, ", "));
    if (facts.lose_logical_slots)
      return warn(observed, "make them anew on the new primary, and copy their tables anew");
    const int version = primary_state(facts).version;
    const char* const how =
        version >= 170000   ? "create them with failover = true and set sync_replication_slots = on on the replica; or "
        : version >= 160000 ? "make slots of the same names on the replica, and let their consumers get past them; or "
                            : "";
    return fail(observed, fmt::format("{}--lose-logical-slots, and their consumers begin anew", how));
  }
  const std::string awaited = setting_of(facts.replica, "synchronized_standby_slots");
  if (awaited.empty() || (facts.demotion == Demotion::standby && awaited == facts.standby_slot)) {
    return pass(fmt::format("on the replica, too: {}", fmt::join(slots, ", ")));
  }
  return warn(fmt::format("their consumers get nothing from the new primary until a standby streams from its slot {} "
                          "(synchronized_standby_slots of the replica)",
                          awaited),
              "empty that setting on the replica, or --demote standby --standby-slot " + awaited);
}

/// The agent's row in the new primary goes to every subscriber of such a publication.
Verdict publications(const Facts& facts) {
  const auto& names = facts.primary.database->probe_publications;
  if (names.empty()) return pass("none has the agent's table in it");
  const std::string observed = fmt::format("pgrm.cutover_probe is published by {}", fmt::join(names, ", "));
  if (facts.primary.facts->logical_slots.empty()) return pass(observed + ", and nobody consumes them");
  return warn(observed + ": a subscription without that table stops at the agent's row",
              "make the table on the subscriber, with the same columns");
}

Verdict rights(const NodeFacts& node, std::initializer_list<std::string_view> needed) {
  std::vector<std::string_view> missing;
  for (const std::string_view right : needed) {
    if (!has_right(node, right)) missing.push_back(right);
  }
  if (node.may_write_probe == false) missing.emplace_back("INSERT on pgrm.cutover_probe");
  if (!missing.empty()) {
    return fail(fmt::format("{} lacks {}", node.who, fmt::join(missing, ", ")),
                "grant them as postgresql/roles.sql does");
  }
  if (!node.may_write_probe) return unknown("pgrm.cutover_probe could not be asked for: " + node.probe_error);
  return pass(fmt::format("{} has {}", node.who, fmt::join(needed, ", ")));
}

Verdict fence_rights(const Facts& facts) {
  return rights(facts.primary, {"ALTER SYSTEM default_transaction_read_only", "ALTER SYSTEM synchronous_standby_names",
                                "pg_reload_conf", "pg_signal_backend", "pg_checkpoint", "pg_read_all_settings"});
}

/// A role that writes to this table runs its triggers, rules and defaults.
Verdict probe_table(const Facts& facts) {
  for (const NodeFacts* const node : {&facts.primary, &facts.replica}) {
    if (node->probe_table_problems.empty()) continue;
    return fail(fmt::format("pgrm.cutover_probe: {}", fmt::join(node->probe_table_problems, "; ")),
                "alter schema pgrm rename to …, then run postgresql/roles.sql again");
  }
  for (const NodeFacts* const node : {&facts.primary, &facts.replica}) {
    if (!node->probe_error.empty()) return unknown("it could not be looked at: " + node->probe_error);
  }
  return pass("pgrm.cutover_probe runs nobody else's code");
}

Verdict fence_form(const Facts& facts) {
  if (facts.database == facts.maintenance_database) {
    return fail(fmt::format("the application's database is {}, over which the agent works: it cannot be closed",
                            facts.database),
                "give the agent another one, without an application: --maintenance-db");
  }
  const FenceChoice choice = choose_fence(facts.fence, facts.primary.facts->databases);
  if (!choice.form) return fail(choice.reason, choice.hint);
  if (facts.demotion == Demotion::closed && choice.form != FenceForm::closed) {
    return fail("only a closed fence can stay closed, and it is " + choice.reason,
                choice.hint.empty() ? "--demote read-only" : choice.hint + ", or take --demote read-only");
  }
  if (choice.form == FenceForm::closed || facts.fence) return pass(choice.reason);
  return warn(choice.reason, choice.hint);
}

/// Never refuses: a cold cache is slow, and nothing else.
Verdict warm(const Facts& facts) {
  const Warmth& warmth = facts.warmth;
  if (!warmth.problem.empty()) {
    return warn("how warm the replica's buffers are is not known: " + warmth.problem,
                warmth.hint + "; agent warm --dry-run says what it would do without");
  }
  if (warmth.wanted == 0) return pass("the primary keeps nothing in its buffers");
  const std::string observed = fmt::format("the replica holds {} % of the {} that the primary keeps in its buffers",
                                           warmth.held * 100 / warmth.wanted, human_bytes(warmth.wanted));
  if (warmth.held * 10 >= warmth.wanted * 9) return pass(observed);
  return warn(observed, fmt::format("agent warm, or --warm, loads {}, about {}", human_bytes(warmth.to_load),
                                    warming_time(warmth.to_load, facts.warm_rate)));
}

// Each takes milliseconds of the pause: see prediction.cc.
constexpr int few_spare_segments = 16, few_directories = 100;

/// Never refuses: the moment is judged by the whole prediction.
Verdict promotion_work(const Facts& facts) {
  const auto& work = facts.promotion_work;
  if (!work)
    return warn("how many WAL files the promotion removes is not known", "grant pg_monitor to the agent's role");
  const std::string observed =
      fmt::format("{} directories of databases, {} spare WAL segments", work->directories, work->spare_segments);
  if (work->spare_segments > few_spare_segments) {
    return warn(
        observed + ": the promotion removes these one by one",
        "on the replica, some time before: alter system set wal_recycle = off; select pg_reload_conf(): WAL that "
        "arrives uses them up, and no new ones are kept");
  }
  if (work->directories > few_directories) {
    return warn(observed + ": the promotion syncs each directory", "allow for it: --max-write-pause");
  }
  return pass(observed);
}

Verdict promote_rights(const Facts& facts) { return rights(facts.replica, {"pg_promote", "pg_checkpoint"}); }

Verdict alignment_rights(const Facts& facts) {
  const std::string missing = missing_for_alignment(facts);
  if (!missing.empty()) {
    return warn(fmt::format("the agent's role lacks {}: the promotion copies a WAL segment", missing),
                "grant them as postgresql/roles.sql does: writes are stopped for less long");
  }
  if (segment_to_align(facts) == 0) return pass("WAL segments are too large to fill one: the promotion copies it");
  return pass("nothing has to be copied");
}

Verdict demotion_rights(const Facts& facts) {
  if (facts.demotion != Demotion::standby && facts.siblings.empty()) return pass("none needed: no standby is made");
  return rights(facts.replica, {"REPLICATION", "pg_checkpoint"});
}

Verdict node_control(const Facts& facts) {
  if (facts.node_control.empty()) return pass(fmt::format("not needed for --demote {}", to_string(facts.demotion)));
  std::vector<std::string> verbs;
  std::string blind;
  for (const auto& verb : facts.node_control) {
    if (!verb.problem.empty() && verb.name == to_string(NodeVerb::diverged)) {
      blind = verb.problem;
      continue;
    }
    if (!verb.problem.empty()) {
      return fail(fmt::format("{}: {}", verb.name, verb.problem), "fix it, or choose --demote read-only or closed");
    }
    verbs.push_back(verb.name);
  }
  if (!blind.empty()) {
    return warn(fmt::format("what the old primary commits behind the fence cannot be listed: {}", blind),
                "stopped with its gate shut; rewound only if no other session has used a transaction id there");
  }
  return pass(fmt::format("{} answer --check", fmt::join(verbs, ", ")));
}

Verdict traffic(const Facts& facts) {
  if (!facts.untold_poolers.empty()) {
    return fail(fmt::format("{} would go on sending clients to the old primary: --traffic does not name pgbouncer",
                            fmt::join(facts.untold_poolers, ", ")),
                "--traffic pgbouncer; or without PGBOUNCER_DSN, if nobody needs them");
  }
  if (facts.traffic.empty()) {
    return warn("nothing tells the application: its sessions are ended by the fence",
                "clients need target_session_attrs=read-write and both hosts, or use --traffic and --hooks");
  }
  std::vector<std::string> names;
  for (const auto& driver : facts.traffic) {
    if (!driver.problem.empty()) {
      return fail(driver.name + ": " + driver.problem,
                  "fix it, or cut over without: --traffic none, and no PGBOUNCER_DSN");
    }
    names.push_back(driver.name);
  }
  return pass(fmt::format("{} ready", fmt::join(names, ", ")));
}

Verdict state_directory(const Facts& facts) {
  if (!facts.state_dir_problem.empty()) return fail(facts.state_dir_problem, "choose another with --state-dir");
  constexpr std::uint64_t needed = 16U << 20U;
  const std::string observed =
      fmt::format("a record was written and synced, {} MiB are free", facts.state_dir_free >> 20U);
  if (facts.state_dir_free < needed) {
    return fail(observed + ", required: 16 MiB", "make room, or choose another with --state-dir");
  }
  return pass(observed);
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
    Check{"replication", "slot", "the primary keeps the WAL that the standby still needs", both, slot},
    Check{"replication", "lag", "the standby keeps up", both, lag},
    Check{"replication", "replay_running", "a paused replay never reaches the end of WAL", replica, replay_running},
    Check{"replication", "apply_delay", "a delayed standby is late by design", replica, apply_delay},
    Check{"replication", "base_backup", "a base backup would be cut off", primary, base_backup},
    Check{"replication", "conflicts", "queries on the standby may hold replay up", replica, conflicts},
    Check{"replication", "archiver", "the archive lacks what is not archived when the old primary stops", primary,
          archiver},
    Check{"fitness", "capacity", "the new primary must not be smaller than the old one", both, capacity},
    Check{"fitness", "warm", "a server that has to read everything from disk first is slow for minutes", both, warm},
    Check{"fitness", "pending_restart", "the new primary must not need a restart", replica, pending_restart},
    Check{"fitness", "headroom", "the new primary must have room for today's connections", both, headroom},
    Check{"fitness", "senders", "standbys of the new primary need WAL senders and slots there", both, senders},
    Check{"fitness", "promotion_commands", "commands that recovery runs make the pause longer", replica,
          promotion_commands},
    Check{"fitness", "promotion_work", "files that the promotion handles one by one make the pause longer", replica,
          promotion_work},
    Check{"fitness", "login_triggers", "code that runs at every login decides who gets in", primary, login_triggers},
    Check{"fitness", "not_read_only", "the new primary must accept writes at once", both, not_read_only},
    Check{"fitness", "synchronous_standbys", "commits must not wait for standbys that are not there", replica,
          synchronous_standbys},
    Check{"fitness", "archiving", "backups go on after the cutover", both, archiving},
    Check{"fitness", "libraries", "extensions need their libraries", both, libraries},
    Check{"fitness", "extensions", "what the database has installed must be on the new machine", both | databases,
          extensions},
    Check{"fitness", "collations", "indexes on text are only right for the libraries that they were built with",
          both | databases, collations},
    Check{"fitness", "differing_settings", "an application must not feel the difference", both, differing_settings},
    Check{"fitness", "logins", "the replica must let the application's roles in", both | databases, logins},
    Check{"fitness", "rewindable", "pg_rewind needs data checksums or wal_log_hints", primary, rewindable},
    Check{"loss", "prepared_transactions", "COMMIT PREPARED passes every read-only fence", primary,
          prepared_transactions},
    Check{"loss", "read_only_exceptions", "a role's or database's own setting overrides the fence", primary,
          read_only_exceptions},
    Check{"loss", "wedge", "a commit that waits for no standby passes the wedge of a read-only fence", primary, wedge},
    Check{"loss", "long_transactions", "the fence ends what is open", primary, long_transactions},
    Check{"loss", "idle_transactions", "what a session has not committed is lost", primary, idle_transactions},
    Check{"loss", "advisory_locks", "an advisory lock lives and dies with its session", primary, advisory_locks},
    Check{"loss", "unlogged_tables", "unlogged tables do not replicate", primary | databases, unlogged_tables},
    Check{"loss", "invalid_indexes", "an index that failed to build is invalid on both servers", primary | databases,
          invalid_indexes},
    Check{"loss", "background_workers", "a worker of an extension writes behind every fence", primary,
          background_workers},
    Check{"loss", "other_standbys", "other standbys stay with the old primary", both, other_standbys},
    Check{"loss", "shutdown", "a shutdown waits for every standby that streams", both, shutdown},
    Check{"loss", "superuser_sessions", "the fence must be able to end every session", primary, superuser_sessions},
    Check{"loss", "subscriptions", "apply workers write behind the fence", primary, subscriptions},
    Check{"loss", "logical_slots", "consumers of logical replication lose their place", both, logical_slots},
    Check{"loss", "publications", "a subscriber must know the agent's table", primary | databases, publications},
    Check{"rights", "fence_rights", "every right that the fence needs, checked but not used", primary, fence_rights},
    Check{"rights", "configuration", "what the fence writes must take effect", both, configuration},
    Check{"rights", "probe_table", "the agent must not run code of the application's", both, probe_table},
    Check{"rights", "fence_form", "the strongest fence that the rights allow, or the one that was asked for", primary,
          fence_form},
    Check{"rights", "promote_rights", "every right that the promotion needs, checked but not used", replica,
          promote_rights},
    Check{"rights", "alignment_rights", "a promotion that copies a WAL segment takes longer", both, alignment_rights},
    Check{"rights", "demotion_rights", "everything a new standby needs on the new primary", replica, demotion_rights},
    Check{"rights", "node_control", "the old primary can be stopped, rewound and started", nothing, node_control},
    Check{"rights", "traffic", "the application can be told to stop and to go on", nothing, traffic},
    Check{"rights", "state_directory", "the journal can be written", nothing, state_directory},
};

std::string missing(const Check& check, const Facts& facts) {
  std::vector<std::string_view> parts;
  if ((check.needs & primary) != 0 && (!facts.sample.primary.state || !facts.primary.facts))
    parts.emplace_back("primary");
  if ((check.needs & replica) != 0 && (!facts.sample.replica.state || !facts.replica.facts))
    parts.emplace_back("replica");
  if ((check.needs & exporter) != 0 && !facts.exporter) parts.emplace_back("exporter");
  if ((check.needs & databases) != 0 && (!facts.primary.database || !facts.replica.database)) {
    parts.emplace_back("application's database");
  }
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

std::string sum_up(const std::vector<Finding>& findings) {
  const auto named = [&](Level level) {
    std::vector<std::string_view> names;
    for (const Finding& finding : findings) {
      if (finding.verdict.level == level) names.push_back(finding.check->name);
    }
    return names;
  };
  const auto failed = named(Level::fail), unjudged = named(Level::unknown), warning = named(Level::warn);
  if (!failed.empty()) {
    return fmt::format("{} of {} checks refuse the cutover: {}{}", failed.size(), findings.size(),
                       fmt::join(failed, ", "),
                       unjudged.empty() ? "" : fmt::format("; {} cannot be judged", unjudged.size()));
  }
  if (!unjudged.empty()) {
    return fmt::format("{} of {} checks cannot be judged: {}", unjudged.size(), findings.size(),
                       fmt::join(unjudged, ", "));
  }
  return fmt::format(
      "{} checks passed{}", findings.size() - warning.size(),
      warning.empty() ? "" : fmt::format(", {} with a warning: {}", warning.size(), fmt::join(warning, ", ")));
}

bool passed(const std::vector<Finding>& findings) {
  return std::ranges::none_of(findings, [](const Finding& finding) { return refuses(finding.verdict.level); });
}

}  // namespace pgrm::agent
