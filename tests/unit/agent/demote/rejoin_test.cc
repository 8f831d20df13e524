#include "agent/demote/rejoin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct DemotedRig : Rig {
  explicit DemotedRig(Demotion demotion) { options.demotion = demotion; }

  Rejoin rejoin() {
    return {.old_primary = servers.old_primary,
            .new_primary = servers.new_primary,
            .control = control,
            .options = options,
            .clock = clock,
            .stop = {},
            .waits = [](const std::string&) {}};
  }
};

std::string evidence_of(const Outcome& outcome, std::string_view step) {
  const auto taken = std::ranges::find_if(outcome.steps, [&](const auto& record) { return record.step->name == step; });
  return taken == outcome.steps.end() ? "not taken" : taken->evidence;
}

Writer shop() {
  return {.pid = 4711,
          .user = "app",
          .database = "testdb",
          .application_name = "the shop",
          .address = "10.0.0.5",
          .state = "idle",
          .since = from_unix(1'800'000'100)};
}

TEST(LeftBehind, SessionsOnTheOldPrimaryAreNamedAndLeftInPeace) {
  Rig rig;
  rig.cluster.primary.writers = {shop()};
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_EQ(rig.cluster.primary.writers.size(), 1U);
  EXPECT_EQ(rig.progress.standing().left_behind.size(), 1U);
  EXPECT_EQ(evidence_of(outcome, "drain_old"), "1 sessions are on the old primary");
  ASSERT_EQ(rig.warnings.size(), 1U);
  EXPECT_THAT(rig.warnings.front(), HasSubstr("the shop of app from 10.0.0.5 since 2027-01-15T08:01:40"));
}

TEST(LeftBehind, ADriverThatOnlyLooksWhetherItMayWriteIsNotNamed) {
  Rig rig;
  int looks = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call != "primary.writers") return;
    rig.cluster.primary.writers = {shop()};
    rig.cluster.primary.writers.front().pid += ++looks;
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_EQ(looks, 3);
  EXPECT_THAT(rig.warnings, IsEmpty());
}

TEST(LeftBehind, DrainingEndsWhatComesBackForSoLong) {
  Rig rig;
  rig.options.drain_old = std::chrono::seconds(60);
  int looks = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "primary.end_writers" && ++looks <= 3) {
      rig.cluster.primary.writers = {shop()};
      rig.cluster.primary.writers.front().pid += looks;
    }
  };
  const Mono start = rig.clock.now();
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_EQ(evidence_of(outcome, "drain_old"),
            "3 sessions ended in 1 min 0 s, no session that may want to write is on the old primary");
  EXPECT_GE(rig.clock.now() - start, std::chrono::seconds(60));
  EXPECT_THAT(rig.progress.standing().left_behind, IsEmpty());
  EXPECT_THAT(rig.warnings, IsEmpty());
}

TEST(LeftBehind, AnOldPrimaryThatDoesNotAnswerIsNoFailureOfTheCutover) {
  Rig rig;
  rig.cluster.before = [](const std::string& call) {
    if (call == "primary.writers") throw Error(ErrorCode::timeout, "no answer");
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  ASSERT_EQ(rig.warnings.size(), 1U);
  EXPECT_THAT(rig.warnings.front(), HasSubstr("what is left on the old primary is not known: no answer"));
}

TEST(LeftBehind, NobodyIsAskedWhereNobodyCanWrite) {
  DemotedRig rig(Demotion::standby);
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_EQ(std::ranges::count(rig.cluster.calls, "primary.writers"), 0);
}

TEST(Demotion, StopShutsTheOldPrimaryDownAfterTheProof) {
  DemotedRig rig(Demotion::stop);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.control.orders, ElementsAre("stop"));
  EXPECT_FALSE(rig.cluster.primary.up);
  EXPECT_THAT(evidence_of(outcome, "demote_old"), HasSubstr("a write was refused"));
  EXPECT_THAT(evidence_of(outcome, "demote_old"), HasSubstr("stopped, nobody answers there"));
}

