#include "core/replication/lag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/fakes/pair_sample.h"

namespace pgrm {
namespace {

using fakes::here;
using fakes::pair_sample;
using std::chrono::milliseconds;
using Reasons = std::vector<std::string>;

constexpr LagThresholds thresholds{.bytes = 1024, .seconds = std::chrono::seconds(1)};
constexpr std::uint64_t mega = 1024 * 1024;

Lsn after_here(std::uint64_t bytes) { return Lsn(here.bytes() + bytes); }
Lsn before_here(std::uint64_t bytes) { return Lsn(here.bytes() - bytes); }

Reasons reasons_of(const Sample& sample) {
  Reasons names;
  for (const SyncReason& reason : out_of_sync(sample, thresholds)) names.push_back(reason.name);
  return names;
}

std::string text_of(const Sample& sample) {
  const auto reasons = out_of_sync(sample, thresholds);
  return reasons.empty() ? "" : reasons.front().text;
}

TEST(WalFlow, GoesFromTheServerOutOfRecoveryToTheOneInIt) {
  const auto flow = wal_flow(pair_sample());
  ASSERT_TRUE(flow);
  EXPECT_EQ(flow->from, Side::primary);
  EXPECT_EQ(flow->to, Side::replica);

  const auto back = wal_flow(pair_sample(fakes::replica_state(), fakes::primary_state()));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->from, Side::replica);

