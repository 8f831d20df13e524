// How far the standby is behind, judged from one Sample. Pure functions; unknown is nullopt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/replication/sample.h"

namespace pgrm {

/// From the node out of recovery to the one in recovery.
struct Flow {
  Side from, to;
};

/// The direction in which WAL flows now. nullopt unless both servers are seen and exactly one of them is in recovery:
/// after a promotion nothing flows until the old primary is made a standby, and then it flows the other way.
std::optional<Flow> wal_flow(const Sample& sample);

/// Bytes from `reached` to `target`, 0 when `reached` is at or past it.
std::optional<std::int64_t> bytes_behind(std::optional<Lsn> reached, std::optional<Lsn> target);

/// pg_stat_replication's *_lag is NULL when idle: then 0 if nothing is behind, unknown if bytes are.
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

/// The row of pg_stat_replication that belongs to the other configured server: by the slot of its WAL receiver or, when
/// that uses none, by being the only row without one. nullptr when there is no such row, or when that server is seen to
/// have no WAL receiver: whatever is connected then is somebody else (a base backup, pg_receivewal).
const Standby* paired_standby(const Sample& sample);

struct LagThresholds {
  std::int64_t bytes = 1024;
  Duration seconds = std::chrono::seconds(1);
};

/// Why the pair is not in sync in this sample: machine-readable reason and a sentence. Empty: it is in sync.
struct SyncReason {
  std::string name;  // one of sync_reason_names
  std::string text;
};

/// Bytes are judged as measured at both ends; seconds when they are known.
std::vector<SyncReason> out_of_sync(const Sample& sample, const LagThresholds& thresholds);

/// The fixed set of reasons, for zero-initialised counters.
inline constexpr std::array sync_reason_names{"primary_unreachable",
                                              "replica_unreachable",
                                              "missing_privilege",
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