TEST(Demotion, StandbyFollowsTheNewPrimaryAndKeepsNothingOfTheFence) {
  DemotedRig rig(Demotion::standby);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.control.orders, ElementsAre("stop", "diverged", "rewind", "start"));
  EXPECT_TRUE(rig.cluster.primary.state.in_recovery);
  EXPECT_EQ(rig.cluster.primary.written, Overrides{});
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  ASSERT_EQ(rig.cluster.replica.state.slots.size(), 1U);
  EXPECT_EQ(rig.cluster.replica.state.slots.front().name, "pgrm_standby");
  // The slot has to be there before its WAL is needed, and pg_rewind takes the timeline from a checkpoint.
  const auto& calls = rig.cluster.calls;
  const auto slot = std::ranges::find(calls, "replica.create_slot(pgrm_standby)");
  const auto checkpoint = std::find(slot, calls.end(), "replica.checkpoint");
  const auto reset = std::find(slot, calls.end(), "primary.alter_system(reset)");
  EXPECT_NE(slot, calls.end());
  EXPECT_NE(checkpoint, calls.end());
  EXPECT_LT(checkpoint, reset);
}

TEST(Demotion, ACommandThatFailsLeavesThePromotionAndIsSaid) {
  for (const char* verb : {"stop", "rewind", "start"}) {
    DemotedRig rig(Demotion::standby);
    rig.control.fails = verb;
    const Outcome outcome = rig.run();
    EXPECT_EQ(outcome.exit_code, 6) << verb;
    EXPECT_TRUE(outcome.promoted) << verb;
    EXPECT_THAT(outcome.message, HasSubstr(std::string(verb) + " exited with 1"));
    const bool rewound = std::string(verb) == "start";
    EXPECT_EQ(rig.cluster.replica.state.slots.empty(), !rewound) << "a slot that nobody advances keeps WAL for ever";
    rig.control.fails.clear();
    EXPECT_EQ(rig.recover().exit_code, 0) << verb;
    EXPECT_TRUE(rig.cluster.primary.state.in_recovery) << verb;
    EXPECT_FALSE(rig.cluster.ever_two_writable) << verb;
  }
}

TEST(Demotion, AServerThatComesUpAsAPrimaryIsStoppedAtOnce) {
  DemotedRig rig(Demotion::standby);
  rig.control.leaves_standby_signal = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.message, HasSubstr("came up as a primary"));
  EXPECT_THAT(rig.control.orders, ElementsAre("stop", "diverged", "rewind", "start", "stop"));
  EXPECT_FALSE(rig.cluster.primary.up);
}

TEST(Demotion, AServerThatDoesNotGoDownIsNotRewound) {
  DemotedRig rig(Demotion::standby);
  rig.control.obeys_stop = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.message, HasSubstr("still accepts connections"));
  EXPECT_THAT(rig.control.orders, ElementsAre("stop"));
}

TEST(Demotion, AStandbyThatDoesNotStreamIsNoSuccess) {
  DemotedRig rig(Demotion::standby);
  rig.control.streams = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.message, HasSubstr("has no WAL receiver"));
}