  EXPECT_FALSE(wal_flow(fakes::sample_after_cutover()));
  EXPECT_FALSE(wal_flow(pair_sample(fakes::replica_state(), fakes::replica_state())));
  Sample half = pair_sample();
  half.replica = fakes::unseen("db2:5432");
  EXPECT_FALSE(wal_flow(half));
}

TEST(BytesBehind, IsNeverNegativeAndNeverWraps) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(bytes_behind(Lsn(100), Lsn(300)), 200);
  EXPECT_EQ(bytes_behind(Lsn(300), Lsn(100)), 0);
  EXPECT_EQ(bytes_behind(Lsn(most), Lsn(0)), 0);
  EXPECT_EQ(bytes_behind(Lsn(0), Lsn(most)), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(bytes_behind(std::nullopt, Lsn(1)), std::nullopt);
  EXPECT_EQ(bytes_behind(Lsn(1), std::nullopt), std::nullopt);
}

TEST(KnownLag, IsZeroWhenNothingIsBehind) {
  EXPECT_EQ(known_lag(std::nullopt, 0), Duration::zero());
  EXPECT_EQ(known_lag(std::nullopt, 1), std::nullopt);
  EXPECT_EQ(known_lag(std::nullopt, std::nullopt), std::nullopt);
  EXPECT_EQ(known_lag(milliseconds(30), 500), milliseconds(30));
  EXPECT_EQ(known_lag(milliseconds(30), 0), Duration::zero()) << "it is of the past";
}

TEST(PairLag, IsMeasuredAgainstTheWritersFlushPosition) {
  Sample sample = pair_sample();
  sample.primary.state->wal_insert = after_here(900);  // not on disk: nobody can be behind it
  sample.primary.state->wal_flush = after_here(500);
  sample.replica.state->wal_receive = after_here(400);
  sample.replica.state->wal_replay = after_here(100);
  EXPECT_EQ(pair_lag(sample).receive_bytes, 100);
  EXPECT_EQ(pair_lag(sample).replay_bytes, 400);
}

TEST(PairLag, IsTheSameInTheOtherDirection) {
  ServerState standby = fakes::replica_state();
  standby.wal_replay = before_here(10);
  const Sample rejoined = pair_sample(standby, fakes::primary_state());
  EXPECT_EQ(pair_lag(rejoined).replay_bytes, 10);
  EXPECT_EQ(reasons_of(rejoined), Reasons{});
}

TEST(PairLag, SeesAStandbyThatRestartedAndReplayedMoreThanItReceived) {
  Sample sample = pair_sample();
  sample.replica.state->wal_receive = before_here(5 * mega);
  EXPECT_EQ(pair_lag(sample).receive_bytes, 0);
  sample.replica.state->wal_receive = std::nullopt;  // nothing received yet
  EXPECT_EQ(pair_lag(sample).receive_bytes, 0);
  EXPECT_EQ(pair_lag(sample).replay_bytes, 0);
}

TEST(PairLag, IsUnknownAfterAPromotion) {
  const PairLag lag = pair_lag(fakes::sample_after_cutover());
  EXPECT_FALSE(lag.receive_bytes);
  EXPECT_FALSE(lag.replay_bytes);
  EXPECT_FALSE(lag.replay);
}

TEST(PairLag, IsUnknownBetweenServersThatCannotBeCompared) {
  Sample other_cluster = pair_sample();
  other_cluster.replica.state->system_identifier = "7300000000000000002";
  EXPECT_FALSE(pair_lag(other_cluster).replay_bytes);
  Sample other_timeline = pair_sample();
  other_timeline.primary.state->timeline = 2;
  EXPECT_FALSE(pair_lag(other_timeline).replay_bytes);
  Sample timeline_unknown = pair_sample();
  timeline_unknown.replica.state->timeline = std::nullopt;
  EXPECT_EQ(pair_lag(timeline_unknown).replay_bytes, 0);
}

TEST(PairLag, TakesSecondsFromThePairedStandby) {
  Sample sample = pair_sample();
  EXPECT_EQ(pair_lag(sample).replay, Duration::zero()) << "idle, and nothing is behind";
  sample.primary.state->wal_flush = after_here(1);
  sample.primary.state->standbys.front().replay_lag = milliseconds(250);
  EXPECT_EQ(pair_lag(sample).replay, milliseconds(250));
  sample.primary.state->standbys.front().replay_lag = std::nullopt;
  EXPECT_FALSE(pair_lag(sample).replay) << "NULL with bytes behind";
}

TEST(PairedStandby, IsFoundByTheSlotOfItsReceiver) {
  Sample sample = pair_sample();
  auto& rows = sample.primary.state->standbys;
  rows.insert(rows.begin(), fakes::standby_row("replica", "other_slot"));
  ASSERT_NE(paired_standby(sample), nullptr);
  EXPECT_EQ(paired_standby(sample)->slot, fakes::slot_name);
  rows.pop_back();
  EXPECT_EQ(paired_standby(sample), nullptr) << "the only row is somebody else's";
}

TEST(PairedStandby, WithoutASlotIsTheOnlyOneWithout) {
  Sample sample = pair_sample();
  sample.replica.state->receiver->slot.clear();
  auto& rows = sample.primary.state->standbys;
  Standby backup = fakes::standby_row("pg_basebackup", std::nullopt);
  backup.state = "backup";
  rows = {backup, fakes::standby_row("archive", "archive_slot"), fakes::standby_row("replica", std::nullopt)};
  ASSERT_NE(paired_standby(sample), nullptr);
  EXPECT_EQ(paired_standby(sample)->application_name, "replica");
  rows.push_back(fakes::standby_row("replica", std::nullopt));
  EXPECT_EQ(paired_standby(sample), nullptr) << "two could be it";
  EXPECT_EQ(possible_standbys(sample).size(), 2U);
  EXPECT_THAT(out_of_sync(sample, {}, std::nullopt).at(0).text, testing::HasSubstr("primary_slot_name"));
}

TEST(PairedStandby, IsNobodyWhileTheReplicaHasNoReceiver) {
  Sample sample = pair_sample();
  sample.replica.state->receiver = std::nullopt;
  sample.primary.state->standbys = {fakes::standby_row("pg_receivewal", std::nullopt)};
  EXPECT_EQ(paired_standby(sample), nullptr) << "what is connected is somebody else";
  sample.replica.state->full_view = false;
  EXPECT_NE(paired_standby(sample), nullptr) << "without pg_monitor the receiver is hidden, not missing";
}

TEST(OutOfSync, HasNoObjectionToAHealthyPair) { EXPECT_EQ(reasons_of(pair_sample()), Reasons{}); }

struct Case {
  const char* description;
  void (*change)(Sample&);
  Reasons expected;
};

std::vector<Case> cases() {
  return {
      {"primary down", [](Sample& s) { s.primary = fakes::unseen("db1:5432"); }, {"primary_unreachable"}},
      {"replica down", [](Sample& s) { s.replica = fakes::unseen("db2:5432"); }, {"replica_unreachable"}},
      {"no pg_monitor: rows without state and positions, and no error",
       [](Sample& s) {
         s.primary.state->full_view = false;
         Standby hidden;
         hidden.name = hidden.application_name = "replica";
         hidden.slot = fakes::slot_name;
         s.primary.state->standbys = {hidden};
       },
       {"missing_privilege"}},
      {"the observer's role is read-only by itself",
       [](Sample& s) { s.primary.state->read_only_hidden_by = s.replica.state->read_only_hidden_by = "role m"; },
       {"read_only_unknown"}},
      {"two standbys", [](Sample& s) { s.primary.state->in_recovery = true; }, {"roles"}},
      {"after the cutover", [](Sample& s) { s = fakes::sample_after_cutover(); }, {"roles"}},
      {"another cluster",
       [](Sample& s) { s.replica.state->system_identifier = "7300000000000000002"; },
       {"system_identifier"}},
      {"timelines apart", [](Sample& s) { s.primary.state->timeline = 2; }, {"timeline"}},
      {"the primary did not tell which standbys it has",
       [](Sample& s) {
         s.primary.state->standbys.clear();
         s.primary.state->replication_known = false;
       },
       {"standby_unknown"}},
      {"standby gone, receiver still there", [](Sample& s) { s.primary.state->standbys.clear(); }, {"no_standby"}},
      {"link cut with 19 MB behind: received is replayed, and both views are empty",
       [](Sample& s) {
         fakes::fall_behind(s, 19 * mega);
         s.primary.state->standbys.clear();
         s.replica.state->receiver = std::nullopt;
       },
       {"no_standby", "lag_bytes", "lag_seconds"}},
      {"catching up", [](Sample& s) { s.primary.state->standbys.front().state = "catchup"; }, {"not_streaming"}},
      {"nothing replayed yet",
       [](Sample& s) {
         s.replica.state->wal_replay = std::nullopt;
         s.catch_up.reset();
       },
       {"lag_unknown"}},
      {"the threshold still missing in the end",
       [](Sample& s) { fakes::fall_behind(s, 1024); },
       {"lag_bytes", "lag_seconds"}},
      {"any distance between the looks, but it got there in time",
       [](Sample& s) {
         fakes::fall_behind(s, 19 * mega, milliseconds(999));
         s.catch_up->remaining = 0;
       },
       {}},
      {"it got there, but late",
       [](Sample& s) {
         fakes::fall_behind(s, 19 * mega);
         s.catch_up->remaining = 0;
       },
       {"lag_seconds"}},
      {"not probed, the threshold behind",
       [](Sample& s) {
         s.catch_up.reset();
         s.primary.state->wal_flush = after_here(1024);
       },
       {"lag_bytes"}},
      {"not probed, one byte less",
       [](Sample& s) {
         s.catch_up.reset();
         s.primary.state->wal_flush = after_here(1023);
       },
       {}},
      {"exactly the threshold in seconds",
       [](Sample& s) {
         s.primary.state->wal_flush = after_here(1);
         s.primary.state->standbys.front().replay_lag = std::chrono::seconds(1);
       },
       {"lag_seconds"}},
      {"replay_lag of the past: nothing is behind any more",
       [](Sample& s) { s.primary.state->standbys.front().replay_lag = std::chrono::seconds(9); },
       {}},
      {"a little less", [](Sample& s) { s.primary.state->standbys.front().replay_lag = milliseconds(999); }, {}},
      {"paused", [](Sample& s) { s.replica.state->replay_paused = true; }, {"replay_paused"}},
      {"the standby's last reply is old, but both ends agree",
       [](Sample& s) { s.primary.state->standbys.front().replay = before_here(5000); },
       {}},
      {"restarted standby: received less than replayed",
       [](Sample& s) { s.replica.state->wal_receive = before_here(5000); },
       {}},
  };
}

TEST(OutOfSync, NamesWhatIsWrongAndNothingElse) {
  for (const Case& c : cases()) {
    Sample sample = pair_sample();
    c.change(sample);
    EXPECT_EQ(reasons_of(sample), c.expected) << c.description;
  }
}

TEST(OutOfSync, EveryReasonHasACase) {
  Reasons covered{"gap", "restart"};  // the streak's
  for (const Case& c : cases()) covered.insert(covered.end(), c.expected.begin(), c.expected.end());
  for (const char* const name : sync_reason_names) {
    EXPECT_NE(std::ranges::find(covered, name), covered.end()) << name;
  }
  for (const std::string& name : covered) {
    EXPECT_NE(std::ranges::find(sync_reason_names, name), sync_reason_names.end()) << name;
  }
}

TEST(OutOfSync, QuotesObservedAndRequired) {
  Sample behind = pair_sample();
  fakes::fall_behind(behind, 2048);
  EXPECT_EQ(text_of(behind), "2.0 kB of WAL were still missing after 1.0 s");
  behind.catch_up.reset();
  EXPECT_EQ(text_of(behind), "the replica is 2048 bytes behind, required is fewer than 1024");
  Sample down = pair_sample();
  down.replica = fakes::unseen("db2:5432");
  EXPECT_EQ(text_of(down), "replica (db2:5432) is not reachable: connection refused");
}

TEST(OutOfSync, SaysHowFastBothAre) {
  Sample behind = pair_sample();
  fakes::fall_behind(behind, 12'345'678);
  behind.replica.state->wal_receive = after_here(12'345'678);
  CatchUp before = *behind.catch_up;
  before.asked -= std::chrono::seconds(1);
  before.target = after_here(12'345'678 - 9'040'000);
  before.reached = before_here(4'100'000);
  EXPECT_EQ(out_of_sync(behind, thresholds, before).front().text,
            "12.3 MB of WAL were still missing after 1.0 s; the replica replays 4.1 MB/s, the primary writes 9.0 MB/s");
}

TEST(OutOfSync, SaysWhatHoldsReplayUp) {
  Sample behind = pair_sample();
  fakes::fall_behind(behind, 2048);
  behind.replica.state->wal_receive = after_here(2048);
  behind.replica.state->replay_waits_for = "IPC/RecoveryConflictSnapshot";
  behind.replica.state->oldest_open = OpenTransaction{4711, from_unix(1'699'999'940)};
  EXPECT_EQ(text_of(behind),
            "2.0 kB of WAL were still missing after 1.0 s; replay waits for a query on the replica to end "
            "(IPC/RecoveryConflictSnapshot): the oldest transaction on it is that of process 4711, open for 1 min 0 s");
  behind.replica.state->replay_waits_for = "Timeout/RecoveryApplyDelay";
  behind.replica.state->recovery_min_apply_delay = std::chrono::seconds(90);
  EXPECT_EQ(text_of(behind),
            "2.0 kB of WAL were still missing after 1.0 s; recovery_min_apply_delay (90 s) holds replay back");
  behind.replica.state->replay_waits_for = "Activity/RecoveryWalStream";  // between two of its waits
  EXPECT_EQ(text_of(behind),
            "2.0 kB of WAL were still missing after 1.0 s; recovery_min_apply_delay (90 s) holds replay back");
  behind.replica.state->recovery_min_apply_delay = std::chrono::milliseconds(5);
  EXPECT_EQ(text_of(behind), "2.0 kB of WAL were still missing after 1.0 s");
}

TEST(OutOfSync, SaysWhenTheWayIsSlow) {
  Sample behind = pair_sample();
  fakes::fall_behind(behind, 900'000);
  EXPECT_EQ(text_of(behind), "900.0 kB of WAL were still missing after 1.0 s") << "written just now, perhaps";
  CatchUp before = *behind.catch_up;
  before.asked -= std::chrono::seconds(10);
  before.target = after_here(200'000);
  EXPECT_EQ(out_of_sync(behind, thresholds, before).front().text,
            "900.0 kB of WAL were still missing after 1.0 s; the replica replays 0 bytes/s, the primary writes 70.0 "
            "kB/s; 200.0 kB of what the primary had at the check before have not even reached the replica: the way "
            "there is slow");
  behind.replica.state->wal_receive = after_here(200'000);
  EXPECT_EQ(out_of_sync(behind, thresholds, before).front().text,
            "900.0 kB of WAL were still missing after 1.0 s; the replica replays 0 bytes/s, the primary writes 70.0 "
            "kB/s");
}

TEST(OutOfSync, TakesPostgresOwnLagForReason) {
  Sample behind = pair_sample();
  behind.primary.state->wal_flush = after_here(1);
  behind.primary.state->standbys.front().replay_lag = milliseconds(3200);
  EXPECT_EQ(text_of(behind), "replay is 3.2 s behind by pg_stat_replication.replay_lag, required is less than 1.0 s");
}

TEST(CaughtUp, IsKnownFromTheLooksWhenTheyAreClose) {
  Sample sample = pair_sample();
  sample.primary.state->wal_flush = after_here(1023);
  const auto known = caught_up(sample, thresholds);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->took, Duration::zero());
  EXPECT_EQ(known->remaining, 0);
  EXPECT_EQ(known->target, after_here(1023));
  sample.primary.state->wal_flush = after_here(1024);
  EXPECT_FALSE(caught_up(sample, thresholds));
  EXPECT_FALSE(caught_up(fakes::sample_after_cutover(), thresholds));
}

TEST(OutOfSync, SaysHowTheServersOwnReadOnlyComesToLight) {
  Sample sample = pair_sample(fakes::primary_state(), fakes::promoted_state());
  sample.replica.state->read_only_hidden_by = "role m";
  EXPECT_EQ(out_of_sync(sample, {}).front().text,
            "default_transaction_read_only of role m hides the server's own on the replica: alter role m reset "
            "default_transaction_read_only");
  EXPECT_EQ(out_of_sync(sample, {}).back().text, "both servers are out of recovery") << "more is not known";
  sample.replica.state->read_only_hidden_by = "the connection string";
  EXPECT_NE(out_of_sync(sample, {}).front().text.find(": take it out of options"), std::string::npos);
}

TEST(OutOfSync, SaysPlainlyWhoTakesWritesWhenNothingReplicates) {
  EXPECT_NE(text_of(fakes::sample_after_cutover()).find("the replica has been promoted and takes writes"),
            std::string::npos);
  const Sample split = pair_sample(fakes::primary_state(), fakes::promoted_state());
  EXPECT_EQ(text_of(split), "both servers are out of recovery and take writes: nothing replicates");
  const Sample none = pair_sample(fakes::replica_state(), fakes::replica_state());
  EXPECT_EQ(text_of(none), "both servers are in recovery: there is no primary");
  Sample one = split;
  one.replica.state->started_at = one.primary.state->started_at;
  EXPECT_EQ(text_of(one), "primary and replica are one server: both db1:5432 and db2:5432 lead to it");
}

}  // namespace
}  // namespace pgrm
