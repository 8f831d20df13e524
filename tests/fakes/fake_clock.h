// A clock that stands still until somebody moves it: waits of minutes are tested in no time.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "core/base/clock.h"

namespace pgrm {

/// Thread-safe.
class FakeClock final : public Clock {
 public:
  enum class Sleep {
    jumps,   // a thread that sleeps moves the clock to the end of its sleep and goes on at once: one thread under test
    blocks,  // sleepers stay asleep until advance() or a stop: several threads under test
  };

  explicit FakeClock(Sleep sleep = Sleep::jumps) : sleep_(sleep) {}

  Mono now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  WallTime wall() const override {
    const std::lock_guard lock(mutex_);
    return from_unix(1'800'000'000) + std::chrono::duration_cast<WallTime::duration>(now_ - Mono());
  }

  bool sleep_until(Mono until, std::stop_token stop) const override {
    std::unique_lock lock(mutex_);
    slept_.push_back(std::max(until - now_, Duration::zero()));
    if (stop.stop_requested()) return true;
    if (sleep_ == Sleep::jumps) {
      now_ = std::max(now_, until);
      return false;
    }
    ++sleeping_;
    changed_.notify_all();
    changed_.wait(lock, stop, [&] { return now_ >= until; });
    --sleeping_;
    return stop.stop_requested();
  }

  void advance(Duration by) {
    const std::lock_guard lock(mutex_);
    now_ += by;
    changed_.notify_all();
  }

  /// Blocks until `count` threads are in sleep_until. REQUIRES: Sleep::blocks.
  void wait_for_sleepers(int count) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sleeping_ == count; });
  }

  /// How long each sleep was asked to be, in order.
  std::vector<Duration> slept() const {
    const std::lock_guard lock(mutex_);
    return slept_;
  }

 private:
  const Sleep sleep_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  mutable Mono now_ = Mono(std::chrono::hours(1));
  mutable std::vector<Duration> slept_;
  mutable int sleeping_ = 0;
};

}  // namespace pgrm