TEST(Demotion, KilledAtAnyMomentItIsFinishedByRecover) {
  for (const Demotion demotion : {Demotion::stop, Demotion::standby}) {
    DemotedRig whole(demotion);
    ASSERT_EQ(whole.run().exit_code, 0);
    const auto& calls = whole.cluster.calls;
    const auto promoted = static_cast<std::size_t>(std::ranges::find(calls, "replica.promote") - calls.begin());
    // Behind its last record a cutover only looks at both servers once more.
    const auto last_look = std::find(calls.rbegin(), calls.rend(), "primary.fresh_identity");
    const auto end = static_cast<std::size_t>(calls.rend() - last_look) - 1;
    ASSERT_LT(promoted, end);
    for (std::size_t at = promoted + 1; at < end; ++at) {
      for (const bool carried_out : {false, true}) {
        SCOPED_TRACE(std::string(to_string(demotion)) + (carried_out ? " after " : " before ") + calls[at]);
        DemotedRig rig(demotion);
        auto& hook = carried_out ? rig.cluster.after : rig.cluster.before;
        hook = [&](const std::string&) {
          if (rig.cluster.calls.size() == at + 1) throw Killed();
        };
        EXPECT_THROW(rig.run(), Killed);
        hook = nullptr;
        const Outcome outcome = rig.recover();
        EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
        EXPECT_EQ(rig.cluster.primary.up, demotion == Demotion::standby);
        EXPECT_EQ(rig.cluster.primary.state.in_recovery, demotion == Demotion::standby);
        EXPECT_TRUE(rig.cluster.replica.writable());
        EXPECT_FALSE(rig.cluster.ever_two_writable);
        EXPECT_FALSE(rig.traffic->paused);
      }
    }
  }
}

/// Nothing that somebody was told is committed is destroyed unseen.
TEST(Demotion, WhatOnlyTheOldPrimaryHasIsKept) {
  DemotedRig rig(Demotion::standby);
  rig.control.diverged = "1663/16384/16385 INSERT 12\n";
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.message, HasSubstr("has committed what the new one lacks: 1663/16384/16385 INSERT 12"));
  EXPECT_THAT(rig.control.orders, ElementsAre("stop", "diverged"));
  EXPECT_EQ(rig.recover().exit_code, 6) << "and again";
  EXPECT_THAT(rig.control.orders, testing::Not(Contains("rewind")));

  Rejoin thrown_away = rig.rejoin();
  thrown_away.discard_diverged = true;
  make_standby(thrown_away);
  EXPECT_EQ(rig.recover().exit_code, 0);
}

/// What cannot be reached is no reason to throw its writes away.
TEST(Demotion, ARejoinWhoseCommandsCannotActDoesNothing) {
  DemotedRig rig(Demotion::read_only);
  ASSERT_EQ(rig.run().exit_code, 0);
  rig.control.trouble = "its host does not answer";
  try {
    make_standby(rig.rejoin());
    FAIL() << "made a standby";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unreachable);
    EXPECT_THAT(error.hint(), Not(HasSubstr("discard")));
  }
  EXPECT_THAT(rig.control.orders, IsEmpty());
}

/// Without pg_waldump, transaction ids are counted behind a gate that is shut.
TEST(Demotion, WhereItCannotBeListedOnlyAnUntouchedOneIsRewound) {
  for (const bool untouched : {true, false}) {
    DemotedRig rig(Demotion::standby);
    rig.control.cannot_diverged = "there is no pg_waldump";
    rig.control.fails = "diverged";
    rig.cluster.after = [&](const std::string& call) {
      if (call == "replica.promote" && !untouched) ++rig.cluster.primary.next_xid;
    };
    const Outcome outcome = rig.run();
    EXPECT_EQ(outcome.exit_code, untouched ? 0 : 6) << outcome.message;
    EXPECT_EQ(rig.cluster.primary.state.in_recovery, untouched);
    EXPECT_EQ(outcome.message.find("cannot be told") == std::string::npos, untouched);
  }
}

/// Clients that have come back, because the owner has opened the database, are not left in a server that is called
/// closed.
TEST(Demotion, ClosedEndsThoseWhoHaveComeBack) {
  DemotedRig rig(Demotion::closed);
  rig.cluster.after = [&](const std::string& call) {
    if (!call.starts_with("replica.write_and_read")) return;
    rig.cluster.primary.databases.front().open = true;
    ClientSession back;
    back.pid = 4711;
    back.user = "owner";
    back.database = "testdb";
    rig.cluster.primary.sessions.push_back(back);
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.cluster.primary.sessions, IsEmpty());
  EXPECT_THAT(evidence_of(outcome, "demote_old"), HasSubstr("1 sessions that had come back were ended"));
}

