// Counts consecutive in-sync checks: the gate in front of every cutover.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/replication/lag.h"

namespace pgrm {

/// When a cutover may begin; exported so that alerts and dashboards use the operator's own values.
struct SyncPolicy {
  LagThresholds thresholds;
  int required = 3;                             // consecutive in-sync checks
  Duration interval = std::chrono::seconds(5);  // between two observations
  /// A longer pause between two samples could hide anything; a sample older than this is no news. A round lasts longer
  /// by the probe of a replica that is behind, and until the next one is known, two such rounds may pass.
  Duration max_gap() const { return 2 * (interval + thresholds.seconds) + std::chrono::seconds(1); }

  bool operator==(const SyncPolicy&) const = default;
};

/// A pure fold over samples: value semantics, no clock, no I/O. It survives nothing that could hide a divergence: a gap
/// between two samples of more than `max_gap()`, a server's restart, a change of role, timeline or system identifier
/// all start it anew, with the reason.
class SyncStreak {
 public:
  explicit SyncStreak(const SyncPolicy& policy);

  void add(const Sample& sample);

  /// The streak as it has to be judged at `now`: not in sync, because of a gap, when the last sample is older than
  /// `max_gap()`. Counts no check.
  SyncStreak as_of(Mono now) const;

  const SyncPolicy& policy() const { return policy_; }
  bool in_sync() const { return consecutive_ > 0; }
  int consecutive() const { return consecutive_; }
  /// Start of the present streak.
  std::optional<WallTime> since() const { return since_; }
  /// Why the last sample broke the streak or did not start one; empty while in sync.
  const std::vector<SyncReason>& reasons() const { return reasons_; }
  std::uint64_t checks() const { return checks_; }
  /// Failed checks by reason name; has every one of sync_reason_names. A check that failed for two reasons counts in
  /// both.
  const std::map<std::string, std::uint64_t, std::less<>>& failures() const { return failures_; }

 private:
  /// What must not change from one sample to the next while a streak lasts.
  struct Identity {
    std::string primary_system, replica_system;
    WallTime primary_started, replica_started;
    bool primary_in_recovery, replica_in_recovery;
    std::optional<std::uint32_t> primary_timeline, replica_timeline;
  };
  static std::optional<Identity> identify(const Sample& sample);
  std::vector<SyncReason> gap_until(Mono at) const;
  std::vector<SyncReason> broken_by(const std::optional<Identity>& identity, Mono at) const;
  void reset(std::vector<SyncReason> reasons);

  SyncPolicy policy_;
  int consecutive_ = 0;
  std::optional<WallTime> since_;
  std::vector<SyncReason> reasons_;
  std::uint64_t checks_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> failures_;
  std::optional<Identity> previous_;
  Mono previous_at_{};
  std::optional<CatchUp> previous_catch_up_;
};

}  // namespace pgrm
