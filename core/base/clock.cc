#include "core/base/clock.h"

#include <fmt/format.h>

#include <cmath>
#include <condition_variable>
#include <ctime>
#include <mutex>

namespace pgrm {
namespace {

class SystemClock final : public Clock {
 public:
  Mono now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
  bool sleep_until(Mono until, std::stop_token stop) const override {
    std::mutex mutex;
    std::condition_variable_any condition;
    std::unique_lock lock(mutex);
    condition.wait_until(lock, stop, until, [] { return false; });
    return stop.stop_requested();
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

std::string to_iso8601(WallTime time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = millis / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, millis % 1000);
}

double to_unix(WallTime time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

WallTime from_unix(double seconds) {
  // A double carries today's time to a quarter of a microsecond: more digits would be noise.
  return WallTime(std::chrono::round<std::chrono::microseconds>(Seconds(seconds)));
}

std::string human(Duration duration) {
  const double s = to_seconds(duration);
  if (std::abs(s) < 1e-3) return fmt::format("{:.0f} us", s * 1e6);
  if (std::abs(s) < 1) return fmt::format("{:.1f} ms", s * 1e3);
  if (std::abs(s) < 60) return fmt::format("{:.1f} s", s);
  const auto whole = static_cast<long>(s);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

}  // namespace pgrm
