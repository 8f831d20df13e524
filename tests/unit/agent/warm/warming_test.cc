#include "agent/warm/warming.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t all = ~std::uint64_t{0};
constexpr RelationFile table{6, 1663, 100, 0}, index{6, 1663, 101, 0}, shared{0, 1664, 1260, 0};

struct Warm : testing::Test {
  WarmSurvey survey() {
    return survey_buffers(rig.servers.old_primary, rig.servers.new_primary, rig.options.pair, std::chrono::seconds(1));
  }
  Warmed warm(WarmSurvey& what) { return warm_up(means, what); }

  Rig rig;
  std::vector<std::string> told;
  WarmMeans means{.servers = rig.servers,
                  .options = rig.options,
                  .clock = rig.clock,
                  .stop = rig.stop.get_token(),
                  .tells = [this](const std::string& what) { told.push_back(what); }};
};

TEST_F(Warm, LoadsWhatThePrimaryKeepsAndIsDoneTheSecondTime) {
  rig.primary_cache.kept = {{table, 0, 0xff, 2}, {index, 0, 0xff, 5}, {shared, 0, 1, 1}};
  WarmSurvey first = survey();
  const Warmed warmed = warm(first);
  EXPECT_EQ(warmed.blocks.loaded, 17);
  EXPECT_EQ(rig.replica_cache.loaded.front(), (BlockRange{index, 0, 7})) << "the hottest first";
  EXPECT_THAT(rig.primary_cache.loaded, IsEmpty());
  EXPECT_THAT(told, Not(IsEmpty()));
  EXPECT_THAT(describe(first, warmed), HasSubstr("139.3 kB loaded"));

  const WarmSurvey again = survey();
  EXPECT_EQ(again.plan.to_load, 0);
  EXPECT_EQ(again.plan.held, 17);
}

TEST_F(Warm, ADatabaseThatTakesNoConnectionsIsNotWanted) {
  rig.primary_cache.kept = {{{1, 1663, 100, 0}, 0, 0xff, 2}};
  EXPECT_EQ(survey().plan.wanted, 0);
}

TEST_F(Warm, WithoutTheExtensionItGoesByStatisticsAndSaysWhatToType) {
  rig.primary_cache.tools.buffercache = {};
  rig.replica_cache.tools.buffercache = {};
  rig.replica_cache.tools.prewarm = {};
  rig.primary_cache.asked_for = {{table, 0, all, 0.5}, {index, 0, 0xf, 100}};
  WarmSurvey what = survey();
  EXPECT_EQ(what.source, "pg_statio");
  EXPECT_FALSE(what.held_known);
  EXPECT_THAT(what.advice, testing::ElementsAre(HasSubstr("psql -d postgres -c 'CREATE EXTENSION pg_buffercache'"),
                                                HasSubstr("psql -d testdb -c 'CREATE EXTENSION pg_prewarm'")));
  EXPECT_EQ(what.databases.at(6).way, "tables only");
  warm(what);
  EXPECT_EQ(rig.replica_cache.loaded.front(), (BlockRange{index, 0, 3}));
}

TEST_F(Warm, AFunctionThatIsNotTheExtensionsOwnIsNotCalled) {
  rig.primary_cache.tools.buffercache = {.installed = true, .name = "", .may = false, .grant = ""};
  rig.primary_cache.before = [](const std::string& call) { EXPECT_NE(call, "kept"); };
  EXPECT_THAT(survey().advice.front(), HasSubstr("is not the extension as PostgreSQL has it"));
  const Warmth warmth =
      how_warm(rig.servers.old_primary, rig.servers.new_primary, rig.options.pair, std::chrono::seconds(1));
  EXPECT_THAT(warmth.problem, HasSubstr("is not the extension"));
}

TEST_F(Warm, AMissingRightIsNamedWithItsGrant) {
  rig.primary_cache.kept = {{table, 0, 0xff, 2}};
  rig.replica_cache.tools.prewarm.may = false;
  rig.replica_cache.tools.prewarm.grant = "GRANT EXECUTE ON FUNCTION public.pg_prewarm(…) TO agent";
  EXPECT_THAT(survey().advice.front(),
              HasSubstr("psql -d testdb -c 'GRANT EXECUTE ON FUNCTION public.pg_prewarm(…) TO agent'"));
}

