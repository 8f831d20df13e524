// What a cutover is asked to do, validated once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/secret.h"
#include "core/http/client.h"
#include "core/pg/conninfo.h"
#include "core/replication/lag.h"

namespace pgrm::agent {

/// How the old primary is kept from being written to until the new one is open, see fence.h.
enum class FenceForm { closed, read_only };

/// What becomes of the old primary afterwards, weakest first.
enum class Demotion { read_only, closed, stop, standby };

constexpr std::string_view to_string(FenceForm form) { return form == FenceForm::closed ? "closed" : "read-only"; }

constexpr std::string_view to_string(Demotion demotion) {
  constexpr std::string_view names[] = {"read-only", "closed", "stop", "standby"};
  return names[static_cast<int>(demotion)];
}

/// REQUIRES: one of the names above.
FenceForm fence_form(std::string_view name);
Demotion demotion(std::string_view name);

/// Whether SQL alone cannot do it.
inline bool needs_node_control(Demotion demotion) {
  return demotion == Demotion::stop || demotion == Demotion::standby;
}

struct Options {
  Pair pair;                 // application database; `primary` is the server that is the primary before the cutover
  bool switch_back = false;  // that is REPLICA_* of the configuration
  std::optional<FenceForm> fence;  // nullopt: closed where the agent's rights allow it
  bool rehearsal = false;          // everything before the promotion for real, and then back
  std::string exporter_url;
  http::Access exporter_access;
  std::string loadgen_url;
  Secret loadgen_token;
  bool stop_loadgen = true;                   // --traffic loadgen
  bool pause_poolers = false;                 // --traffic pgbouncer
  std::string hooks_directory;                // --hooks, empty: none
  std::vector<Conninfo> poolers;              // admin consoles of PgBouncer
  std::vector<std::string> pooler_databases;  // the files with their [databases]
  Demotion demotion = Demotion::read_only;
  std::string node_control;        // directory with the commands of node_control.h, empty: none
  std::string standby_slot;        // on the new primary, for the old one as its standby
  std::vector<Conninfo> siblings;  // the old primary's other standbys, to follow the new one
  LagThresholds thresholds;
  int required_checks = 3;
  Duration sync_timeout{};
  Duration promote_timeout{};
  std::string state_dir;
  std::string listen;  // of /metrics during a cutover, empty: off

  // Limits that nobody needed to set so far.
  Duration call_deadline = std::chrono::seconds(5);          // one question to a server
  Duration checkpoint_deadline = std::chrono::minutes(10);   // before writes are stopped: only patience is at stake
  Duration node_control_timeout = std::chrono::minutes(30);  // one command: a new copy takes its time, writes go on
  Duration follow_timeout = std::chrono::minutes(5);         // until the new standby streams
  Duration drain_timeout = std::chrono::seconds(10);         // traffic stop, fence and final verification, each
};

/// Throws Error(configuration, usage).
Options options_from(const Settings& settings);

/// Where the agent sits: not in the application database, whose door a cutover shuts.
inline constexpr auto maintenance_database = "postgres";

}  // namespace pgrm::agent
