#include "agent/compare/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/fakes/fake_workload.h"
#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

struct WatchAfter : testing::Test {
  WatchAfter() {
    for (FakeWorkload* const server : {&old_life, &new_life})
      server->statements[1] = {.calls = 100, .milliseconds = 100};
    new_life.texts[1] = "SELECT $1";
    rig.servers.old_primary.workload = [this] { return std::make_unique<FakeWorkloadObserver>(old_life); };
    rig.servers.new_primary.workload = [this] { return std::make_unique<FakeWorkloadObserver>(new_life); };
    rig.options.watch_after = std::chrono::seconds(10);
    record.begin = old_life.look();
    rig.clock.advance(std::chrono::seconds(60));
    record.end = old_life.look();
    rig.cluster.replica_is_promoted();
  }

  WatchedSoFar watch() {
    return watch_after({.new_primary = rig.servers.new_primary,
                        .options = rig.options,
                        .clock = rig.clock,
                        .stop = rig.stop.get_token(),
                        .tells = [this](const std::string& line) { told.push_back(line); },
                        .shows = [this](const WatchedSoFar& so_far) { shown.push_back(so_far); }},
                       record);
  }

  void old_primary_streams() {
    Standby standby;
    standby.slot = "pgrm_standby";
    standby.state = "streaming";
    standby.replay = Lsn(1000);
    rig.cluster.replica.state.standbys.push_back(standby);
    rig.cluster.replica.state.wal_flush = Lsn(1500);
  }

  Rig rig;
  FakeWorkload old_life{rig.clock}, new_life{rig.clock};
  WorkloadRecord record;
  std::vector<std::string> told;
  std::vector<WatchedSoFar> shown;
};

TEST_F(WatchAfter, EndsWithAVerdictThatStandsOnFigures) {
  const WatchedSoFar seen = watch();
  EXPECT_EQ(seen.comparison.overall, Judgement::same);
  EXPECT_THAT(seen.comparison.after_seconds, Optional(testing::DoubleNear(10, 0.1)));
  EXPECT_THAT(seen.comparison.line, HasSubstr("transactions 100/s instead of 100/s"));
  EXPECT_EQ(seen.comparison.statements.at(0).text, "SELECT $1");
  EXPECT_THAT(told, SizeIs(testing::Ge(10)));
  EXPECT_THAT(told.back(), HasSubstr("transactions 100/s, rolled back 0.00 %, a statement 1.0 ms"));
  EXPECT_EQ(shown.size(), told.size());
}

TEST_F(WatchAfter, SeesThatItIsWorse) {
  new_life.statements[1].milliseconds = 400;
  const WatchedSoFar seen = watch();
  EXPECT_EQ(seen.comparison.overall, Judgement::worse);
  EXPECT_EQ(seen.comparison.statements.at(0).judgement, Judgement::worse);
}

TEST_F(WatchAfter, TellsTheWayBack) {
  EXPECT_EQ(watch().back.type, "agent rejoin --node-control DIRECTORY, then agent cutover --switch-back");
  old_primary_streams();
  const WatchedSoFar seen = watch();
  EXPECT_TRUE(seen.back.streams);
  EXPECT_THAT(seen.back.behind, Optional(500));
  EXPECT_EQ(seen.back.text(),
            "to switch back without loss: agent cutover --switch-back (the old primary streams, 500 B behind)");
  rig.options.switch_back = true;
  EXPECT_EQ(watch().back.type, "agent cutover") << "the other way round";
}

TEST_F(WatchAfter, GoesOnWhenTheServerDoesNotAnswer) {
  int calls = 0;
  new_life.before = [&calls] {
    if (++calls == 3) throw Error(ErrorCode::connection_lost, "lost the connection");
  };
  const WatchedSoFar seen = watch();
  EXPECT_EQ(seen.comparison.overall, Judgement::same);
  EXPECT_THAT(told, Contains(HasSubstr("a look at the new primary failed: lost the connection")));
  EXPECT_THAT(seen.comparison.notes, Contains(HasSubstr("lost the connection"))) << "it is not forgotten";
}