TEST(Demotion, DoesNothingTwice) {
  DemotedRig rig(Demotion::standby);
  ASSERT_EQ(rig.run().exit_code, 0);
  const auto orders = rig.control.orders;
  const Rejoin again{rig.servers.old_primary,  rig.servers.new_primary, rig.control, rig.options, rig.clock, {},
                     [](const std::string&) {}};
  EXPECT_THAT(make_standby(again), HasSubstr("streams already"));
  EXPECT_EQ(rig.control.orders, orders);
}

TEST(Demotion, OrphanSlotsOfTheFormerPrimaryAreDropped) {
  DemotedRig rig(Demotion::standby);
  ASSERT_EQ(rig.run().exit_code, 0);
  Slot orphan;
  orphan.name = "replica_slot";
  orphan.type = "physical";
  rig.cluster.primary.state.slots = {orphan};
  const Rejoin in_order{rig.servers.old_primary,  rig.servers.new_primary, rig.control, rig.options, rig.clock, {},
                        [](const std::string&) {}};
  make_standby(in_order);
  EXPECT_EQ(rig.cluster.primary.state.slots.size(), 1U) << "a standby in good order keeps its slots";
  rig.cluster.primary.written = rig.cluster.primary.override = rig.fenced();
  const Rejoin again{rig.servers.old_primary,  rig.servers.new_primary, rig.control, rig.options, rig.clock, {},
                     [](const std::string&) {}};
  EXPECT_THAT(make_standby(again), HasSubstr("orphan slots dropped: replica_slot"));
  EXPECT_THAT(rig.cluster.primary.state.slots, IsEmpty());
}

TEST(Siblings, AreRedirectedAndThoseThatDoNotFollowAreNamed) {
  FakeCluster cluster;
  FakeClock clock;
  cluster.replica_is_promoted();
  std::vector<std::unique_ptr<Node>> siblings;
  siblings.push_back(cluster.node(Side::primary));  // in the part of a sibling
  const auto primary = cluster.node(Side::replica);
  const auto at = Conninfo::parse("host=new port=5432");
  const auto problems = redirect_siblings(siblings, *primary, at, clock, std::chrono::seconds(1));
  EXPECT_THAT(cluster.calls, Contains("primary.follow(new:5432)"));
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems.front(), HasSubstr("does not follow new:5432: it is not in recovery"));
}

Sample pair_of(bool primary_recovers, bool primary_read_only, bool replica_recovers) {
  Sample sample;
  ServerState state;
  state.system_identifier = "7";
  state.in_recovery = primary_recovers;
  state.default_read_only = primary_read_only;
  sample.primary.state = state;
  state.started_at += std::chrono::hours(1);  // two servers
  state.in_recovery = replica_recovers;
  state.default_read_only = false;
  sample.replica.state = state;
  return sample;
}

TEST(FindNewPrimary, IsTheOneThatTakesWrites) {
  EXPECT_EQ(find_new_primary(pair_of(false, true, false)), Side::replica);
  EXPECT_EQ(find_new_primary(pair_of(true, false, false)), Side::replica);
  EXPECT_EQ(find_new_primary(pair_of(false, false, true)), Side::primary);
  Sample one_down = pair_of(false, true, false);
  one_down.primary.state.reset();
  EXPECT_EQ(find_new_primary(one_down), Side::replica);
}

TEST(FindNewPrimary, RefusesWhatCouldLoseWrites) {
  Sample strangers = pair_of(false, true, false);
  strangers.primary.state->system_identifier = "8";
  for (const Sample& sample : {pair_of(false, false, false), pair_of(true, false, true), Sample{}, strangers}) {
    EXPECT_THROW(find_new_primary(sample), Error);
  }
}

}  // namespace
}  // namespace pgrm::agent
