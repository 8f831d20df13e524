// Fills the future primary's buffers. It leaves nothing behind but a warm cache, wherever it ends.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/warm/survey.h"
#include "core/base/clock.h"

namespace pgrm::agent {

struct WarmMeans {
  Servers& servers;
  const Options& options;
  const Clock& clock;
  std::stop_token stop;
  std::function<void(const std::string&)> tells;  // where it stands, for people
  /// How long the replica may be behind before warming gives up; nullopt: as long as it takes.
  std::optional<Duration> patience{};
  std::optional<Duration> budget{};  // for all of it; nullopt: as long as it takes
};

/// What came of a plan, in blocks.
struct Warmed {
  Loaded blocks;
  std::int64_t failed = 0, gone = 0, unopened = 0, not_reached = 0;
  std::string failure;  // the first one
  std::string ended;    // why it ended before the end of the plan; empty: it did not
  Duration took{};
  Duration yielded{};  // of that, to the replay
};

/// Loads the plan's ranges in their order. Before each piece that takes a fraction of a second it makes sure that the
/// replica keeps up, and waits while it does not. Throws Error when a server cannot be reached any more.
Warmed warm_up(const WarmMeans& means, WarmSurvey& survey);

/// One line: what a person should know.
std::string describe(const WarmSurvey& survey, const Warmed& warmed);
/// The same of a plan that is not carried out.
std::string describe(const WarmSurvey& survey, double rate);

}  // namespace pgrm::agent
