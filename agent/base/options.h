// What a cutover is asked to do, validated once.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/daily_window.h"
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

/// Whether SQL alone cannot do it.
inline bool needs_node_control(Demotion demotion) {
  return demotion == Demotion::stop || demotion == Demotion::standby;
}

/// Both servers by what they are in this cutover: --switch-back swaps the configured ones. Without a cutover the
/// configured primary is the old one.
struct PairByRole {
  Conninfo old_primary, new_primary;  // to the application's database
  std::string maintenance_database = "postgres";
};

inline PairByRole by_role(const Pair& configured) {
  return {configured.primary, configured.replica, configured.maintenance_database};
}

struct Options {
  PairByRole pair;
  bool switch_back = false;  // that is REPLICA_* of the configuration
  bool rehearsal = false;    // everything before the promotion for real, and then back
  bool warm = false;         // the future primary's buffers are filled first
  double warm_rate = 0;      // megabytes per second at most; 0: as replay allows
  Duration watch_after{};    // when the cutover is done; 0: not
  std::string exporter_url;
  std::string exporter_state = "/api/v1/state";  // where it answers for this pair
  http::Access exporter_access;
  std::string state_dir;   // absolute
  std::string listen;      // of /metrics during a cutover, empty: off
  std::string web_config;  // of the same; empty: plain HTTP
  LagThresholds thresholds;
  int required_checks = 3;
  Duration sync_timeout{};
  http::Access loadgen_access;
  bool ha_manager_paused = false;   // a person says so, of an HA manager that is seen on the pair
  bool lose_logical_slots = false;  // a person accepts that consumers of logical replication lose their place

  // What a recovery needs as well: see option_table().
  std::vector<std::string> traffic;  // drivers by name: loadgen, pgbouncer
  std::string loadgen_url;
  std::string hooks_directory;                // absolute; empty: none
  std::vector<std::string> hooks;             // the executables that were there when the cutover began
  std::vector<Conninfo> poolers;              // admin consoles of PgBouncer
  std::vector<std::string> pooler_databases;  // the files with their [databases], absolute
  std::optional<FenceForm> fence;             // nullopt: closed where the agent's rights allow it
  Demotion demotion = Demotion::read_only;
  std::string node_control;        // directory with the commands of node_control.h, absolute; empty: none
  std::string standby_slot;        // on the new primary, for the old one as its standby
  std::vector<Conninfo> siblings;  // the old primary's other standbys, to follow the new one
  Duration promote_timeout{};
  Duration max_write_pause = std::chrono::seconds(5);  // from stop_traffic to the order to promote
  int attempts = 3;                                    // of a cutover whose pause was too long
  std::optional<DailyWindow> window;                   // in which writes may be stopped; nullopt: always
  Duration drain_old{};                                // sessions that come back to the old primary are ended
  Duration wait_for_transactions{};                    // for a moment without old ones; 0: the fence ends them

  // Limits that nobody needed to set so far.
  Duration call_deadline = std::chrono::seconds(5);          // one question to a server
  Duration checkpoint_deadline = std::chrono::minutes(10);   // before writes are stopped: only patience is at stake
  Duration node_control_timeout = std::chrono::minutes(30);  // one command: a new copy takes its time, writes go on
  Duration follow_timeout = std::chrono::minutes(5);         // until the new standby streams
  Duration drain_timeout = std::chrono::seconds(10);         // one wait for sessions or drivers outside of the pause
  Duration blind_patience = std::chrono::seconds(10);        // for a replica that is not seen, before an undo

  bool tells(std::string_view driver) const;  // whether `traffic` names it
};

/// One option: how it is read from the settings, and how it stands in the journal, without passwords.
struct Option {
  std::string_view variable;
  void (*read)(Options&, const Settings&);  // throws Error(configuration, usage)
  nlohmann::json (*to_json)(const Options&);
  void (*from_json)(Options&, const nlohmann::json&);  // throws nlohmann::json::exception
};

/// Every option that a recovery needs, too: it stands in the journal. A new one is a row here and a row in
/// settings_table.
std::span<const Option> option_table();

nlohmann::json options_to_json(const Options& options);
/// Replaces what `options` has by what the journal of a cutover has. Passwords stay those of this process' settings.
void recall_options(Options& options, const nlohmann::json& journaled, const Settings& settings);

/// Throws Error(configuration, usage).
Options options_from(const Settings& settings);

/// STATE_DIR, absolute, whether it exists or not.
std::string state_dir_from(const Settings& settings);

}  // namespace pgrm::agent
