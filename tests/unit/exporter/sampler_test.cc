#include "exporter/sampler.h"

#include <gtest/gtest.h>

#include <memory>
#include <semaphore>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = std::chrono::seconds(5)};

/// A sampler over two servers in memory. Each stands in a cluster of its own, because the sampler looks at them from
/// two threads; nothing flows between them.
struct Rig {
  explicit Rig(const Clock& clock, const SyncPolicy& with = policy)
      : sampler(primary.node(Side::primary), replica.node(Side::replica), with, clock) {}
  FakeCluster primary, replica;
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
