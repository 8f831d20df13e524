#include "exporter/sampler.h"

#include <gtest/gtest.h>

#include <memory>
#include <semaphore>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = std::chrono::seconds(5)};

/// A sampler over two servers in memory. Each stands in a cluster of its own, because the sampler looks at them from
/// two threads; nothing flows between them.
struct Rig {
  explicit Rig(const Clock& clock, const SyncPolicy& with = policy)
      : sampler(primary.node(Side::primary), replica.node(Side::replica), with, clock, pool) {}
  FakeCluster primary, replica;
  Pool pool;
  Sampler sampler;
};

/// A sampler over one pair in memory. Only what asks one server after the other may use it: see above.
struct PairRig {
  explicit PairRig(const Clock& clock, const SyncPolicy& with = policy, Side primary = Side::primary,
                   Side replica = Side::replica)
      : sampler(cluster.node(primary), cluster.node(replica), with, clock, pool) {}

  /// The next check finds the replica `bytes` behind.
  void fall_behind(std::uint64_t bytes) {
    cluster.streams = false;
    cluster.write(bytes);
  }
  /// It catches up when it is asked for its position for the nth time.
  void catch_up_at(int nth) {
    cluster.before = [this, nth, asked = 0](const std::string& call) mutable {
      if (call.ends_with("wal_replayed") && ++asked == nth) cluster.replay_all();
    };
  }
  std::vector<std::string> reasons() const {
    const View view = sampler.view();
    std::vector<std::string> names;
    for (const SyncReason& reason : view.streak().reasons()) names.push_back(reason.name);
    return names;
  }

  FakeCluster cluster;
  Pool pool;
  Sampler sampler;
};

/// While it exists, a look at the server hangs.
class Hang {
 public:
  explicit Hang(FakeCluster& cluster) {
    cluster.before = [this](const std::string&) {
      hanging_.release();
      answer_.acquire();
      answer_.release();
    };
  }
  ~Hang() { answer_.release(); }
  void await() { hanging_.acquire(); }

 private:
  std::counting_semaphore<> hanging_{0}, answer_{0};
};

TEST(Sampler, KnowsNothingBeforeItStarts) {
  const FakeClock clock;
  const Rig rig(clock);
  EXPECT_FALSE(rig.sampler.view().observed());
}

TEST(Sampler, ObservesAtOnceAndThenOnItsOwnTimer) {
  FakeClock clock(FakeClock::Sleep::blocks);
  Rig rig(clock);
  rig.sampler.start();
  clock.wait_for_sleepers(1);
  EXPECT_EQ(rig.sampler.latest()->sample.generation, 1U);
  EXPECT_EQ(clock.slept().back(), policy.interval);
}

TEST(Sampler, CountsByItsOwnRoundsHoweverOftenItIsAsked) {
  const FakeClock clock;
  Rig asked(clock);
  Rig ignored(clock);
  for (int i = 1; i <= 3; ++i) {
    asked.sampler.round();
    ignored.sampler.round();
    for (int scrape = 0; scrape < 10; ++scrape) EXPECT_EQ(asked.sampler.view().streak().consecutive(), i);
  }
  EXPECT_EQ(ignored.sampler.view().streak().consecutive(), 3);
}

TEST(Sampler, AnObservationOnceTakenNeverChanges) {
  const FakeClock clock;
  Rig rig(clock);
  rig.sampler.round();
  const auto first = rig.sampler.latest();
  rig.sampler.round();
  EXPECT_EQ(first->sample.generation, 1U);
  EXPECT_EQ(rig.sampler.latest()->sample.generation, 2U);
}

TEST(Sampler, SeesAServerComeBack) {
  const FakeClock clock;
  Rig rig(clock);
  rig.replica.replica.up = false;
  rig.sampler.round();
  EXPECT_EQ(rig.sampler.view().server(Side::replica), nullptr);
  EXPECT_EQ(rig.sampler.view().streak().reasons().front().name, "replica_unreachable");
  rig.replica.replica.up = true;
  rig.sampler.round();
  EXPECT_NE(rig.sampler.view().server(Side::replica), nullptr);
  EXPECT_TRUE(rig.sampler.view().streak().in_sync());
}

TEST(Sampler, AnswersWhileAServerHangs) {
  Rig rig(system_clock());
  Hang hang(rig.replica);
  rig.sampler.start();
  hang.await();
  EXPECT_FALSE(rig.sampler.view().observed()) << "an answer at once, though the round cannot be over";
}

