#include "agent/warm/plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

namespace pgrm::agent {
namespace {

using Place = std::pair<RelationFile, std::int64_t>;

Place place_of(const Chunk& chunk) { return {chunk.file, chunk.number}; }

/// The first `count` of the blocks that `bits` has.
std::uint64_t first_of(std::uint64_t bits, std::int64_t count) {
  std::uint64_t some = 0;
  for (; count > 0 && bits != 0; --count) {
    some |= bits & (~bits + 1);
    bits &= bits - 1;
  }
  return some;
}

void append(std::vector<BlockRange>& ranges, const BlockRange& range, bool may_join, std::int64_t longest) {
  if (may_join && !ranges.empty()) {
    BlockRange& last = ranges.back();
    if (last.file == range.file && last.last + 1 == range.first && last.count() + range.count() <= longest) {
      last.last = range.last;
      return;
    }
  }
  ranges.push_back(range);
}

/// Each run of ones in `blocks`, cut to pieces of at most `longest`.
void append_runs(std::vector<BlockRange>& ranges, const Chunk& chunk, std::uint64_t blocks, bool may_join,
                 std::int64_t longest) {
  for (int at = std::countr_zero(blocks); at < Chunk::width;) {
    const int run = std::countr_one(blocks >> at);
    const std::int64_t base = chunk.number * Chunk::width + at;
    for (std::int64_t from = 0; from < run; from += longest) {
      append(ranges, {chunk.file, base + from, base + std::min<std::int64_t>(from + longest, run) - 1}, may_join,
             longest);
    }
    const int next = at + run;
    if (next >= Chunk::width) break;
    at = next + std::countr_zero(blocks >> next);
  }
}

}  // namespace

WarmPlan make_warm_plan(std::vector<Chunk> wanted, const std::vector<Chunk>& held, const WarmLimits& limits) {
  std::map<Place, std::uint64_t> there;
  for (const Chunk& chunk : held) there[place_of(chunk)] |= chunk.blocks;
  // Usage counts are whole numbers: a mean that differs by less is no difference.
  const auto heat = [](const Chunk& chunk) { return std::lround(std::min(chunk.heat, 1e9)); };
  std::ranges::sort(wanted, [&](const Chunk& a, const Chunk& b) {
    return std::tuple(-heat(a), a.file, a.number) < std::tuple(-heat(b), b.file, b.number);
  });

  WarmPlan plan;
  std::vector<std::uint64_t> missing;
  missing.reserve(wanted.size());
  for (const Chunk& chunk : wanted) {
    const auto found = there.find(place_of(chunk));
    missing.push_back(found == there.end() ? chunk.blocks : chunk.blocks & ~found->second);
    plan.wanted += chunk.count();
    plan.held += chunk.count() - std::popcount(missing.back());
  }
  std::int64_t room = std::max<std::int64_t>(0, limits.room - plan.held);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::int64_t lacking = std::popcount(missing[i]);
    const std::int64_t fits = std::min(lacking, room);
    const bool as_hot = i > 0 && heat(wanted[i]) == heat(wanted[i - 1]);
    append_runs(plan.ranges, wanted[i], first_of(missing[i], fits), as_hot, limits.longest);
    room -= fits;
    plan.to_load += fits;
    plan.no_room += lacking - fits;
  }
  return plan;
}

std::size_t batch_from(const std::vector<BlockRange>& ranges, std::size_t begin, std::int64_t most) {
  std::size_t end = begin;
  for (std::int64_t blocks = 0; end < ranges.size(); ++end) {
    blocks += ranges[end].count();
    if (end > begin && (blocks > most || ranges[end].file.database != ranges[begin].file.database)) break;
  }
  return end;
}

}  // namespace pgrm::agent
