// The exporter's /api/v1/state: written by the exporter, read by the agent, held together by this one file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/replication/sync_streak.h"

namespace pgrm {

/// The body of GET /api/v1/state. LSNs appear both as "0/3000148" and, under `…_bytes`, as decimal strings, because a
/// JSON number is exact only up to 2^53. Unknown is null. `now`: for age_seconds and for the streak as of then.
std::string state_to_json(const Sample& sample, const SyncStreak& streak, Mono now);

/// What the agent takes from it.
struct ExporterState {
  struct Server {
    bool reachable = false;
    std::optional<bool> in_recovery;
    std::string address;
    std::string system_identifier;  // empty: unknown
  };
  std::uint64_t generation = 0;
  Duration age{};
  Duration interval{};
  Duration stale_after{};  // an observation that is older says nothing about now
  Server primary, replica;
  bool in_sync = false;
  int consecutive = 0, required = 0;
  std::vector<SyncReason> reasons;
  std::optional<std::int64_t> lag_bytes;
  std::optional<Duration> replay_lag;
  std::optional<Duration> catch_up;                      // the probe of the last check
  std::optional<std::int64_t> catch_up_remaining_bytes;  // 0: it got there
};

/// Throws Error(http_failed) when the text is not such a state.
ExporterState state_from_json(const std::string& text);

}  // namespace pgrm
