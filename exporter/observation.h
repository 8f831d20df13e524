// Everything the exporter knows after a round of observation, and how it has to be read at a given moment.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "core/replication/sync_streak.h"

namespace pgrm::exporter {

/// How looking at one server has gone since the start of the program.
struct ServerTally {
  std::uint64_t looks = 0;
  std::map<std::string, std::uint64_t, std::less<>> errors;  // by Error::name()
  std::optional<Mono> seen_mono;                             // the last look that succeeded
  std::optional<WallTime> seen_at;
};

/// Immutable once published: metrics, JSON state and page of one moment read the same object.
struct Observation {
  explicit Observation(const SyncPolicy& policy) : streak(policy) {}

  /// This observation and what `sample` adds to it. A pure fold, like SyncStreak.
  Observation next(Sample sample) const;

  const ServerTally& tally(Side side) const { return side == Side::primary ? primary : replica; }

  Sample sample;  // generation 0: nothing has been observed yet
  SyncStreak streak;
  ServerTally primary, replica;
  /// Under which name the configured replica appears among the primary's standbys, kept while it is away: it must not
  /// vanish from the metrics just because it is missing. Empty: not known yet.
  std::string replica_standby;
};

/// An observation as of `now`: what is too old is no longer shown as if it were so.
class View {
 public:
  View(std::shared_ptr<const Observation> observation, Mono now);

  const Sample& sample() const { return last_->sample; }
  const Observation& observation() const { return *last_; }
  Mono now() const { return now_; }
  const SyncStreak& streak() const { return streak_; }
  bool observed() const { return sample().generation > 0; }
  /// The last round is no older than SyncPolicy::max_gap().
  bool fresh() const;
  /// nullptr: not reachable in the last round, or not known any more.
  const ServerState* server(Side side) const;

 private:
  std::shared_ptr<const Observation> last_;
  Mono now_;
  SyncStreak streak_;
};

/// A pair among others.
struct NamedView {
  std::string name;
  std::map<std::string, std::string> labels;
  View view;
};

}  // namespace pgrm::exporter
