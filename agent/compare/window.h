// What an application did to one server between two looks: pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/pg/workload.h"

namespace pgrm::agent {

/// Servers tell what a session has done up to a second late: what is shorter says nothing.
inline constexpr Duration shortest_window = std::chrono::seconds(5);

/// Unknown is nullopt or absent.
struct WorkloadWindow {
  std::string problem{};  // why nothing is known; empty: something is
  WallTime from{}, to{};
  std::optional<double> seconds{};                        // nullopt: nobody knows since when the counters count
  std::map<std::string, double, std::less<>> counters{};  // what was added; of a gauge, what it was in the end
  std::map<std::string, std::string, std::less<>> settings{};
  std::optional<Statements> statements{};
  std::string statements_problem{}, statements_hint{};
  std::vector<std::string> notes{};  // what a person should know about it

  std::optional<double> counter(std::string_view name) const;
  /// Of a counter, by the second.
  std::optional<double> rate(std::string_view name) const;
};

/// REQUIRES: `end` is the later one. Counters that began anew in between are unknown; after a restart, or on another
/// server, everything is.
WorkloadWindow between(const WorkloadSnapshot& begin, const WorkloadSnapshot& end, Duration shortest = shortest_window);

/// Everything since the statistics of that server began, which may be long ago: how much by the second is not known.
WorkloadWindow whole(const WorkloadSnapshot& snapshot);

}  // namespace pgrm::agent
