#include "exporter/watcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>

#include "core/base/error.h"
#include "tests/fakes/fake_cluster.h"

namespace pgrm::exporter {
namespace {

constexpr Duration deadline = std::chrono::seconds(2);
constexpr Duration long_enough = std::chrono::minutes(1);          // for what comes at once
constexpr Duration short_enough = std::chrono::milliseconds(1);    // for what never comes
constexpr Duration longer_than_any_test = std::chrono::hours(24);  // for what must not be waited for

TEST(Watcher, SeesWhatTheServerSays) {
  FakeCluster cluster;
  Pool pool;
  Watcher watcher(cluster.node(Side::primary), system_clock(), deadline, pool);
  const Mono before = system_clock().now();
  const ServerSample first = watcher.look(long_enough);
  ASSERT_TRUE(first.state);
  EXPECT_GE(first.began_mono, before);
  EXPECT_LE(first.began_mono + first.took, system_clock().now());
  EXPECT_EQ(first.address, "old:5432");

  cluster.write(100);
  const ServerSample second = watcher.look(long_enough);
  ASSERT_TRUE(second.state);
  EXPECT_EQ(second.state->wal_flush->bytes(), first.state->wal_flush->bytes() + 100);
}

TEST(Watcher, PassesOnWhyAServerCannotBeSeenUntilItCan) {
  FakeCluster cluster;
  Pool pool;
  Watcher watcher(cluster.node(Side::primary), system_clock(), deadline, pool);
  cluster.primary.up = false;
  EXPECT_EQ(watcher.look(long_enough).error_name, "unreachable");
  cluster.primary.up = true;
  EXPECT_TRUE(watcher.look(long_enough).state);
}

TEST(Watcher, AServerThatHangsCostsNoMoreThanThePatienceAndThenNothing) {
  std::binary_semaphore hanging(0);
  std::binary_semaphore answer(0);
  std::atomic<bool> hang = true;
  FakeCluster cluster;
  cluster.before = [&](const std::string&) {
    if (!hang) return;
    hanging.release();
    answer.acquire();
  };
  Pool pool;
  Watcher watcher(cluster.node(Side::primary), system_clock(), deadline, pool);

  // On a busy machine the watcher may not even have begun when the patience ends: then it has been asked for nothing.
  do {
    const ServerSample late = watcher.look(short_enough);
    EXPECT_FALSE(late.state);
    EXPECT_EQ(late.error_name, "timeout");
    EXPECT_EQ(late.address, "old:5432");
  } while (!hanging.try_acquire());

  EXPECT_EQ(watcher.look(longer_than_any_test).error_name, "timeout") << "one is under way";

  // What comes back late is thrown away, and the look after it is a new one.
  hang = false;
  answer.release();
  while (!watcher.look(long_enough).state) continue;
  EXPECT_EQ(cluster.calls.size(), 2U);
}

TEST(Watcher, EndsWhileNobodyAsks) {
  FakeCluster cluster;
  Pool pool;
  const Watcher watcher(cluster.node(Side::primary), system_clock(), deadline, pool);
}

}  // namespace
}  // namespace pgrm::exporter
