// One deadline that covers several steps.
#pragma once

#include <algorithm>

#include "core/base/clock.h"

namespace pgrm {

class Budget {
 public:
  explicit Budget(Duration total) : end_(system_clock().now() + total) {}
  /// For the next step: a millisecond when nothing is left, because 0 would mean no limit in some places.
  Duration left() const { return std::max<Duration>(end_ - system_clock().now(), std::chrono::milliseconds(1)); }
  bool over() const { return system_clock().now() >= end_; }

 private:
  Mono end_;
};

}  // namespace pgrm
