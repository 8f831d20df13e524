#include "agent/warm/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

namespace pgrm {
void PrintTo(const BlockRange& range, std::ostream* out) {
  *out << range.file.database << "/" << range.file.file << "." << range.file.fork << " " << range.first << "-"
       << range.last;
}
}  // namespace pgrm

namespace pgrm::agent {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t all = ~std::uint64_t{0};
constexpr WarmLimits plenty{.room = 1'000'000, .longest = 128};
constexpr RelationFile table{6, 1663, 100, 0}, index{6, 1663, 101, 0}, elsewhere{7, 1663, 100, 0};

TEST(WarmPlan, NothingKeptIsNothingToDo) {
  const WarmPlan plan = make_warm_plan({}, {}, plenty);
  EXPECT_TRUE(plan.ranges.empty());
  EXPECT_EQ(plan.wanted, 0);
}

TEST(WarmPlan, TheHottestComesFirst) {
  const WarmPlan plan = make_warm_plan({{table, 0, 1, 1.2}, {index, 0, 1, 5}, {elsewhere, 0, 1, 3}}, {}, plenty);
  EXPECT_THAT(plan.ranges, ElementsAre(BlockRange{index, 0, 0}, BlockRange{elsewhere, 0, 0}, BlockRange{table, 0, 0}));
}

TEST(WarmPlan, WhatIsAsHotIsReadSideBySideInOneRange) {
  const WarmPlan plan = make_warm_plan({{table, 1, all, 2.1}, {index, 0, 0b1100, 2}, {table, 0, all, 1.9}}, {}, plenty);
  EXPECT_THAT(plan.ranges, ElementsAre(BlockRange{table, 0, 127}, BlockRange{index, 2, 3}));
  EXPECT_EQ(plan.to_load, 130);
}

TEST(WarmPlan, ARangeIsCutToItsLongest) {
  const WarmPlan plan = make_warm_plan({{table, 0, all, 2}, {table, 1, all, 2}}, {}, {.room = 1000, .longest = 50});
  std::int64_t next = 0;
  for (const BlockRange& range : plan.ranges) {
    EXPECT_EQ(range.first, next);
    EXPECT_LE(range.count(), 50);
    next = range.last + 1;
  }
  EXPECT_EQ(next, 128);
}

TEST(WarmPlan, HolesAreNotRead) {
  const WarmPlan plan = make_warm_plan({{table, 2, 0x8000'0000'0000'0101, 4}}, {}, plenty);
  EXPECT_THAT(plan.ranges,
              ElementsAre(BlockRange{table, 128, 128}, BlockRange{table, 136, 136}, BlockRange{table, 191, 191}));
}

TEST(WarmPlan, WhatIsHeldIsLeftOut) {
  const WarmPlan plan = make_warm_plan({{table, 0, 0xff, 4}}, {{table, 0, 0x0f, 1}, {index, 0, all, 5}}, plenty);
  EXPECT_THAT(plan.ranges, ElementsAre(BlockRange{table, 4, 7}));
  EXPECT_EQ(plan.held, 4);
}

TEST(WarmPlan, AnotherForkIsAnotherFile) {
  const WarmPlan plan = make_warm_plan({{{6, 1663, 100, 2}, 0, 1, 4}}, {{table, 0, all, 1}}, plenty);
  EXPECT_THAT(plan.ranges, ElementsAre(BlockRange{{6, 1663, 100, 2}, 0, 0}));
}

TEST(WarmPlan, WhatHasNoRoomIsTheColdest) {
  const WarmPlan plan = make_warm_plan({{table, 0, 0xff, 1}, {index, 0, 0xff, 5}, {elsewhere, 0, 0xff, 3}},
                                       {{index, 0, 0x0f, 5}}, {.room = 14, .longest = 128});
  EXPECT_THAT(plan.ranges, ElementsAre(BlockRange{index, 4, 7}, BlockRange{elsewhere, 0, 5}));
  EXPECT_EQ(plan.to_load, 10);
  EXPECT_EQ(plan.no_room, 10);
}

/// Every block that is wanted is held, or in exactly one range, or has no room.
TEST(WarmPlan, NoBlockIsLostOrReadTwice) {
  std::mt19937_64 random(7);  // NOLINT(cert-msc51-cpp): the same every time
  for (int round = 0; round < 200; ++round) {
    std::vector<Chunk> wanted, held;
    std::set<std::tuple<RelationFile, std::int64_t>> missing;
    for (std::uint32_t file = 1; file < 4; ++file) {
      for (std::int64_t number = 0; number < 5; ++number) {
        const RelationFile of{5, 1663, file, 0};
        const std::uint64_t keeps = random() & random(), has = random() & random();
        wanted.push_back({of, number, keeps, static_cast<double>(random() % 6)});
        held.push_back({of, number, has, 1});
        for (int bit = 0; bit < 64; ++bit) {
          if (((keeps & ~has) >> bit & 1U) != 0) missing.insert({of, number * 64 + bit});
        }
      }
    }
    std::ranges::shuffle(wanted, random);
    const WarmLimits limits{.room = static_cast<std::int64_t>(random() % 600),
                            .longest = static_cast<std::int64_t>(1 + random() % 100)};
    const WarmPlan plan = make_warm_plan(wanted, held, limits);
    std::int64_t blocks = 0;
    for (const BlockRange& range : plan.ranges) {
      ASSERT_LE(range.first, range.last);
      ASSERT_LE(range.count(), limits.longest);
      blocks += range.count();
      for (std::int64_t block = range.first; block <= range.last; ++block) {
        ASSERT_EQ(missing.erase({range.file, block}), 1U);
      }
    }
    EXPECT_EQ(plan.to_load, blocks);
    EXPECT_EQ(plan.no_room, static_cast<std::int64_t>(missing.size()));
    EXPECT_EQ(plan.wanted, plan.held + plan.to_load + plan.no_room);
    EXPECT_LE(plan.held + plan.to_load, std::max(limits.room, plan.held));
  }
}

TEST(WarmBatch, IsOfOneDatabaseAndNoLongerThanAllowed) {
  const std::vector<BlockRange> ranges{{table, 0, 9}, {index, 0, 9}, {index, 20, 29}, {elsewhere, 0, 0}};
  EXPECT_EQ(batch_from(ranges, 0, 20), 2U);
  EXPECT_EQ(batch_from(ranges, 0, 1000), 3U);
  EXPECT_EQ(batch_from(ranges, 0, 1), 1U) << "at least one, so that it goes on";
  EXPECT_EQ(batch_from(ranges, 3, 20), 4U);
  EXPECT_EQ(batch_from(ranges, 4, 20), 4U);
}

}  // namespace
}  // namespace pgrm::agent
