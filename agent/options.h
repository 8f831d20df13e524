// What a cutover is asked to do, validated once.
#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/secret.h"
#include "core/http/client.h"
#include "core/pg/conninfo.h"
#include "core/replication/lag.h"

namespace pgrm::agent {

struct Options {
  Pair pair;  // application database
  std::string exporter_url;
  http::Access exporter_access;
  std::string loadgen_url;
  Secret loadgen_token;
  bool stop_loadgen = true;     // --traffic loadgen
  std::string hooks_directory;  // --hooks, empty: none
  LagThresholds thresholds;
  int required_checks = 3;
  Duration sync_timeout{};
  Duration promote_timeout{};
  std::string state_dir;
  std::string listen;  // of /metrics during a cutover, empty: off

  // Limits that nobody needed to set so far.
  Duration call_deadline = std::chrono::seconds(5);         // one question to a server
  Duration checkpoint_deadline = std::chrono::minutes(10);  // before writes are stopped: only patience is at stake
  Duration drain_timeout = std::chrono::seconds(10);        // traffic stop, fence and final verification, each
};

/// Throws Error(configuration, usage).
Options options_from(const Settings& settings);

/// Where the agent sits: not in the application database, whose door a cutover shuts.
inline constexpr auto maintenance_database = "postgres";

}  // namespace pgrm::agent