TEST_F(Warm, WhatMayNotBeReadHoldsNothingElseUp) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}, {index, 0, 0xff, 2}};
  rig.replica_cache.denied = {table.file};
  WarmSurvey what = survey();
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.blocks.denied, 8);
  EXPECT_EQ(warmed.blocks.loaded, 8);
  EXPECT_THAT(describe(what, warmed), HasSubstr("65.5 kB the agent's role may not read"));
}

TEST_F(Warm, ADatabaseThatLetsNobodyInIsLeftOut) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}, {shared, 0, 1, 1}};
  rig.replica_cache.before = [](const std::string& call) {
    if (call == "tools(testdb)") throw Error(ErrorCode::permission_denied, "no CONNECT");
  };
  WarmSurvey what = survey();
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.unopened, 8);
  EXPECT_EQ(warmed.blocks.loaded, 1);
}

TEST_F(Warm, YieldsWhileTheReplicaIsBehindAndGoesOn) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  WarmSurvey what = survey();
  rig.cluster.streams = false;
  rig.cluster.write(1 << 20);
  int looks = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.wal_replayed" && ++looks == 300) {
      rig.cluster.streams = true;
      rig.cluster.write(1);
    }
    if (looks < 300) {  // a probe takes about a hundred
      EXPECT_THAT(rig.replica_cache.loaded, IsEmpty());
    }
  };
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.blocks.loaded, 8);
  EXPECT_GT(warmed.yielded, Duration::zero());
}

TEST_F(Warm, GivesUpWhenTheReplicaStaysBehind) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  WarmSurvey what = survey();
  rig.cluster.streams = false;
  rig.cluster.write(1 << 20);
  means.patience = std::chrono::minutes(5);
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.not_reached, 8);
  EXPECT_THAT(describe(what, warmed), HasSubstr("ended early: the replica did not catch up within 5 min"));
}

TEST_F(Warm, KeepsToItsRate) {
  for (std::int64_t number = 0; number < 15; ++number) rig.primary_cache.kept.push_back({table, number, all, 5});
  WarmSurvey what = survey();
  rig.options.warm_rate = 1;
  const Mono began = rig.clock.now();
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.blocks.loaded, 960);
  EXPECT_GE(rig.clock.now() - began, std::chrono::milliseconds(960 * 8192 / 1000));
}

TEST_F(Warm, AStopEndsItBetweenTwoPieces) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  WarmSurvey what = survey();
  rig.stop.request_stop();
  const Warmed warmed = warm(what);
  EXPECT_EQ(warmed.ended, "interrupted");
  EXPECT_THAT(rig.replica_cache.loaded, IsEmpty());
}

TEST_F(Warm, ALostServerIsAnErrorAndNoCountOfFailures) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  WarmSurvey what = survey();
  rig.replica_cache.before = [](const std::string&) { throw Error(ErrorCode::connection_lost, "gone"); };
  EXPECT_THROW(warm(what), Error);
}

TEST_F(Warm, ACutoverWarmsWhenItIsAskedToAndOnceMoreWhenItPrepares) {
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.replica_cache.loaded, IsEmpty());

  Rig asked;
  asked.options.warm = true;
  asked.primary_cache.kept = {{table, 0, 0xff, 5}};
  asked.replica_cache.before = [&, seen = 0](const std::string& call) mutable {
    if (call == "load" && ++seen == 1) asked.primary_cache.kept.push_back({{6, 1663, 102, 0}, 0, 1, 5});
  };
  EXPECT_EQ(asked.run().exit_code, 0);
  EXPECT_THAT(asked.replica_cache.loaded, testing::Contains(BlockRange{table, 0, 7}));
  EXPECT_THAT(asked.replica_cache.loaded, testing::Contains(BlockRange{{6, 1663, 102, 0}, 0, 0}));
}

TEST_F(Warm, ADryRunOfACutoverSaysWhatWouldBeLoaded) {
  rig.options.warm = true;
  rig.primary_cache.kept = {{table, 0, 0xff, 5}};
  const Outcome outcome = rig.dry();
  const auto step =
      std::ranges::find_if(outcome.steps, [](const StepRecord& record) { return record.step->name == "warm"; });
  ASSERT_NE(step, outcome.steps.end());
  EXPECT_THAT(step->evidence, HasSubstr("would load 65.5 kB by pg_buffercache"));
  EXPECT_THAT(rig.replica_cache.loaded, IsEmpty());
}

}  // namespace
}  // namespace pgrm::agent
