// A part of every day, in the time zone of the agent's host, in which writes may be stopped: "02:00-04:00".
#pragma once

#include <string>

#include "core/base/clock.h"

namespace pgrm::agent {

struct DailyWindow {
  int from = 0, to = 0;  // minutes after midnight; `to` is no part of it, and may be on the next day

  bool contains(WallTime at) const;
  std::string text() const;
};

/// Throws Error(configuration).
DailyWindow parse_daily_window(const std::string& text);

}  // namespace pgrm::agent
