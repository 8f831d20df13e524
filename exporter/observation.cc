#include "exporter/observation.h"

#include <algorithm>
#include <utility>

namespace pgrm::exporter {
namespace {

ServerTally counted(ServerTally tally, const ServerSample& node) {
  ++tally.looks;
  if (node.state) {
    tally.seen_mono = node.began_mono;
    tally.seen_at = node.began_at;
  } else {
    ++tally.errors[node.error_name];
  }
  return tally;
}

std::string replica_among_standbys(const Sample& sample, const std::string& before) {
  const Standby* const row = paired_standby(sample);
  if (row != nullptr && wal_flow(sample)->from == Side::primary) return row->name;
  const auto& primary = sample.primary.state;
  if (!before.empty() || !primary) return before;
  // Not seen since the program started. Where there is but one slot, it is the one that the replica left behind.
  const auto physical = [](const Slot& slot) { return slot.type == "physical"; };
  if (std::ranges::count_if(primary->slots, physical) != 1) return before;
  return std::ranges::find_if(primary->slots, physical)->name;
}

}  // namespace

Observation Observation::next(Sample seen) const {
  Observation result = *this;
  result.primary = counted(primary, seen.primary);
  result.replica = counted(replica, seen.replica);
  result.streak.add(seen);
  result.replica_standby = replica_among_standbys(seen, replica_standby);
  result.sample = std::move(seen);
  return result;
}

View::View(std::shared_ptr<const Observation> observation, Mono now)
    : last_(std::move(observation)), now_(now), streak_(last_->streak.as_of(now)) {}

bool View::fresh() const { return observed() && now_ - sample().sampled_mono <= streak_.policy().max_gap(); }

const ServerState* View::server(Side side) const {
  const auto& state = sample()[side].state;
  return fresh() && state ? &*state : nullptr;
}

}  // namespace pgrm::exporter
