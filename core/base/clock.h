// Time behind a seam, so that waits, streaks and timeouts are tested in milliseconds.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

namespace pgrm {

using Mono = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::system_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
using Seconds = std::chrono::duration<double>;

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Mono now() const = 0;
  virtual WallTime wall() const = 0;
  /// Returns at `until` or as soon as `stop` is requested, whichever is first; true when stop was requested.
  virtual bool sleep_until(Mono until, std::stop_token stop) const = 0;

  bool sleep_for(Duration duration, std::stop_token stop) const { return sleep_until(now() + duration, stop); }
};

/// The machine's own clocks. One instance, stateless.
const Clock& system_clock();

inline double to_seconds(Duration duration) { return Seconds(duration).count(); }
inline Duration from_seconds(double seconds) { return std::chrono::duration_cast<Duration>(Seconds(seconds)); }

/// "2026-01-31T09:05:07.123Z"
std::string to_iso8601(WallTime time);
/// Seconds since 1970-01-01 UTC.
double to_unix(WallTime time);
WallTime from_unix(double seconds);
/// "850 us", "12.3 ms", "4.5 s", "3 min 20 s": for people.
std::string human(Duration duration);

}  // namespace pgrm
