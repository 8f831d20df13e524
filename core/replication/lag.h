// How far the standby is behind, judged from one Sample. Pure functions; unknown is nullopt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/replication/catch_up.h"
#include "core/replication/sample.h"

namespace pgrm {

/// From the node out of recovery to the one in recovery.
struct Flow {
  Side from, to;
};

/// The direction in which WAL flows now. nullopt unless both servers are seen and exactly one of them is in recovery:
/// after a promotion nothing flows until the old primary is made a standby, and then it flows the other way.
std::optional<Flow> wal_flow(const Sample& sample);

/// pg_stat_replication shows the last *_lag for some seconds after it, and NULL when idle: 0 if nothing is behind, and
/// unknown if it is NULL while bytes are.
std::optional<Duration> known_lag(std::optional<Duration> reported, std::optional<std::int64_t> behind);

/// Measured at both ends, because pg_stat_replication's LSNs are as old as the standby's last reply. The reference is
/// the writer's flush position. All unknown when nothing flows, or when the two servers are not on the same timeline of
/// the same cluster: then their positions cannot be compared.
struct PairLag {
  std::optional<std::int64_t> receive_bytes;     // not yet received
  std::optional<std::int64_t> replay_bytes;      // not yet replayed
  std::optional<Duration> write, flush, replay;  // the paired standby's known_lag()
};

PairLag pair_lag(const Sample& sample);

/// The rows of pg_stat_replication that may belong to the other configured server: the one with the slot of its WAL
/// receiver or, when that uses none, every row without one. None when that server is seen to have no WAL receiver:
/// what is connected then is another client (a base backup, pg_receivewal).
std::vector<const Standby*> possible_standbys(const Sample& sample);

/// The only one of them. nullptr when there is none, or when it cannot be told which it is.
const Standby* paired_standby(const Sample& sample);

/// What the two looks alone tell of a probe: fewer than `thresholds.bytes` are missing between them, so that nothing
/// has to be waited for. nullopt: a probe has to tell.
std::optional<CatchUp> caught_up(const Sample& sample, const LagThresholds& thresholds);

/// Why the pair is not in sync in this sample: machine-readable reason and a sentence. Empty: it is in sync.
struct SyncReason {
  std::string name;  // one of sync_reason_names
  std::string text;
};

/// Lag is judged by the sample's probe, and where there was none, by the distance between the two looks; and by
/// PostgreSQL's own replay_lag when it is known. `before`: the probe of the check before, for the words.
std::vector<SyncReason> out_of_sync(const Sample& sample, const LagThresholds& thresholds,
                                    const std::optional<CatchUp>& before = {});

/// The fixed set of reasons, for zero-initialised counters.
inline constexpr std::array sync_reason_names{"primary_unreachable",
                                              "replica_unreachable",
                                              "missing_privilege",
                                              "read_only_unknown",
                                              "roles",
                                              "system_identifier",
                                              "timeline",
                                              "standby_unknown",
                                              "no_standby",
                                              "not_streaming",
                                              "lag_unknown",
                                              "lag_bytes",
                                              "lag_seconds",
                                              "replay_paused",
                                              "gap",
                                              "restart"};

}  // namespace pgrm
