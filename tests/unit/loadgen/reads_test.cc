#include "loadgen/reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "loadgen/report.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;

std::vector<int> counts_by_popularity(int draws) {
  std::map<std::string, int> counts;
  for (int i = 0; i < draws; ++i) {
    Random random(7, static_cast<std::uint64_t>(i));
    ++counts[popular_position(random)];
  }
  std::vector<int> sorted;
  for (const auto& [position, count] : counts) sorted.push_back(count);
  std::ranges::sort(sorted, std::greater());
  return sorted;
}

TEST(Reads, AFewKeysAreAskedForMostOfTheTime) {
  constexpr int draws = 200'000;
  const std::vector<int> counts = counts_by_popularity(draws);
  // Of the ranks below n, ln(n) / ln(1,000,000): the first hundred get a third, and half of all draws hit the first
  // 1,000.
  int first_hundred = 0, first_thousand = 0;
  for (std::size_t i = 0; i < 1000; ++i) (i < 100 ? first_hundred : first_thousand) += counts.at(i);
  first_thousand += first_hundred;
  EXPECT_NEAR(first_hundred, draws / 3.0, draws * 0.03);
  EXPECT_NEAR(first_thousand, draws / 2.0, draws * 0.03);
  EXPECT_NEAR(counts.at(0), 2.0 * counts.at(2), counts.at(0) * 0.5) << "the n-th about 1/n times as often";
  EXPECT_GT(counts.size(), 10'000U) << "and the others are asked for, too";
}

TEST(Reads, PopularKeysLieScattered) {
  std::array<int, 10> tenths{};
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    Random random(7, i);
    ++tenths.at(static_cast<std::size_t>(std::stod(popular_position(random)) * 10));
  }
  EXPECT_GT(*std::ranges::min_element(tenths), 0);
  EXPECT_LT(*std::ranges::max_element(tenths), 50'000);
}

TEST(Reads, TotalsOfAnIntervalAreWhatWasAdded) {
  ReadStats stats;
  const Mono start{10s};
  stats.answered(ReadKind::lookup, start, start + 1ms);
  const ReadTotals before = stats.totals();
  stats.answered(ReadKind::join, start, start + 3ms);
  stats.failed();
  const ReadTotals part = stats.totals().since(before);
  EXPECT_EQ(part.count(), 1U);
  EXPECT_EQ(part.failed, 1U);
  EXPECT_EQ(reads_part(part, 2s), "0.5 reads/s  p50 3.0 ms  p99 3.0 ms  max 3.0 ms  errors 1");
  const nlohmann::json json = to_json(stats.totals(), 1s);
  EXPECT_EQ(json.at("by_read").at("lookup").at("count"), 1);
  EXPECT_EQ(json.at("reads_per_second"), 2.0);
}

TEST(Reads, AWindowHasThoseThatWereDueInIt) {
  ReadStats stats;
  const Mono start{10s};
  EXPECT_FALSE(stats.window());
  stats.answered(ReadKind::lookup, start, start + 1ms);
  stats.begin_window(start + 100ms);
  stats.answered(ReadKind::lookup, start + 50ms, start + 200ms);
  stats.answered(ReadKind::join, start + 100ms, start + 103ms);
  stats.failed();
  ASSERT_TRUE(stats.window());
  EXPECT_EQ(stats.window()->began, start + 100ms);
  EXPECT_EQ(stats.window()->totals.count(), 1U);
  EXPECT_EQ(stats.window()->totals.failed, 1U);
  EXPECT_EQ(stats.totals().count(), 3U);
}

}  // namespace
}  // namespace pgrm::loadgen
