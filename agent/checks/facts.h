// Everything the checks judge, gathered once: judging does no I/O.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/servers.h"
#include "agent/demote/node_control.h"
#include "agent/fence/fence.h"
#include "agent/traffic/traffic.h"
#include "agent/warm/survey.h"
#include "core/http/client.h"
#include "core/replication/json.h"
#include "core/replication/sample.h"

namespace pgrm::agent {

struct NodeFacts {
  std::string who;                   // user@host:port/database
  std::optional<ServerFacts> facts;  // nullopt: see error
  std::vector<std::string> read_only_exceptions, wedge_exceptions;
  FenceSeen fence;
  std::vector<std::string> markers;
  std::optional<bool> may_write_probe;  // nullopt: see probe_error
  std::vector<std::string> probe_table_problems;
  std::string probe_error;
  std::string error;
  std::optional<DatabaseFacts> database;  // of the application's database
  std::string database_error;             // why `database` is not known
  std::vector<std::pair<std::string, DatabaseFacts>> other_databases;
  std::vector<std::string> unseen_databases;  // "name: why"
  std::vector<std::string> refused_roles;     // "role: what the server says", of the application's roles
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
  std::vector<std::string> untold_poolers;  // of PGBOUNCER_DSN: no driver tells them, and they lead to the old primary
  /// Verbs that the demotion needs, with what their --check says; the old primary's other standbys, likewise.
  std::vector<TrafficFact> node_control, siblings;
  Demotion demotion = Demotion::read_only;
  bool ha_manager_paused = false, lose_logical_slots = false;  // a person says so
  std::string standby_slot;
  std::optional<std::int64_t> lag_before, lag_after;  // bytes to replay, when the asking began and when it ended
  bool lock_held = false;                             // the advisory lock is ours
  std::string lock_holder;                            // who has it otherwise
  std::string lock_error;                             // why neither is known
  std::optional<FenceForm> fence;                     // that was asked for
  std::string database, maintenance_database;         // the application's; the one that the agent works over
  std::string state_dir_problem;
  std::uint64_t state_dir_free = 0;  // bytes
  LagThresholds thresholds;
  Warmth warmth;                                // of the replica
  double warm_rate = 0;                         // that was asked for
  std::optional<PromotionWork> promotion_work;  // of the replica
};

/// Asks both servers, the exporter and the traffic drivers; changes nothing. Never throws Error for what it asks: what
/// cannot be had is a fact too.
Facts gather_facts(Servers& servers, http::Client& exporter, Traffics& traffic, NodeControl& node_control,
                   const Options& options, const Clock& clock);

/// What the replica's settings shall be while it is promoted, see engine/replica_settings.h. REQUIRES: both facts.
SystemSettings settings_for_promotion(const Facts& facts);
/// Why restore_command is not one of them; empty when it is, or when there is none. REQUIRES: the replica was seen.
std::string keeps_restore_command(const Facts& facts);

/// Whether the agent's role has it, by its name in ServerFacts::rights. REQUIRES: node.facts.
bool has_right(const NodeFacts& node, std::string_view right);

/// Rights that aligning the WAL needs (engine/alignment.h) and the agent's role lacks; empty: none.
std::string missing_for_alignment(const Facts& facts);

/// Bytes, of `initdb --wal-segsize`; 0 when the server did not say.
std::int64_t wal_segment_size(const ServerFacts& server);

/// Bytes of a WAL segment when it can be aligned; 0 without the rights, or when segments are too large to fill one.
std::int64_t segment_to_align(const Facts& facts);

}  // namespace pgrm::agent
