// A look at the buffers of both servers: what the old primary keeps, what of it the future primary has, and how the
// rest can get there. Changes nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/servers.h"
#include "agent/warm/plan.h"

namespace pgrm::agent {

/// How warm the future primary is, in bytes.
struct Warmth {
  std::int64_t wanted = 0, held = 0, to_load = 0, no_room = 0;  // as in WarmPlan
  std::string problem{}, hint{};                                // not empty: it is not known
};

/// One database of the future primary.
struct WarmDatabase {
  std::string name{};
  std::unique_ptr<Buffers> session{};  // nullptr: nothing can be loaded, see problem
  std::string way{};                   // "pg_prewarm", "tables only"
  std::string problem{}, hint{};       // why nothing, or only tables, can be loaded, and what to type; empty: all of it
  std::int64_t to_load = 0;            // blocks
};

struct WarmSurvey {
  WarmPlan plan;
  std::int64_t block_size = 8192;
  std::string source;                               // what the plan goes by: "pg_buffercache" or "pg_statio"
  bool held_known = true;                           // else what is there already is loaded again
  std::map<std::uint32_t, WarmDatabase> databases;  // that the plan has ranges of; 0: shared catalogs
  std::vector<std::string> advice;                  // what is missing, and what to type

  std::int64_t bytes(std::int64_t blocks) const { return blocks * block_size; }
};

/// Never throws Error: what is not seen is a problem.
Warmth how_warm(const Server& old_primary, const Server& future_primary, const PairByRole& pair, Duration deadline);

/// Throws Error when one of the servers cannot be asked.
WarmSurvey survey_buffers(const Server& old_primary, const Server& future_primary, const PairByRole& pair,
                          Duration deadline);

/// "0.5 s at 100 MB/s": how long so many bytes take. `rate` in megabytes per second; 0: a guess is named.
std::string warming_time(std::int64_t bytes, double rate);

}  // namespace pgrm::agent
