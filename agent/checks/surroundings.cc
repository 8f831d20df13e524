#include "agent/checks/surroundings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>

#include "agent/checks/judging.h"

namespace pgrm::agent {
namespace {

// ---- HA managers

/// Where in a server something has left a trace.
using Place = std::vector<std::string> Traces::*;

struct Trace {
  Place place;
  std::string_view begins;  // an entry of the list begins with this, and
  std::string_view ends;    // ends with this
  bool acts;                // it is at work now; false: it was set up here, and may be stopped
};

struct HaManager {
  std::string_view name, pause;
  std::span<const Trace> traces;
};

// Names are those of the programs' own sources and documentation.
constexpr std::array patroni{
    Trace{&Traces::applications, "Patroni", "", true},                 // 4.0 and later
    Trace{&Traces::command_line, "track_commit_timestamp", "", true},  // it starts its servers with that
    Trace{&Traces::files, "", "/postgresql.base.conf", false},
};
constexpr std::array repmgr{
    Trace{&Traces::applications, "repmgr", "", true},
    Trace{&Traces::libraries, "repmgr", "", false},
    Trace{&Traces::databases, "repmgr", "", false},
};
constexpr std::array pg_auto_failover{
    Trace{&Traces::applications, "pgautofailover_", "", true},
    Trace{&Traces::slots, "pgautofailover_standby_", "", true},
    Trace{&Traces::files, "", "/postgresql-auto-failover.conf", false},
    Trace{&Traces::roles, "pgautofailover_", "", false},
};
constexpr std::array stolon{
    Trace{&Traces::applications, "stolon_", "", true},
    Trace{&Traces::slots, "stolon_", "", true},
    Trace{&Traces::files, "", "/stolon-temp-postgresql.conf", false},
};
constexpr std::array cloud_native_pg{
    Trace{&Traces::applications, "cnpg", "", true},
    Trace{&Traces::slots, "_cnpg_", "", true},
    Trace{&Traces::commands, "/controller/manager", "", true},
    Trace{&Traces::roles, "cnpg_", "", false},
};
constexpr std::array pacemaker{Trace{&Traces::files, "", "/rep_mode.conf", true}};

constexpr std::array ha_managers{
    HaManager{"Patroni", "patronictl pause --wait on its cluster", patroni},
    HaManager{"repmgr", "repmgr service pause", repmgr},
    HaManager{"pg_auto_failover", "stop pg_autoctl on both hosts, and start the servers without it", pg_auto_failover},
    HaManager{"Stolon", "stop the sentinels and both keepers of Stolon, and start the servers without them", stolon},
    HaManager{"CloudNativePG", "kubectl annotate cluster NAME --overwrite cnpg.io/reconciliationLoop=disabled",
              cloud_native_pg},
    HaManager{"Pacemaker", "pcs property set maintenance-mode=true", pacemaker},
};

/// The first entry that bears the trace; empty: none.
std::string entry_of(const Traces& traces, const Trace& trace) {
  const auto bears = [&](const std::string& entry) {
    return entry.starts_with(trace.begins) && entry.ends_with(trace.ends);
  };
  const auto& list = traces.*trace.place;
  const auto found = std::ranges::find_if(list, bears);
  return found == list.end() ? "" : *found;
}

// ---- background workers

/// pg_stat_activity.backend_type of PostgreSQL's own, 13 to 18.
constexpr std::array own_backends{
    "archiver",       "autovacuum launcher", "autovacuum worker", "background writer", "checkpointer",
    "client backend", "io worker",           "parallel worker",   "slotsync worker",   "standalone backend",
    "startup",        "walreceiver",         "walsender",         "walsummarizer",     "walwriter",
};

bool is_own(const std::string& backend) {
  return backend.starts_with("logical replication ") || std::ranges::find(own_backends, backend) != own_backends.end();
}

}  // namespace

Verdict ha_manager(const Facts& facts) {
  std::string set_up;
  for (const auto& [node, sample] : both_servers(facts)) {
    for (const HaManager& manager : ha_managers) {
      for (const Trace& trace : manager.traces) {
        const std::string entry = entry_of(node.facts->traces, trace);
        if (entry.empty()) continue;
        const std::string text = fmt::format("{} ({} on {})", manager.name, entry, sample.address);
        const std::string hint = fmt::format("{}; then --ha-manager-paused says that it is paused", manager.pause);
        if (trace.acts && !facts.ha_manager_paused) {
          return fail(text + " acts on this pair, and would undo what a cutover does", hint);
        }
        if (trace.acts) return warn(text + " acts on this pair; a person says that it is paused", hint);
        if (set_up.empty()) set_up = text;
      }
    }
  }
  if (!set_up.empty()) {
    return warn(set_up + " has been set up here; nothing of it is seen to run",
                "make sure that it is stopped or paused until it knows the new primary");
  }
  return pass("no trace of one");
}

Verdict background_workers(const Facts& facts) {
  std::vector<std::string> others;
  std::ranges::copy_if(facts.primary.facts->traces.backends, std::back_inserter(others),
                       [](const std::string& backend) { return !is_own(backend); });
  if (others.empty()) return pass("none but PostgreSQL's own");
  return warn(fmt::format("no fence holds background workers: {}", fmt::join(others, ", ")),
              "stop their jobs for the cutover: what they write behind the fence stays on the old primary");
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

Verdict configuration(const Facts& facts) {
  for (const char* const name : {"synchronous_standby_names", "default_transaction_read_only"}) {
    const auto& fixed = facts.primary.facts->traces.command_line;
    if (std::ranges::find(fixed, name) == fixed.end()) continue;
    return fail(fmt::format("{} stands on the primary's command line, which overrides the fence's", name),
                "take it out of there, put it into postgresql.conf, and restart the primary");
  }
  if (setting_of(facts.primary, "allow_alter_system") == "off") {
    return fail("allow_alter_system is off on the primary: the fence cannot be written",
                "allow_alter_system = on where it stands, for the time of the cutover; select pg_reload_conf()");
  }
  std::vector<std::string> troubles;
  if (setting_of(facts.replica, "allow_alter_system") == "off") {
    troubles.emplace_back("allow_alter_system is off on the replica: the promotion copies a WAL segment");
  }
  for (const auto& [node, sample] : both_servers(facts)) {
    for (const std::string& error : node.facts->file_errors) troubles.push_back(sample.address + " " + error);
  }
  if (troubles.empty()) return pass("nothing stands in the way of ALTER SYSTEM and a reload");
  return warn(fmt::format("{}", fmt::join(troubles, "; ")),
              "select sourcefile, sourceline, name, error from pg_file_settings where error is not null");
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

Verdict login_triggers(const Facts& facts) {
  const auto triggers = in_every_database(facts.primary, &DatabaseFacts::login_triggers);
  if (triggers.empty()) return pass("none");
  return warn(fmt::format("a login event trigger runs for every client: {}", fmt::join(triggers, ", ")),
              "one that writes refuses every login on a standby or behind a fence: clients with a list of hosts stop "
              "there");
}

}  // namespace pgrm::agent
