// Everything the checks judge, gathered once: judging does no I/O.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/servers.h"
#include "agent/traffic.h"
#include "core/http/client.h"
#include "core/replication/json.h"
#include "core/replication/sample.h"

namespace pgrm::agent {

struct NodeFacts {
  std::string who;                   // user@host:port/database
  std::optional<ServerFacts> facts;  // nullopt: see error
  std::vector<std::string> read_only_exceptions;
  bool may_write_probe = false;
  std::string error;
};

struct Facts {
  Sample sample;  // both servers, over the agent's own connections
  NodeFacts primary, replica;
  std::optional<ExporterState> exporter;
  std::string exporter_error;
  struct TrafficFact {
    std::string name;
    std::string problem;  // empty: ready
  };
  std::vector<TrafficFact> traffic;
  bool lock_held = false;  // the advisory lock is ours
  std::string state_dir_problem;
  LagThresholds thresholds;
};

/// Asks both servers, the exporter and the traffic drivers; changes nothing. Never throws Error for what it asks: what
/// cannot be had is a fact too.
Facts gather_facts(Servers& servers, http::Client& exporter, Traffics& traffic, const Options& options,
                   const Clock& clock);

}  // namespace pgrm::agent
