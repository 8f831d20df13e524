#include "loadgen/stats.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/fakes/fake_clock.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;

std::size_t operation(std::string_view name) {
  const auto* const row = std::ranges::find(operations, name, &Operation::name);
  return static_cast<std::size_t>(row - operations.begin());
}

TEST(Stats, CountsByKindAndResult) {
  Stats stats;
  const std::array outcomes{
      Outcome{.number = 0, .operation = operation("insert_user"), .result = Result::acknowledged, .latency = 1ms},
      Outcome{.number = 1, .operation = operation("insert_order"), .result = Result::acknowledged, .latency = 3ms},
      Outcome{.number = 2, .operation = operation("update_stock"), .result = Result::failed, .latency = 9s},
      Outcome{.number = 3, .operation = operation("purge_audit_log"), .result = Result::in_doubt, .latency = 9s},
  };
  stats.add(outcomes);
  const Totals totals = stats.totals();
  EXPECT_EQ(totals.count(Result::acknowledged), 2U);
  EXPECT_EQ(totals.count(Result::failed), 1U);
  EXPECT_EQ(totals.count(Result::in_doubt), 1U);
  EXPECT_EQ(totals.count(Kind::insert, Result::acknowledged), 2U);
  EXPECT_EQ(totals.count(Kind::update, Result::failed), 1U);
  EXPECT_EQ(totals.count(Kind::remove, Result::in_doubt), 1U);
  EXPECT_EQ(totals.all_latencies().count(), 2U) << "of acknowledged operations only";
  EXPECT_LT(totals.all_latencies().max(), 4ms);
}

TEST(Stats, KeepsTheLatenciesOfEachClient) {
  Stats stats(2);
  const std::array outcomes{
      Outcome{.operation = 0, .client = 0, .result = Result::acknowledged, .latency = 1ms},
      Outcome{.operation = 0, .client = 1, .result = Result::acknowledged, .latency = 9ms},
      Outcome{.operation = 0, .client = 1, .result = Result::failed, .latency = 9s},
  };
  stats.add(outcomes);
  const std::vector<Histogram> by_client = stats.by_client();
  ASSERT_EQ(by_client.size(), 2U);
  EXPECT_EQ(by_client[0].count(), 1U);
  EXPECT_LT(by_client[0].max(), 2ms);
  EXPECT_EQ(by_client[1].count(), 1U);
  EXPECT_GE(by_client[1].max(), 9ms);
  EXPECT_LT(by_client[1].max(), 10ms);
  EXPECT_EQ(stats.totals().all_latencies().count(), 2U);
}

TEST(Stats, TellsAnIntervalFromTheWhole) {
  Stats stats;
  const Outcome outcome{.operation = operation("insert_user"), .result = Result::acknowledged, .latency = 1ms};
  stats.add({&outcome, 1});
  stats.refused(Kind::insert, "40001");
  stats.connected();
  const Totals before = stats.totals();
  stats.add({&outcome, 1});
  stats.add({&outcome, 1});
  stats.refused(Kind::insert, "40001");
  const Totals between = stats.totals().since(before);
  EXPECT_EQ(between.count(Result::acknowledged), 2U);
  EXPECT_EQ(between.all_latencies().count(), 2U);
  EXPECT_EQ(between.refused(), 1U);
  EXPECT_EQ(between.connections_opened, 0U);
}

TEST(SqlstateClass, IsTheFirstTwoCharactersOrOther) {
  EXPECT_EQ(sqlstate_classes[sqlstate_class("25006")], "25");
  EXPECT_EQ(sqlstate_classes[sqlstate_class("08006")], "08");
  EXPECT_EQ(sqlstate_classes[sqlstate_class("XX000")], "other");
  EXPECT_EQ(sqlstate_classes[sqlstate_class("")], "other");
}

class WriteGapTest : public testing::Test {
 protected:
  void commit_after(Duration pause) {
    clock_.advance(pause);
    gap_.commit();
  }
  Duration longest(WriteGap::Window window = WriteGap::Window::run) const { return gap_.longest(window)->length; }

  FakeClock clock_;
  WriteGap gap_{clock_};
};

TEST_F(WriteGapTest, IsUnknownBeforeTheFirstCommit) { EXPECT_FALSE(gap_.longest(WriteGap::Window::run)); }

TEST_F(WriteGapTest, IsTheLongestTimeBetweenTwoCommits) {
  for (const auto pause : {5s, 10s, 30s, 20s}) commit_after(pause);  // nothing was written before the first: no gap
  EXPECT_EQ(longest(), 30s);
  EXPECT_FALSE(gap_.longest(WriteGap::Window::run)->open);
  // It began 20 s + 30 s ago.
  EXPECT_EQ(clock_.wall() - gap_.longest(WriteGap::Window::run)->began, 50s);
}

TEST_F(WriteGapTest, GrowsWhileNobodyCanWrite) {
  commit_after(1s);
  commit_after(1s);
  clock_.advance(400ms);
  EXPECT_EQ(longest(), 1s);
  clock_.advance(2s);
  const auto open = gap_.longest(WriteGap::Window::run);
  EXPECT_EQ(open->length, 2400ms);
  EXPECT_TRUE(open->open);
  EXPECT_EQ(clock_.wall() - open->began, 2400ms);
  gap_.commit();
  EXPECT_EQ(longest(), 2400ms);
  EXPECT_FALSE(gap_.longest(WriteGap::Window::run)->open);
}

TEST_F(WriteGapTest, AWindowForgetsWhatWasBeforeIt) {
  for (const auto pause : {1s, 9s, 1s}) commit_after(pause);
  gap_.restart(WriteGap::Window::pause);
  commit_after(3s);
  EXPECT_EQ(longest(WriteGap::Window::pause), 3s);
  EXPECT_EQ(longest(WriteGap::Window::run), 9s);
}

TEST_F(WriteGapTest, AGapThatIsOpenWhenItsWindowBeginsCountsInFull) {
  commit_after(1s);
  clock_.advance(2s);
  gap_.restart(WriteGap::Window::report);
  commit_after(2s);
  EXPECT_EQ(longest(WriteGap::Window::report), 4s);
}

}  // namespace
}  // namespace pgrm::loadgen
