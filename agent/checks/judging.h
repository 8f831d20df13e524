// What the judges of the groups read the facts with. REQUIRES of every judge: what its row `needs`
// is there.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "agent/checks/facts.h"
#include "agent/checks/verdict.h"

namespace pgrm::agent {

inline const ServerState& primary_state(const Facts& facts) { return *facts.sample.primary.state; }
inline const ServerState& replica_state(const Facts& facts) { return *facts.sample.replica.state; }

/// What a new session gets; empty when the server has no such setting.
inline std::string setting_of(const NodeFacts& node, std::string_view name) {
  const auto found = node.facts->settings.find(name);
  return found == node.facts->settings.end() ? "" : found->second;
}

struct ServerFactsOf {
  const NodeFacts& node;
  const ServerSample& sample;
};
inline std::array<ServerFactsOf, 2> both_servers(const Facts& facts) {
  return {{{facts.primary, facts.sample.primary}, {facts.replica, facts.sample.replica}}};
}

/// One list of every database, the application's first; what is in another one is called "database: name".
inline std::vector<std::string> in_every_database(const NodeFacts& node,
                                                  std::vector<std::string> DatabaseFacts::*list) {
  std::vector<std::string> all = node.database ? (*node.database).*list : std::vector<std::string>();
  for (const auto& [database, facts] : node.other_databases) {
    for (const std::string& name : facts.*list) all.push_back(database + ": " + name);
  }
  return all;
}

}  // namespace pgrm::agent
