// Whether the future primary can do what the old one does.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "agent/base/bytes.h"
#include "agent/checks/groups.h"
#include "agent/checks/judging.h"
#include "agent/fence/fence.h"

namespace pgrm::agent {
namespace {

long number_of(const NodeFacts& node, std::string_view name) {
  const std::string text = setting_of(node, name);
  long value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
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

Verdict promotion_commands(const Facts& facts) {
  static constexpr std::array run_then{"recovery_end_command", "archive_cleanup_command", "promote_trigger_file"};
  const auto quoted = [&](const char* name) { return fmt::format("{} = '{}'", name, setting_of(facts.replica, name)); };
  std::vector<std::string> set;
  const std::string kept = keeps_restore_command(facts);
  if (!kept.empty()) set.push_back(quoted("restore_command") + " (not set aside: " + kept + ")");
  for (const char* const name : run_then) {
    if (!setting_of(facts.replica, name).empty()) set.push_back(quoted(name));
  }
  if (!set.empty()) {
    return warn(fmt::format("the replica runs these while writes are stopped: {}", fmt::join(set, "; ")),
                "alter system set … = '' on the replica and select pg_reload_conf(), if streaming alone keeps it up; a "
                "slow one prolongs the pause, one that is gone can stop the new primary (docs/cutover.md, \"Why the "
                "promotion is short\")");
  }
  if (setting_of(facts.replica, "restore_command").empty()) {
    return pass("the replica runs no command when it is promoted");
  }
  return pass(quoted("restore_command") + " is set aside for the cutover; timelines in the archive are not looked at");
}

Verdict login_triggers(const Facts& facts) {
  const auto triggers = in_every_database(facts.primary, &DatabaseFacts::login_triggers);
  if (triggers.empty()) return pass("none");
  return warn(fmt::format("a login event trigger runs for every client: {}", fmt::join(triggers, ", ")),
              "one that writes refuses every login on a standby or behind a fence: clients with a list of hosts stop "
              "there");
}

constexpr std::array table{
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
};

}  // namespace

std::span<const Check> fitness_checks() { return table; }

}  // namespace pgrm::agent
