#include "exporter/observation.h"

#include <gtest/gtest.h>

#include "tests/fakes/pair_sample.h"

namespace pgrm::exporter {
namespace {

using fakes::later;
using fakes::pair_sample;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = seconds(5)};

Observation observed(const std::vector<Sample>& samples) {
  Observation observation(policy);
  for (const Sample& sample : samples) observation = observation.next(sample);
  return observation;
}

Sample replica_away(Sample sample) {
  sample.replica = fakes::unseen("db2:5432");
  if (sample.primary.state) sample.primary.state->standbys.clear();
  return sample;
}

TEST(Observation, CountsLooksAndTheirErrors) {
  const Sample good = pair_sample();
  const Observation observation = observed({good, replica_away(later(good, seconds(5)))});
  EXPECT_EQ(observation.primary.looks, 2U);
  EXPECT_TRUE(observation.primary.errors.empty());
  EXPECT_EQ(observation.replica.looks, 2U);
  EXPECT_EQ(observation.replica.errors.at("unreachable"), 1U);
  EXPECT_EQ(observation.primary.seen_mono, good.sampled_mono + seconds(5));
  EXPECT_EQ(observation.replica.seen_mono, good.sampled_mono) << "the last time that it was seen";
  EXPECT_EQ(observation.streak.checks(), 2U);
}

TEST(Observation, RemembersTheReplicasNameWhileItIsAway) {
  Sample named = pair_sample();
  named.primary.state->standbys.front().name = "west";
  Sample away = replica_away(named);
  away.primary.state->slots = {fakes::slot_row("another")};
  EXPECT_EQ(observed({named, away}).replica_standby, "west");
}

TEST(Observation, KnowsAReplicaThatWasNeverSeenByTheOnlySlot) {
  Sample away = replica_away(pair_sample());
  EXPECT_EQ(observed({away}).replica_standby, fakes::slot_name);
  away.primary.state->slots.push_back(fakes::slot_row("another"));
  EXPECT_EQ(observed({away}).replica_standby, "") << "it could be either";
}

TEST(Observation, ASeenNameReplacesAGuess) {
  Sample away = replica_away(pair_sample());
  away.primary.state->slots = {fakes::slot_row("another")};
  EXPECT_EQ(observed({away}).replica_standby, "another");
  EXPECT_EQ(observed({away, pair_sample()}).replica_standby, fakes::slot_name);
}

TEST(Observation, TheFormerPrimaryIsNotTheReplica) {
  ServerState rejoined = fakes::replica_state();
  rejoined.receiver->slot = "old_primary";
  ServerState writer = fakes::primary_state();
  writer.standbys = {fakes::standby_row("old", "old_primary")};
  EXPECT_EQ(observed({pair_sample(), pair_sample(rejoined, writer)}).replica_standby, fakes::slot_name);
}

TEST(View, ShowsNoServerBeforeTheFirstRound) {
  const View view(std::make_shared<const Observation>(policy), Mono{} + std::chrono::hours(9));
  EXPECT_FALSE(view.observed());
  EXPECT_FALSE(view.fresh());
  EXPECT_EQ(view.server(Side::primary), nullptr);
  EXPECT_FALSE(view.streak().in_sync());
}

TEST(View, ShowsAServerUntilTheObservationIsTooOld) {
  const auto observation = std::make_shared<const Observation>(observed({pair_sample()}));
  const Mono seen = pair_sample().sampled_mono;
  const View fresh(observation, seen + policy.max_gap());
  EXPECT_TRUE(fresh.fresh());
  EXPECT_NE(fresh.server(Side::replica), nullptr);
  EXPECT_TRUE(fresh.streak().in_sync());

  const View stale(observation, seen + policy.max_gap() + milliseconds(1));
  EXPECT_FALSE(stale.fresh());
  EXPECT_EQ(stale.server(Side::replica), nullptr);
  EXPECT_FALSE(stale.streak().in_sync());
}

TEST(View, HidesOnlyTheServerThatIsDown) {
  const Sample sample = replica_away(pair_sample());
  const View view(std::make_shared<const Observation>(observed({sample})), sample.sampled_mono);
  EXPECT_NE(view.server(Side::primary), nullptr);
  EXPECT_EQ(view.server(Side::replica), nullptr);
}

}  // namespace
}  // namespace pgrm::exporter
