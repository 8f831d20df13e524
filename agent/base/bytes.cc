#include "agent/base/bytes.h"

#include <fmt/format.h>

#include <array>

namespace pgrm::agent {

std::string human_bytes(std::int64_t bytes) {
  static constexpr std::array units{"B", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units.at(unit));
}

}  // namespace pgrm::agent
