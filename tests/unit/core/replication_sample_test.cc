#include "core/replication/sample.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "core/base/error.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_cluster.h"
#include "tests/fakes/pair_sample.h"

namespace pgrm {
namespace {

constexpr Duration deadline = std::chrono::seconds(2);

TEST(ObservePair, LooksAtTheReplicaFirstSoThatLagErrsHighOnly) {
  FakeClock clock;
  FakeCluster cluster;
  cluster.before = [&](const std::string&) { clock.advance(std::chrono::milliseconds(2)); };
  const auto primary = cluster.node(Side::primary);
  const auto replica = cluster.node(Side::replica);
  const Mono start = clock.now();
  const WallTime wall = clock.wall();

  const Sample sample = observe_pair(*primary, *replica, 7, clock, deadline);

  EXPECT_EQ(cluster.calls, (std::vector<std::string>{"replica.observe", "primary.observe"}));
  EXPECT_EQ(sample.generation, 7U);
  EXPECT_EQ(sample.sampled_mono, start) << "what was seen is no older than the beginning of the round";
  EXPECT_EQ(sample.sampled_at, wall);
  EXPECT_EQ(sample.replica.began_mono, start);
  EXPECT_EQ(sample.primary.began_mono, start + std::chrono::milliseconds(2)) << "a replica that hangs ages only itself";
  EXPECT_EQ(sample.replica.took, std::chrono::milliseconds(2));
  EXPECT_EQ(sample.took, std::chrono::milliseconds(4));
  EXPECT_EQ(sample[Side::primary].address, "old:5432");
  EXPECT_TRUE(sample[Side::replica].state->in_recovery);
}

TEST(LookAt, TurnsEveryFailureIntoAnAnswer) {
  const FakeClock clock;
  FakeCluster cluster;
  const auto node = cluster.node(Side::primary);
  EXPECT_TRUE(look_at(*node, clock, deadline).state);

  cluster.before = [](const std::string&) { throw Error(ErrorCode::authentication, "no password supplied"); };
  const ServerSample refused = look_at(*node, clock, deadline);
  EXPECT_FALSE(refused.state);
  EXPECT_EQ(refused.error, "no password supplied");
  EXPECT_EQ(refused.error_name, "authentication");

  cluster.before = [](const std::string&) { throw std::out_of_range("a bug"); };
  const ServerSample surprise = look_at(*node, clock, deadline);
  EXPECT_EQ(surprise.error, "a bug");
  EXPECT_EQ(surprise.error_name, "internal");
}

TEST(WritableSide, IsTheOnlyServerSeenToTakeWrites) {
  const Sample before = fakes::pair_sample();
  EXPECT_EQ(writable_side(before), Side::primary);

  Sample fenced = before;
  fenced.primary.state->default_read_only = true;
  EXPECT_EQ(writable_side(fenced), std::nullopt);

  Sample hidden = before;
  hidden.primary.state->read_only_hidden_by = "role monitor";
  EXPECT_EQ(writable_side(hidden), std::nullopt) << "it may be read-only";

  EXPECT_EQ(writable_side(fakes::sample_after_cutover()), Side::replica);

  const Sample split = fakes::pair_sample(fakes::primary_state(), fakes::promoted_state());
  EXPECT_EQ(writable_side(split), std::nullopt) << "of two that take writes, none may be recommended";

  Sample replica_gone = before;
  replica_gone.replica = fakes::unseen("db2:5432");
  EXPECT_EQ(writable_side(replica_gone), Side::primary);

  Sample both_gone = replica_gone;
  both_gone.primary = fakes::unseen("db1:5432");
  EXPECT_EQ(writable_side(both_gone), std::nullopt);
}

}  // namespace
}  // namespace pgrm
