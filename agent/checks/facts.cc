#include "agent/checks/facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "agent/base/state_dir.h"
#include "agent/checks/judging.h"
#include "agent/traffic/pgbouncer.h"
#include "core/base/error.h"
#include "core/replication/catch_up.h"
#include "core/replication/lag.h"

namespace pgrm::agent {
namespace {

constexpr std::int64_t largest_segment = 64 << 20;  // more is not worth the WAL

NodeFacts ask_node(Server& server, Duration deadline) {
  NodeFacts node;
  node.who = server.admin->describe();
  try {
    node.facts = server.admin->facts(deadline);
    const FenceView fence = server.admin->fence_view(deadline);
    node.read_only_exceptions = fence.read_only_exceptions;
    node.wedge_exceptions = fence.wedge_exceptions;
    node.fence = see_fence(*server.admin, fence, deadline);
    node.markers = fence.markers;
  } catch (const Error& error) {
    node.facts.reset();  // no check passes on what was not looked at
    node.error = error.what();
    return node;
  }
  try {
    node.may_write_probe = server.application->may_write_probe(deadline);
    if (*node.may_write_probe) node.probe_table_problems = server.application->probe_table_problems(deadline);
  } catch (const Error& error) {
    node.probe_error = error.what();
  }
  return node;
}

void ask_database(NodeFacts& node, Server& server, Duration deadline) {
  try {
    node.database = server.application->database_facts(deadline);
  } catch (const Error& error) {
    node.database_error = error.what();
  }
}

/// The open ones. One that is closed takes no writes and shows nothing.
void ask_other_databases(NodeFacts& node, const Server& server, const NodeFacts& primary,
                         const std::string& application, Duration deadline) {
  if (!node.facts || !primary.facts) return;
  std::vector<std::string> names;
  for (const Database& database : primary.facts->databases) {
    if (database.open && database.name != application) names.push_back(database.name);
  }
  const std::vector<DatabaseAnswer> answers = server.ask_databases(names, deadline);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (answers[i].error.empty()) {
      node.other_databases.emplace_back(names[i], answers[i].facts);
    } else {
      node.unseen_databases.push_back(names[i] + ": " + answers[i].error);
    }
  }
}

/// Both servers are asked about the roles that use the primary now, and about the database's owner.
void try_logins(NodeFacts& node, Server& server, const NodeFacts& primary, Duration deadline) {
  if (!primary.facts || !primary.database) return;
  std::vector<std::string> roles = primary.facts->client_roles;
  if (std::ranges::find(roles, primary.database->owner) == roles.end()) roles.push_back(primary.database->owner);
  if (!node.facts) return;  // not reachable: another check says so
  for (const std::string& role : roles) {
    const std::string refusal = server.application->refusal_of(role, deadline);
    if (!refusal.empty()) node.refused_roles.push_back(role + ": " + refusal);
  }
}

std::vector<Facts::TrafficFact> ask_node_control(NodeControl& control, const Options& options) {
  std::vector<Facts::TrafficFact> answers;
  for (const NodeVerb verb : {NodeVerb::stop, NodeVerb::diverged, NodeVerb::rewind, NodeVerb::start}) {
    if (!needs_node_control(options.demotion) || (options.demotion == Demotion::stop && verb != NodeVerb::stop))
      continue;
    answers.push_back({std::string(to_string(verb)), control.problem(verb, std::chrono::seconds(30))});
  }
  return answers;
}

std::string problem_of_sibling(Node& sibling, const Facts& facts, Duration deadline) {
  try {
    const ServerState state = sibling.observe(deadline);
    if (!state.in_recovery) return "it is no standby";
    const auto& primary = facts.sample.primary.state;
    if (primary && state.system_identifier != primary->system_identifier) return "it is of another cluster";
    const auto& replica = facts.sample.replica.state;
    if (replica && one_server(state, *replica)) return "it is the replica itself";
    const ServerFacts own = sibling.facts(deadline);
    const auto right = own.rights.find("ALTER SYSTEM primary_conninfo");
    if (right == own.rights.end() || !right->second) return "the right to ALTER SYSTEM primary_conninfo is missing";
    const auto target = own.settings.find("recovery_target_timeline");
    if (target != own.settings.end() && target->second != "latest") {
      return "its recovery_target_timeline is " + target->second + ": it would not follow onto the new timeline";
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

/// What is not there yet is not made: its nearest parent must let the agent make it.
void ask_state_dir(const std::string& state_dir, Facts& facts) {
  std::filesystem::path there = state_dir;
  std::error_code problem;
  while (!std::filesystem::exists(there, problem) && there.has_relative_path()) there = there.parent_path();
  if (!std::filesystem::is_directory(there, problem) || access(there.c_str(), W_OK) != 0) {
    facts.state_dir_problem = fmt::format("{} cannot be {}", state_dir, there == state_dir ? "written" : "made");
    return;
  }
  try {
    try_to_write(there);
  } catch (const Error& error) {
    facts.state_dir_problem = error.what();
  }
  facts.state_dir_free = std::filesystem::space(there, problem).available;
}

void take_lock(Node& lock, Facts& facts, Duration deadline) {
  try {
    facts.lock_held = lock.try_lock(deadline);
    if (!facts.lock_held) facts.lock_holder = lock.lock_holder(deadline);
  } catch (const Error& error) {
    facts.lock_error = error.what();
  }
}

std::optional<PromotionWork> ask_promotion_work(Node& replica, Duration deadline) {
  try {
    return replica.promotion_work(deadline);
  } catch (const Error&) {  // the checks of who can be reached say so
    return std::nullopt;
  }
}

}  // namespace

Facts gather_facts(Servers& servers, http::Client& exporter, Traffics& traffic, NodeControl& node_control,
                   const Options& options, const Clock& clock) {
  Facts facts;
  facts.thresholds = options.thresholds;
  facts.demotion = options.demotion;
  facts.ha_manager_paused = options.ha_manager_paused;
  facts.lose_logical_slots = options.lose_logical_slots;
  facts.standby_slot = options.standby_slot;
  facts.lag_before =
      pair_lag(observe_pair(*servers.old_primary.admin, *servers.new_primary.admin, 1, clock, options.call_deadline))
          .replay_bytes;
  facts.primary = ask_node(servers.old_primary, options.call_deadline);
  facts.replica = ask_node(servers.new_primary, options.call_deadline);
  ask_database(facts.primary, servers.old_primary, options.call_deadline);
  ask_database(facts.replica, servers.new_primary, options.call_deadline);
  if (facts.replica.facts) {
    facts.promotion_work = ask_promotion_work(*servers.new_primary.admin, options.call_deadline);
  }
  facts.database = options.pair.old_primary.get("dbname");
  facts.maintenance_database = options.pair.maintenance_database;
  ask_other_databases(facts.primary, servers.old_primary, facts.primary, facts.database, options.call_deadline);
  ask_other_databases(facts.replica, servers.new_primary, facts.primary, facts.database, options.call_deadline);
  try_logins(facts.primary, servers.old_primary, facts.primary, options.call_deadline);
  try_logins(facts.replica, servers.new_primary, facts.primary, options.call_deadline);
  facts.node_control = ask_node_control(node_control, options);
  try {
    facts.exporter = state_from_json(http::get_ok(exporter, options.exporter_state, options.call_deadline));
  } catch (const Error& error) {
    facts.exporter_error = error.what();
  }
  for (const auto& driver : traffic) facts.traffic.push_back({driver->name(), driver->problem()});
  if (!options.tells("pgbouncer") && options.hooks_directory.empty()) {
    facts.untold_poolers = poolers_at(options.pair.old_primary, options.poolers, options.call_deadline);
  }
  take_lock(*servers.lock, facts, options.call_deadline);
  facts.fence = options.fence;
  ask_state_dir(options.state_dir, facts);
  facts.warmth = how_warm(servers.old_primary, servers.new_primary, options.pair, options.call_deadline);
  facts.warm_rate = options.warm_rate;
  // Last, so that the lag has had time to grow.
  facts.sample = observe_pair(*servers.old_primary.admin, *servers.new_primary.admin, 2, clock, options.call_deadline);
  facts.lag_after = pair_lag(facts.sample).replay_bytes;
  try {
    facts.sample.catch_up = measure_catch_up(*servers.old_primary.admin, *servers.new_primary.admin, options.thresholds,
                                             clock, options.call_deadline);
  } catch (const Error&) {  // the checks of who can be reached say so
  }
  for (const auto& sibling : servers.siblings) {
    facts.siblings.push_back({sibling->describe(), problem_of_sibling(*sibling, facts, options.call_deadline)});
  }
  return facts;
}

bool has_right(const NodeFacts& node, std::string_view right) {
  const auto found = node.facts->rights.find(right);
  return found != node.facts->rights.end() && found->second;
}

std::string missing_for_alignment(const Facts& facts) {
  std::vector<std::string> missing;
  if (!has_right(facts.primary, "pg_switch_wal")) missing.emplace_back("pg_switch_wal");
  if (!has_right(facts.replica, "ALTER SYSTEM wal_init_zero")) missing.emplace_back("ALTER SYSTEM wal_init_zero");
  return fmt::format("{}", fmt::join(missing, ", "));
}

std::string keeps_restore_command(const Facts& facts) {
  if (setting_of(facts.replica, "restore_command").empty()) return {};
  if (std::ranges::count(facts.replica.facts->traces.command_line, "restore_command") > 0) {
    return "it stands on the replica's command line";
  }
  if (replica_state(facts).version < 140000) return "PostgreSQL 13 reads it at its start only";
  if (!has_right(facts.replica, "ALTER SYSTEM restore_command")) {
    return "the agent's role may not";
  }
  return {};
}

SystemSettings settings_for_promotion(const Facts& facts) {
  SystemSettings settings;
  if (segment_to_align(facts) != 0) settings["wal_init_zero"] = "off";
  if (!setting_of(facts.replica, "restore_command").empty() && keeps_restore_command(facts).empty()) {
    settings["restore_command"] = "";
  }
  return settings;
}

std::int64_t wal_segment_size(const ServerFacts& server) {
  const auto found = server.settings.find("wal_segment_size");
  if (found == server.settings.end()) return 0;
  const std::string& text = found->second;
  std::int64_t bytes = 0;
  std::from_chars(text.data(), text.data() + text.size(), bytes);
  return bytes;
}

std::int64_t segment_to_align(const Facts& facts) {
  if (!missing_for_alignment(facts).empty()) return 0;
  const std::int64_t bytes = wal_segment_size(*facts.primary.facts);
  return bytes > largest_segment ? 0 : bytes;
}

}  // namespace pgrm::agent
