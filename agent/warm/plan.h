// What has to be loaded, in which order, in which pieces: pure.
#pragma once

#include <cstdint>
#include <vector>

#include "core/pg/buffers.h"

namespace pgrm::agent {

/// All counts in blocks.
struct WarmPlan {
  std::vector<BlockRange> ranges;  // in the order of loading
  std::int64_t wanted = 0;         // what the old primary keeps
  std::int64_t held = 0;           // of that, what the future primary has already
  std::int64_t to_load = 0;        // in `ranges`
  std::int64_t no_room = 0;        // the coldest, which its buffers have no room for
};

struct WarmLimits {
  std::int64_t room = 0;     // blocks that the future primary has buffers for
  std::int64_t longest = 0;  // blocks of one range
};

/// The hottest first, and what is as hot in the order of files and blocks, so that it is read side by side. What lies
/// side by side and is as hot is one range. `held`, in any order, is left out; where it is not known it is empty.
WarmPlan make_warm_plan(std::vector<Chunk> wanted, const std::vector<Chunk>& held, const WarmLimits& limits);

/// Ranges from `begin` on that make one statement: of one database, together at most `most` blocks, and at least one.
std::size_t batch_from(const std::vector<BlockRange>& ranges, std::size_t begin, std::int64_t most);

}  // namespace pgrm::agent
