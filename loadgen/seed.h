// `loadgen seed`: the schema, and as many rows as were asked for.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <stop_token>

#include "core/base/clock.h"
#include "core/pg/conninfo.h"

namespace pgrm::loadgen {

struct SeedOptions {
  std::int64_t users = 1000;
  std::int64_t products = 500;
  std::int64_t orders = 2000;  // of one to five items each
  std::int64_t seed = 1;       // the same seed and counts: the same rows
  bool reset = false;          // drop loadgen's tables first
};

/// The largest count of anything.
inline constexpr std::int64_t max_rows = 1'000'000'000;

/// Creates what is missing, in pieces that are each committed: after an interruption the next call goes on, and when
/// all is there it says so. False when `stop` came first. Progress goes to `out`; on a terminal (`live`) the line is
/// rewritten. Throws Error(configuration) when the counts cannot be or the database is seeded with others, and what
/// Session throws.
bool seed(const Conninfo& server, const SeedOptions& options, const Clock& clock, const std::stop_token& stop,
          std::ostream& out, bool live);

}  // namespace pgrm::loadgen