TEST_F(WatchAfter, OfAServerThatNeverAnswersIsUnknown) {
  new_life.before = [] { throw Error(ErrorCode::unreachable, "connection refused"); };
  const WatchedSoFar seen = watch();
  EXPECT_EQ(seen.comparison.overall, Judgement::unknown);
  EXPECT_THAT(seen.comparison.notes, Contains(HasSubstr("connection refused")));
  EXPECT_FALSE(seen.comparison.line.empty());
}

TEST_F(WatchAfter, EndsWhenItIsInterrupted) {
  rig.stop.request_stop();
  const WatchedSoFar seen = watch();
  EXPECT_THAT(told, SizeIs(testing::Le(2)));
  EXPECT_EQ(seen.comparison.overall, Judgement::unknown) << "too short to say anything";
}

// ---- the looks of a cutover

TEST(CutoverLooks, AreTakenBeforeWritesStopAndNeverWhileTheyDo) {
  Rig rig;
  FakeWorkload life(rig.clock);
  int stopped = 0, looks = 0;
  life.before = [&] {
    ++looks;
    if (rig.traffic->paused) ++stopped;
  };
  for (Server* const server : {&rig.servers.old_primary, &rig.servers.new_primary}) {
    server->workload = [&life] { return std::make_unique<FakeWorkloadObserver>(life); };
  }
  Cutover cutover = rig.context();
  int kept = 0;
  cutover.on_workload = [&] { ++kept; };
  const Outcome outcome = run_cutover(cutover, [&](const Cutover&) {
    return std::make_unique<Journal>(rig.journal_file(), rig.clock, nlohmann::json::object(), nlohmann::json::object());
  });
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_EQ(looks, 2);
  EXPECT_EQ(stopped, 0);
  EXPECT_EQ(kept, 1);
  EXPECT_TRUE(cutover.workload.begin && cutover.workload.end);
  EXPECT_EQ(cutover.workload.new_primary, "new:5432");
}

TEST(CutoverLooks, ThatFailStopNothing) {
  Rig rig;
  rig.servers.old_primary.workload = []() -> std::unique_ptr<WorkloadObserver> {
    throw Error(ErrorCode::unreachable, "no session is left");
  };
  Cutover cutover = rig.context();
  const Outcome outcome = run_cutover(cutover, [&](const Cutover&) {
    return std::make_unique<Journal>(rig.journal_file(), rig.clock, nlohmann::json::object(), nlohmann::json::object());
  });
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(cutover.workload.problem, "no session is left");
  EXPECT_THAT(window_before(cutover.workload).problem, HasSubstr("no session is left"));
  EXPECT_THAT(cutover.warnings, IsEmpty());
}

TEST(CutoverLooks, BeginEarlierWhenSomebodyHasAskedForIt) {
  Rig rig;
  FakeWorkload life(rig.clock);
  rig.servers.old_primary.workload = [&life] { return std::make_unique<FakeWorkloadObserver>(life); };
  Cutover cutover = rig.context();
  cutover.workload.begin = life.look();
  rig.clock.advance(std::chrono::hours(1));
  const auto open_journal = [&](const Cutover&) {
    return std::make_unique<Journal>(rig.journal_file(), rig.clock, nlohmann::json::object(), nlohmann::json::object());
  };
  ASSERT_EQ(run_cutover(cutover, open_journal).exit_code, 0);
  EXPECT_GE(window_before(cutover.workload).seconds.value(), 3600);

  Rig other;
  FakeWorkload restarted(other.clock);
  other.servers.old_primary.workload = [&restarted] { return std::make_unique<FakeWorkloadObserver>(restarted); };
  Cutover second = other.context();
  second.workload.begin = restarted.look();
  second.workload.begin->started_at = from_unix(1'600'000'000);
  ASSERT_EQ(run_cutover(second,
                        [&](const Cutover&) {
                          return std::make_unique<Journal>(other.journal_file(), other.clock, nlohmann::json::object(),
                                                           nlohmann::json::object());
                        })
                .exit_code,
            0);
  EXPECT_EQ(second.workload.begin->started_at, restarted.at_zero.started_at) << "it is of no use any more";
}

}  // namespace
}  // namespace pgrm::agent
