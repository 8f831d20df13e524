// How long the standby takes to replay what the primary has on disk at one moment: measured, whatever is written
// meanwhile. That is also the time in which it will have the last of the WAL once writes stop.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "core/base/clock.h"
#include "core/pg/node.h"

namespace pgrm {

/// In sync: fewer bytes than this are missing of what the primary had, in less time than this.
struct LagThresholds {
  std::int64_t bytes = 1024;
  Duration seconds = std::chrono::seconds(1);

  bool operator==(const LagThresholds&) const = default;
};

/// What one probe found.
struct CatchUp {
  Mono asked{};                // when the primary was asked for its position
  Lsn target{0}, reached{0};   // that position, and the standby's replay position in the end
  Duration took{};             // from `asked` until then
  std::int64_t remaining = 0;  // bytes of `target` not replayed in the end; 0 when it got there

  bool in_time(const LagThresholds& thresholds) const { return remaining == 0 && took < thresholds.seconds; }
};

/// Bytes from `reached` to `target`, 0 when `reached` is at or past it.
std::optional<std::int64_t> bytes_behind(std::optional<Lsn> reached, std::optional<Lsn> target);

/// Asks `standby` for its replay position until fewer than `thresholds.bytes` of `target` are missing, for at most
/// `thresholds.seconds` since `asked`; at least once. `deadline` is for each question. nullopt: it has replayed
/// nothing. With `stop` it ends early, with what it has. Throws what Node::wal_replayed() throws.
std::optional<CatchUp> await_replay(Node& standby, Mono asked, Lsn target, const LagThresholds& thresholds,
                                    const Clock& clock, Duration deadline, const std::stop_token& stop = {});

/// The whole check: the primary's flush position, then await_replay(). By role: `primary` is the server out of
/// recovery. nullopt: it is not, or see above. Throws what the questions throw.
std::optional<CatchUp> measure_catch_up(Node& primary, Node& standby, const LagThresholds& thresholds,
                                        const Clock& clock, Duration deadline, const std::stop_token& stop = {});

/// Bytes per second between two probes.
struct WalRates {
  double written, replayed;
};

/// nullopt when a position went back: that is another history.
std::optional<WalRates> wal_rates(const CatchUp& before, const CatchUp& now);

}  // namespace pgrm
