// What the agent may do, and what it is given to do it with.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>

#include "agent/checks/groups.h"
#include "agent/checks/judging.h"
#include "agent/fence/fence.h"

namespace pgrm::agent {
namespace {

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
                "provide the command diverged; without it the agent stops the old primary with its databases closed, "
                "and rewinds it only if no other session used a transaction id");
  }
  return pass(fmt::format("{} answer --check", fmt::join(verbs, ", ")));
}

Verdict traffic(const Facts& facts) {
  if (!facts.untold_poolers.empty()) {
    return fail(
        fmt::format("{} would go on sending clients to the old primary, because --traffic does not name pgbouncer",
                    fmt::join(facts.untold_poolers, ", ")),
        "--traffic pgbouncer; or unset PGBOUNCER_DSN, if no client uses these poolers");
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

constexpr std::array table{
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

}  // namespace

std::span<const Check> rights_checks() { return table; }

}  // namespace pgrm::agent
