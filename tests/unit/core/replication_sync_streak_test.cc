#include "core/replication/sync_streak.h"

#include <gtest/gtest.h>

#include "tests/fakes/pair_sample.h"

namespace pgrm {
namespace {

using fakes::later;
using fakes::pair_sample;
using std::chrono::milliseconds;
using std::chrono::seconds;

const SyncPolicy policy{.thresholds = {}, .required = 3, .interval = seconds(5)};

std::string only_reason(const SyncStreak& streak) {
  return streak.reasons().size() == 1 ? streak.reasons().front().name : "not one reason";
}

/// Three in-sync checks, the last of them being the sample that is returned.
Sample three_in_sync(SyncStreak& streak) {
  Sample sample = pair_sample();
  streak.add(sample);
  for (int i = 0; i < 2; ++i) {
    sample = later(sample, policy.interval);
    streak.add(sample);
  }
  EXPECT_EQ(streak.consecutive(), 3);
  return sample;
}

TEST(SyncStreak, CountsConsecutiveChecks) {
  SyncStreak streak(policy);
  EXPECT_FALSE(streak.in_sync());
  EXPECT_EQ(streak.since(), std::nullopt);
  three_in_sync(streak);
  EXPECT_TRUE(streak.in_sync());
  EXPECT_EQ(streak.since(), pair_sample().sampled_at) << "when the first of them began";
  EXPECT_TRUE(streak.reasons().empty());
  EXPECT_EQ(streak.checks(), 3U);
}

TEST(SyncStreak, OneBadCheckStartsItAnew) {
  SyncStreak streak(policy);
  Sample sample = later(three_in_sync(streak), policy.interval);
  const Sample good = sample;
  fakes::fall_behind(sample, 4096);
  streak.add(sample);
  EXPECT_FALSE(streak.in_sync());
  EXPECT_EQ(streak.since(), std::nullopt);
  ASSERT_EQ(streak.reasons().size(), 2U);
  EXPECT_EQ(streak.reasons().front().name, "lag_bytes");
  EXPECT_EQ(streak.reasons().back().name, "lag_seconds");
  EXPECT_EQ(streak.failures().at("lag_bytes"), 1U);

  streak.add(later(good, policy.interval));
  EXPECT_EQ(streak.consecutive(), 1);
  EXPECT_TRUE(streak.reasons().empty());
  EXPECT_EQ(streak.since(), later(good, policy.interval).sampled_at);
  EXPECT_EQ(streak.checks(), 5U);
}

struct Break {
  const char* reason;
  void (*change)(Sample&);
};

class BrokenStreak : public testing::TestWithParam<Break> {};

TEST_P(BrokenStreak, EvenThoughTheCheckIsInSyncByItself) {
  SyncStreak streak(policy);
  Sample sample = later(three_in_sync(streak), policy.interval);
  GetParam().change(sample);
  ASSERT_TRUE(out_of_sync(sample, policy.thresholds).empty());

  streak.add(sample);
  EXPECT_EQ(streak.consecutive(), 0);
  EXPECT_EQ(only_reason(streak), GetParam().reason);
  EXPECT_EQ(streak.failures().at(GetParam().reason), 1U);

  streak.add(later(sample, policy.interval));
  EXPECT_EQ(streak.consecutive(), 1) << "the new state of things may begin a new streak";
}

INSTANTIATE_TEST_SUITE_P(Reasons, BrokenStreak,
                         testing::Values(Break{"gap",
                                               [](Sample& s) {
                                                 s.sampled_mono += policy.max_gap() - policy.interval + milliseconds(1);
                                               }},
                                         Break{"restart", [](Sample& s) { s.primary.state->started_at += seconds(1); }},
                                         Break{"restart",
                                               [](Sample& s) {
                                                 s.primary.state->started_at += seconds(1);
                                                 s.replica.state->started_at += seconds(1);
                                               }},
                                         Break{"restart", [](Sample& s) { s.replica.state->started_at += seconds(1); }},
                                         Break{"timeline",
                                               [](Sample& s) {
                                                 s.primary.state->timeline = 2;
                                                 s.replica.state->timeline = 2;
                                               }},
                                         Break{"roles",
                                               [](Sample& s) {
                                                 std::swap(s.primary, s.replica);
                                                 std::swap(s.primary.state->started_at, s.replica.state->started_at);
                                               }},
                                         Break{"system_identifier", [](Sample& s) {
                                                 s.primary.state->system_identifier = "7300000000000000002";
                                                 s.replica.state->system_identifier = "7300000000000000002";
                                               }}));

TEST(SyncStreak, SaysFromTheSecondCheckOnHowFastBothAre) {
  SyncStreak streak(policy);
  Sample sample = pair_sample();
  fakes::fall_behind(sample, 1'000'000);
  streak.add(sample);
  EXPECT_EQ(streak.reasons().front().text, "1.0 MB of WAL were still missing after 1.0 s");
  sample = later(sample, policy.interval);
  fakes::fall_behind(sample, 2'000'000);
  sample.replica.state->wal_receive = sample.primary.state->wal_flush;
  streak.add(sample);
  EXPECT_EQ(
      streak.reasons().front().text,
      "2.0 MB of WAL were still missing after 1.0 s; the replica replays 0 bytes/s, the primary writes 200.0 kB/s");
}

TEST(SyncStreak, AllowsForTheProbeOfAReplicaThatIsBehind) {
  SyncPolicy patient = policy;
  patient.thresholds.seconds = seconds(60);
  // A round may begin as late as this one's interval and its probe are over, and its own probe comes on top.
  EXPECT_GT(patient.max_gap(), 2 * (patient.interval + patient.thresholds.seconds));
}

TEST(SyncStreak, SurvivesAGapOfExactlyWhatIsAllowed) {
  SyncStreak streak(policy);
  streak.add(later(three_in_sync(streak), policy.max_gap()));
  EXPECT_EQ(streak.consecutive(), 4);
}

TEST(SyncStreak, AGapBreaksOnlyWhatHasBegun) {
  SyncStreak streak(policy);
  Sample down = pair_sample();
  down.replica = fakes::unseen("db2:5432");
  streak.add(down);
  EXPECT_EQ(only_reason(streak), "replica_unreachable");
  streak.add(later(pair_sample(), std::chrono::hours(1)));
  EXPECT_EQ(streak.consecutive(), 1);
}

TEST(SyncStreak, CountsEveryReasonFromTheStart) {
  SyncStreak streak(policy);
  for (const char* const name : sync_reason_names) EXPECT_EQ(streak.failures().at(name), 0U) << name;
  EXPECT_EQ(streak.failures().size(), sync_reason_names.size());
  Sample sample = pair_sample();
  sample.replica.state->replay_paused = true;
  sample.primary.state->standbys.clear();
  streak.add(sample);
  EXPECT_EQ(streak.failures().at("replay_paused"), 1U);
  EXPECT_EQ(streak.failures().at("no_standby"), 1U);
  EXPECT_EQ(streak.checks(), 1U);
}

TEST(SyncStreak, IsNotInSyncAsOfAMomentTooFarFromTheLastCheck) {
  SyncStreak streak(policy);
  const Mono last = three_in_sync(streak).sampled_mono;
  EXPECT_EQ(streak.as_of(last + policy.max_gap()).consecutive(), 3);

  const SyncStreak late = streak.as_of(last + policy.max_gap() + milliseconds(1));
  EXPECT_FALSE(late.in_sync());
  EXPECT_EQ(only_reason(late), "gap");
  EXPECT_EQ(late.checks(), 3U);
  EXPECT_EQ(late.failures().at("gap"), 0U) << "nothing was checked";
  EXPECT_EQ(streak.consecutive(), 3) << "asking changes nothing";
}

TEST(SyncStreak, AsOfAnyMomentBeforeTheFirstCheckHasNoReason) {
  EXPECT_TRUE(SyncStreak(policy).as_of(Mono{} + std::chrono::hours(5)).reasons().empty());
}

}  // namespace
}  // namespace pgrm
