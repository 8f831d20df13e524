#include "core/replication/catch_up.h"

#include <algorithm>
#include <limits>

namespace pgrm {
namespace {

/// A standby that is nearly there is looked at often; one that is far behind is not kept busy.
Duration pause_after(Duration waited) {
  using std::chrono::milliseconds;
  return std::clamp<Duration>(waited / 10, milliseconds(2), milliseconds(5));
}

}  // namespace

std::optional<std::int64_t> bytes_behind(std::optional<Lsn> reached, std::optional<Lsn> target) {
  if (!reached || !target) return std::nullopt;
  if (*reached >= *target) return 0;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(target->bytes() - reached->bytes(), most));
}

std::optional<CatchUp> await_replay(Node& standby, Mono asked, Lsn target, const LagThresholds& thresholds,
                                    const Clock& clock, Duration deadline, const std::stop_token& stop) {
  for (;;) {
    const std::optional<Lsn> reached = standby.wal_replayed(deadline);
    const Duration took = clock.now() - asked;
    const std::int64_t missing = bytes_behind(reached, target).value_or(thresholds.bytes);
    const bool there = missing < thresholds.bytes;
    if (there || took >= thresholds.seconds ||
        clock.sleep_for(std::min(pause_after(took), thresholds.seconds - took), stop)) {
      if (!reached) return std::nullopt;
      return CatchUp{asked, target, *reached, took, there ? 0 : missing};
    }
  }
}

std::optional<CatchUp> measure_catch_up(Node& primary, Node& standby, const LagThresholds& thresholds,
                                        const Clock& clock, Duration deadline, const std::stop_token& stop) {
  const Mono asked = clock.now();
  const std::optional<Lsn> target = primary.wal_flushed(deadline);
  if (!target) return std::nullopt;
  return await_replay(standby, asked, *target, thresholds, clock, deadline, stop);
}

std::optional<WalRates> wal_rates(const CatchUp& before, const CatchUp& now) {
  const double between_targets = to_seconds(now.asked - before.asked);
  const double between_replays = to_seconds(now.asked + now.took - before.asked - before.took);
  if (between_targets <= 0 || between_replays <= 0 || now.target < before.target || now.reached < before.reached) {
    return std::nullopt;
  }
  const auto rate = [](Lsn from, Lsn to, double seconds) {
    return static_cast<double>(to.bytes() - from.bytes()) / seconds;
  };
  return WalRates{rate(before.target, now.target, between_targets), rate(before.reached, now.reached, between_replays)};
}

}  // namespace pgrm