TEST(Sampler, AsksNothingMoreWhileBothLooksAgree) {
  const FakeClock clock;
  PairRig rig(clock);
  rig.sampler.round();
  EXPECT_EQ(rig.cluster.calls, (std::vector<std::string>{"replica.observe", "primary.observe"}));
  EXPECT_TRUE(rig.sampler.view().streak().in_sync());
  EXPECT_EQ(rig.sampler.view().sample().catch_up->took, Duration::zero());
}

TEST(Sampler, AReplicaThatCatchesUpInTimeIsInSyncHoweverFarBehindItWasSeen) {
  const FakeClock clock;
  PairRig rig(clock);
  rig.fall_behind(50'000'000);
  rig.catch_up_at(3);
  rig.sampler.round();
  const View view = rig.sampler.view();
  EXPECT_TRUE(view.streak().in_sync());
  EXPECT_EQ(pair_lag(view.sample()).replay_bytes, 50'000'000) << "for graphs";
  EXPECT_EQ(view.sample().catch_up->took, std::chrono::milliseconds(4));
  EXPECT_EQ(view.sample().catch_up->remaining, 0);
}

TEST(Sampler, OneThatDoesNotMakesARoundLongerByTheThresholdAndNoMore) {
  const FakeClock clock;
  PairRig rig(clock);
  rig.fall_behind(50'000);
  rig.sampler.round();
  const View view = rig.sampler.view();
  EXPECT_EQ(rig.reasons(), (std::vector<std::string>{"lag_bytes", "lag_seconds"}));
  EXPECT_EQ(view.sample().catch_up->remaining, 50'000);
  EXPECT_EQ(view.sample().took, policy.thresholds.seconds);
}

TEST(Sampler, ProbesInTheDirectionInWhichWalFlows) {
  const FakeClock clock;
  PairRig rig(clock, policy, Side::replica, Side::primary);  // the configured primary is the standby now
  rig.fall_behind(50'000);
  rig.catch_up_at(2);
  rig.sampler.round();
  EXPECT_TRUE(rig.sampler.view().streak().in_sync());
  EXPECT_EQ(rig.sampler.view().sample().catch_up->took, std::chrono::milliseconds(2));
}

TEST(Sampler, WhatDoesNotAnswerTheProbeWasNotSeen) {
  const FakeClock clock;
  PairRig rig(clock);
  for (const auto& [call, side] :
       {std::pair("primary.wal_flushed", Side::primary), {"replica.wal_replayed", Side::replica}}) {
    rig.fall_behind(50'000);
    rig.cluster.before = [hung = std::string(call)](const std::string& now) {
      if (now == hung) throw Error(ErrorCode::timeout, "no answer");
    };
    rig.sampler.round();
    EXPECT_EQ(rig.sampler.view().server(side), nullptr) << call;
    EXPECT_EQ(rig.reasons(), std::vector{std::string(to_string(side)) + "_unreachable"});
    EXPECT_FALSE(rig.sampler.view().sample().catch_up);
    rig.cluster.before = {};
    rig.cluster.replay_all();
    rig.sampler.round();
    EXPECT_TRUE(rig.sampler.view().streak().in_sync());
  }
}

TEST(Sampler, EndsInTheMiddleOfAProbe) {
  SyncPolicy patient = policy;
  patient.thresholds.seconds = std::chrono::hours(24);
  PairRig rig(system_clock(), patient);
  rig.fall_behind(50'000);
  std::counting_semaphore<> probing{0};
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.wal_replayed") probing.release();
  };
  rig.sampler.start();
  probing.acquire();
  EXPECT_FALSE(rig.sampler.view().observed()) << "an answer at once, though the round is not over";
}

TEST(Sampler, AServerThatHangsHidesOnlyItself) {
  SyncPolicy fast = policy;
  fast.interval = std::chrono::milliseconds(50);
  Rig rig(system_clock(), fast);
  Hang hang(rig.replica);
  rig.sampler.round();
  const View view = rig.sampler.view();
  EXPECT_TRUE(view.sample().primary.state);
  EXPECT_EQ(view.sample().replica.error_name, "timeout");
  EXPECT_EQ(view.observation().replica.errors.at("timeout"), 1U);
  EXPECT_LT(view.sample().took, fast.max_gap()) << "else the primary would go stale";
}

}  // namespace
}  // namespace pgrm::exporter
