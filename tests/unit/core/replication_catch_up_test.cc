#include "core/replication/catch_up.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/error.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr LagThresholds thresholds{.bytes = 1024, .seconds = seconds(1)};
constexpr Duration deadline = seconds(2);

struct CatchUpProbe : testing::Test {
  std::optional<CatchUp> probe(const std::stop_token& stop = {}) {
    return measure_catch_up(*primary, *replica, thresholds, clock, deadline, stop);
  }
  long asked(const std::string& call) { return std::ranges::count(cluster.calls, call); }

  FakeClock clock;
  FakeCluster cluster;
  std::unique_ptr<Node> primary = cluster.node(Side::primary);
  std::unique_ptr<Node> replica = cluster.node(Side::replica);
};

TEST_F(CatchUpProbe, OfAnIdlePairIsOneQuestionToEach) {
  const auto found = probe();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->remaining, 0);
  EXPECT_EQ(found->took, Duration::zero());
  EXPECT_TRUE(found->in_time(thresholds));
  EXPECT_EQ(cluster.calls, (std::vector<std::string>{"primary.wal_flushed", "replica.wal_replayed"}));
  EXPECT_TRUE(clock.slept().empty());
}

TEST_F(CatchUpProbe, IsAboutAFixedPositionHoweverMuchIsWrittenMeanwhile) {
  cluster.streams = false;
  cluster.write(50'000'000);
  const Lsn target = *cluster.primary.state.wal_flush;
  int looks = 0;
  cluster.before = [&](const std::string& call) {
    if (call != "replica.wal_replayed") return;
    if (++looks == 3) cluster.replay_all();
    cluster.write(50'000'000);
  };
  const auto found = probe();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->target, target);
  EXPECT_EQ(found->remaining, 0);
  EXPECT_EQ(found->took, milliseconds(4)) << "two pauses";
  EXPECT_TRUE(found->in_time(thresholds));
}

TEST_F(CatchUpProbe, EndsAtTheThresholdWithWhatIsMissing) {
  cluster.streams = false;
  cluster.write(50'000);
  const auto found = probe();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->remaining, 50'000);
  EXPECT_EQ(found->took, thresholds.seconds);
  EXPECT_FALSE(found->in_time(thresholds));
  EXPECT_LT(asked("replica.wal_replayed"), 300) << "a standby that is far behind is not kept busy";
  EXPECT_EQ(asked("primary.wal_flushed"), 1);
}

TEST_F(CatchUpProbe, IsThereWhenFewerBytesThanTheThresholdAreMissing) {
  cluster.streams = false;
  cluster.write(1023);
  EXPECT_EQ(probe()->remaining, 0);
  cluster.write(1);
  EXPECT_EQ(probe()->remaining, 1024);
}

TEST_F(CatchUpProbe, WhatComesAfterTheThresholdIsTooLate) {
  cluster.streams = false;
  cluster.write(50'000);
  cluster.before = [&](const std::string& call) {
    if (call != "replica.wal_replayed") return;
    clock.advance(seconds(1));  // a slow answer
    cluster.replay_all();
  };
  const auto found = probe();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->remaining, 0);
  EXPECT_FALSE(found->in_time(thresholds));
}

TEST_F(CatchUpProbe, IsUnknownWithoutAPrimary) {
  cluster.primary.state.in_recovery = true;
  EXPECT_FALSE(probe());
  EXPECT_EQ(asked("replica.wal_replayed"), 0);
}

TEST_F(CatchUpProbe, IsUnknownWhileNothingWasEverReplayed) {
  cluster.replica.state.wal_replay.reset();
  EXPECT_FALSE(probe());
}

TEST_F(CatchUpProbe, PassesOnWhatAServerFailsWith) {
  cluster.streams = false;
  cluster.write(50'000);
  cluster.before = [&](const std::string& call) {
    if (call == "replica.wal_replayed" && asked(call) == 3) throw Error(ErrorCode::timeout, "no answer");
  };
  EXPECT_THROW(probe(), Error);
}

TEST_F(CatchUpProbe, EndsEarlyWhenItIsTold) {
  cluster.streams = false;
  cluster.write(50'000);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(probe(stop.get_token())->took, Duration::zero());
}

TEST(WalRates, AreWhatLiesBetweenTwoProbes) {
  const Mono start{};
  const CatchUp before{.asked = start, .target = Lsn(1000), .reached = Lsn(500), .took = seconds(1), .remaining = 500};
  CatchUp now{.asked = start + seconds(5),
              .target = Lsn(6000),
              .reached = Lsn(2500),
              .took = milliseconds(0),
              .remaining = 3500};
  ASSERT_TRUE(wal_rates(before, now));
  EXPECT_DOUBLE_EQ(wal_rates(before, now)->written, 1000);
  EXPECT_DOUBLE_EQ(wal_rates(before, now)->replayed, 500);
  now.reached = Lsn(400);
  EXPECT_FALSE(wal_rates(before, now)) << "another history";
  EXPECT_FALSE(wal_rates(before, before)) << "no time has passed";
}

}  // namespace
}  // namespace pgrm
