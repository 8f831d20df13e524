// When operations may start: a fixed schedule, and a gate that a cutover shuts.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include "core/base/clock.h"

namespace pgrm::loadgen {

/// Open loop: operation n is due at start + n / rate whatever became of those before it, so that a slow server shows in
/// latencies counted from the due time instead of in fewer operations. Thread-safe.
class Pacer {
 public:
  struct Turn {
    std::uint64_t number;  // 0, 1, 2, … without gaps
    Mono due;
  };

  /// Born paused: resume() starts the schedule. `ops_per_second` 0 is a closed loop: everything is due at once.
  Pacer(const Clock& clock, double ops_per_second);

  /// Waits for the next operation to be due; the caller's turn is then in flight until done(). nullopt after end().
  std::optional<Turn> next();
  /// Between two attempts at one turn: lets a pause through, during which the turn is not in flight. False after end():
  /// then the turn is over without done().
  bool again();
  void done();

  /// Nothing starts any more; the schedule stands still, too. True when nothing is in flight, false when `budget` (real
  /// time) was used up or somebody resumed meanwhile. Harmless when paused.
  bool pause(Duration budget);
  void resume();
  /// From now on; what was late is forgotten.
  void set_rate(double ops_per_second);
  /// For good: wakes everybody.
  void end();

  bool paused() const;
  int in_flight() const;
  double rate() const;

 private:
  Mono due(std::uint64_t number) const;
  void interrupt();
  void leave();

  const Clock& clock_;
  mutable std::mutex mutex_;
  // One client waits for the time, the others for its place: one wake-up per operation, however many clients there are.
  bool someone_waits_for_time_ = false;
  std::condition_variable place_;
  std::condition_variable opened_;
  std::condition_variable drained_;
  std::stop_source time_changed_;  // wakes the client that waits for the time

  double rate_;
  Mono origin_;  // when operation base_ is due
  std::uint64_t base_ = 0;
  std::uint64_t next_ = 0;
  std::optional<Mono> paused_since_;
  int in_flight_ = 0;
  bool ended_ = false;
};

}  // namespace pgrm::loadgen
