#include "core/replication/sync_streak.h"

#include <fmt/format.h>

#include <utility>

namespace pgrm {

SyncStreak::SyncStreak(const SyncPolicy& policy) : policy_(policy) {
  for (const char* const name : sync_reason_names) failures_[name] = 0;
}

std::optional<SyncStreak::Identity> SyncStreak::identify(const Sample& sample) {
  const auto& primary = sample.primary.state;
  const auto& replica = sample.replica.state;
  if (!primary || !replica) return std::nullopt;
  return Identity{primary->system_identifier, replica->system_identifier, primary->started_at, replica->started_at,
                  primary->in_recovery,       replica->in_recovery,       primary->timeline,   replica->timeline};
}

std::vector<SyncReason> SyncStreak::gap_until(Mono at) const {
  const Duration gap = at - previous_at_;
  if (gap <= policy_.max_gap()) return {};
  return {{"gap", fmt::format("nothing was observed for {}, allowed is {}", human(gap), human(policy_.max_gap()))}};
}

/// What happened between the last sample and this one, each of them in sync by itself. Nothing can break what has not
/// begun.
std::vector<SyncReason> SyncStreak::broken_by(const std::optional<Identity>& identity, Mono at) const {
  if (consecutive_ == 0) return {};
  if (auto gap = gap_until(at); !gap.empty()) return gap;
  std::vector<SyncReason> reasons;
  const Identity& was = *previous_;
  const Identity& is = *identity;
  const auto changed = [&reasons](bool different, const char* name, const char* text) {
    if (different) reasons.push_back({name, text});
  };
  changed(was.primary_system != is.primary_system || was.replica_system != is.replica_system, "system_identifier",
          "another cluster answers since the last check: the system identifier has changed");
  changed(was.primary_in_recovery != is.primary_in_recovery || was.replica_in_recovery != is.replica_in_recovery,
          "roles", "the servers have changed roles since the last check");
  changed(was.primary_timeline != is.primary_timeline || was.replica_timeline != is.replica_timeline, "timeline",
          "the timeline has changed since the last check");
  const bool primary_restarted = was.primary_started != is.primary_started;
  changed(primary_restarted || was.replica_started != is.replica_started, "restart",
          primary_restarted ? "the primary has restarted since the last check"
                            : "the replica has restarted since the last check");
  return reasons;
}

void SyncStreak::reset(std::vector<SyncReason> reasons) {
  consecutive_ = 0;
  since_.reset();
  reasons_ = std::move(reasons);
}

void SyncStreak::add(const Sample& sample) {
  const std::optional<Identity> identity = identify(sample);
  std::vector<SyncReason> reasons = out_of_sync(sample, policy_.thresholds, previous_catch_up_);
  if (reasons.empty()) reasons = broken_by(identity, sample.sampled_mono);

  ++checks_;
  for (const SyncReason& reason : reasons) ++failures_[reason.name];
  if (!reasons.empty()) {
    reset(std::move(reasons));
  } else if (consecutive_++ == 0) {
    since_ = sample.sampled_at;
    reasons_.clear();
  }
  previous_ = identity;
  previous_at_ = sample.sampled_mono;
  previous_catch_up_ = sample.catch_up;
}

SyncStreak SyncStreak::as_of(Mono now) const {
  SyncStreak judged = *this;
  if (auto gap = gap_until(now); checks_ > 0 && !gap.empty()) judged.reset(std::move(gap));
  return judged;
}

}  // namespace pgrm
