// A new primary is watched for a while: how the application fares there, compared with before, and whether there is a
// way back without loss.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "agent/base/options.h"
#include "agent/base/servers.h"
#include "agent/compare/compare.h"
#include "agent/compare/record.h"

namespace pgrm::agent {

/// What the old primary is to the new one now.
struct WayBack {
  bool streams = false;                  // it is a standby of the new one, and its connection is there
  std::optional<std::int64_t> behind{};  // bytes that it has not replayed
  std::string type{};                    // what to type to switch back without loss

  /// One line, with what to type.
  std::string text() const;
};

/// Asks the new primary, and never throws Error: what is not seen does not stream.
WayBack way_back(Node& new_primary, const Options& options);

/// What is seen so far.
struct WatchedSoFar {
  Comparison comparison;
  WayBack back;
};

struct WatchMeans {
  Server& new_primary;
  const Options& options;
  const Clock& clock;
  std::stop_token stop;                              // ends the watch
  std::function<void(const std::string&)> tells;     // where it stands, for people
  std::function<void(const WatchedSoFar&)> shows{};  // the same for programs; may be empty
};

/// Looks for `options.watch_after`, or until `stop`, and compares what it has seen with `record`. Never throws Error: a
/// server that does not answer is told, and asked again. `record.opened` is taken first when it is not there.
WatchedSoFar watch_after(const WatchMeans& means, WorkloadRecord& record);

/// Asks `server` once. nullopt: it cannot be asked, and `problem` says why.
std::optional<WorkloadSnapshot> try_look(const Server& server, Duration deadline, std::string& problem);

/// Asks `server` for the texts of what is told. Never throws Error: without them a statement has its number.
void name_statements(Comparison& comparison, const Server& server, Duration deadline);

}  // namespace pgrm::agent
