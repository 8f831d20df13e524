#include "loadgen/histogram.h"

#include <gtest/gtest.h>

#include <vector>

#include "loadgen/random.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, IsZeroWhenEmpty) {
  const Histogram empty;
  EXPECT_EQ(empty.count(), 0U);
  EXPECT_EQ(empty.quantile(0.5), 0ns);
  EXPECT_EQ(empty.max(), 0ns);
}

TEST(Histogram, RoundsUpByLessThanOnePercent) {
  for (std::int64_t nanoseconds = 1; nanoseconds < (std::int64_t{1} << 45); nanoseconds += 1 + nanoseconds / 7) {
    Histogram histogram;
    histogram.record(std::chrono::nanoseconds(nanoseconds));
    const auto found = std::chrono::nanoseconds(histogram.max()).count();
    EXPECT_GE(found, nanoseconds);
    EXPECT_LE(static_cast<double>(found), static_cast<double>(nanoseconds) * 1.01) << nanoseconds;
  }
}

TEST(Histogram, TakesWhatIsOutOfRangeAsTheNearest) {
  Histogram histogram;
  histogram.record(-5s);
  EXPECT_EQ(histogram.max(), 0ns);
  histogram.record(1000h);
  EXPECT_GT(histogram.max(), 9h);
  EXPECT_EQ(histogram.count(), 2U);
}

TEST(Histogram, AgreesWithSorting) {
  Histogram histogram;
  std::vector<std::int64_t> values;
  Random random(5, 6);
  for (int i = 0; i < 10'000; ++i) {
    values.push_back(static_cast<std::int64_t>(random.below(50'000'000)));
    histogram.record(std::chrono::nanoseconds(values.back()));
  }
  std::ranges::sort(values);
  for (const double share : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const auto exact = static_cast<double>(values[static_cast<std::size_t>(share * 10'000) - 1]);
    const auto found = static_cast<double>(std::chrono::nanoseconds(histogram.quantile(share)).count());
    EXPECT_GE(found, exact) << share;
    EXPECT_LE(found, exact * 1.01) << share;
  }
}

TEST(Histogram, CountsUpToALimit) {
  Histogram histogram;
  for (const auto value : {1ms, 2ms, 3ms}) histogram.record(value);
  EXPECT_EQ(histogram.at_most(900us), 0U);
  EXPECT_EQ(histogram.at_most(2500us), 2U);
  EXPECT_EQ(histogram.at_most(10s), 3U);
}

TEST(Histogram, AddsAndSubtracts) {
  Histogram before;
  before.record(1ms);
  Histogram after = before;
  after.record(7ms);
  after.record(8ms);
  const Histogram between = after.since(before);
  EXPECT_EQ(between.count(), 2U);
  EXPECT_EQ(between.sum(), 15ms);
  EXPECT_GT(between.quantile(0.1), 6ms);
  before += between;
  EXPECT_EQ(before.count(), 3U);
  EXPECT_EQ(before.quantile(0.99), after.quantile(0.99));
}

}  // namespace
}  // namespace pgrm::loadgen
