// The one way to wait for a condition on a server: a budget, a poll interval, and a stop.
#pragma once

#include <concepts>

#include "core/base/clock.h"

namespace pgrm {

enum class WaitEnd { reached, timed_out, stopped };

/// Calls `reached()` at once and then every `poll` until it returns true (reached), `budget` is used up (timed_out; the
/// condition was looked at once more after the end of the budget) or `stop` is requested (stopped). What `reached`
/// throws passes through. The caller reports target and position: it alone knows them.
template <std::predicate Condition>
WaitEnd wait_until(const Clock& clock, Duration budget, Duration poll, std::stop_token stop, Condition&& reached) {
  const Mono end = clock.now() + budget;
  for (;;) {
    const bool last = clock.now() >= end;
    if (reached()) return WaitEnd::reached;
    if (stop.stop_requested()) return WaitEnd::stopped;
    if (last) return WaitEnd::timed_out;
    if (clock.sleep_until(std::min(end, clock.now() + poll), stop)) return WaitEnd::stopped;
  }
}

}  // namespace pgrm
