// What a new agent makes of what another has left; that it always comes to a good end is the crash matrix' business
// (tests/scenario).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;

/// The agent dies around its order to promote: `hook` is the cluster's `before` or `after`.
void die_at_the_order(Rig& rig, std::function<void(const std::string&)>& hook) {
  hook = [](const std::string& call) {
    if (call == "replica.promote") throw Killed();
  };
  EXPECT_THROW(rig.run(), Killed);
  hook = nullptr;
}

TEST(Recover, LeavesBothFencedWhileTheReplicaCannotBeSeen) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.after);
  rig.cluster.replica.up = false;
  for (const Decision decision : {Decision::by_looking, Decision::complete}) {
    EXPECT_EQ(rig.recover(decision).exit_code, 7);
    EXPECT_FALSE(rig.cluster.primary.writable());
  }
  rig.cluster.replica.up = true;
  EXPECT_EQ(rig.recover().exit_code, 0) << "it was promoted after all";
  EXPECT_TRUE(rig.cluster.replica.writable());
}

TEST(Recover, OnTheWordOfAPersonADeadReplicaIsNoDeadEnd) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "replica.promote") rig.cluster.replica.up = false;  // it dies of its own promotion
  };
  EXPECT_EQ(rig.run().exit_code, 7);
  rig.cluster.after = nullptr;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_EQ(rig.recover(Decision::abort).exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_FALSE(rig.traffic->paused);
  EXPECT_THAT(rig.warnings, testing::Contains(HasSubstr("was not seen before the old primary was opened")));
}

/// What a recovery claims is what it saw: both servers, in the end.
TEST(Recover, TellsWhoTakesWritesByLooking) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.after);
  rig.cluster.replica.up = false;
  rig.recover();
  EXPECT_EQ(writable_now(*rig.situation), "unknown; new:5432 cannot be told");
  rig.cluster.replica.up = true;
  rig.recover();
  EXPECT_EQ(writable_now(*rig.situation), "new:5432");
}

/// A name that a hook moves with the promotion leads to the new primary by then.
TEST(Recover, NeverTakesTheNewPrimaryForTheOldOne) {
  Rig rig;
  rig.traffic->on_resume = [&] {
    rig.cluster.old_name_leads_to = Side::replica;
    rig.cluster.primary.end_sessions();
  };
  EXPECT_EQ(rig.run().exit_code, 6) << "the old primary is out of reach, so its demotion is not proved";
  rig.traffic->on_resume = nullptr;
  for (int time = 0; time < 2; ++time) {
    EXPECT_TRUE(rig.cluster.replica.writable());
    EXPECT_EQ(rig.situation->old_primary.unseen, "it leads to new:5432");
    EXPECT_EQ(rig.recover().exit_code, 6);
  }
  EXPECT_TRUE(rig.cluster.replica.writable());
  EXPECT_FALSE(rig.cluster.primary.writable());
  rig.cluster.old_name_leads_to = Side::primary;
  const Outcome outcome = rig.recover();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
}

/// The other way round: what answers under the new primary's name is the old one.
TEST(Recover, NeverTakesTheOldPrimaryForTheNewOne) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.after);
  rig.cluster.new_name_leads_to = Side::primary;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_EQ(rig.situation->new_primary.unseen, "it leads to old:5432");
  EXPECT_FALSE(rig.cluster.primary.writable());
  rig.cluster.new_name_leads_to = Side::replica;
  EXPECT_EQ(rig.recover().exit_code, 0);
}

/// Nothing was ordered: a name that leads to the old primary is no promotion.
TEST(Recover, UndoesAlthoughTheNameOfTheReplicaLeadsToTheOldPrimary) {
  for (const Decision decision : {Decision::by_looking, Decision::abort}) {
    Rig rig;
    rig.traffic->on_fence = [] { throw Killed(); };
    EXPECT_THROW(rig.run(), Killed);
    rig.cluster.new_name_leads_to = Side::primary;
    EXPECT_EQ(rig.recover(decision).exit_code, 5);
    EXPECT_EQ(rig.situation->new_primary.unseen, "it leads to old:5432");
    EXPECT_TRUE(rig.cluster.primary.writable());
    EXPECT_EQ(rig.text().find("seen_promoted"), std::string::npos);
  }
}

/// While the replica still is one, neither timeline nor role tells them apart.
TEST(Recover, SeesNoOldPrimaryUnderANameThatLeadsToTheReplica) {
  Rig rig;
  rig.traffic->on_fence = [] { throw Killed(); };
  EXPECT_THROW(rig.run(), Killed);
  rig.cluster.old_name_leads_to = Side::replica;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_EQ(rig.situation->old_primary.unseen, "it leads to new:5432");
  EXPECT_EQ(rig.cluster.replica.written, Overrides());
  rig.cluster.old_name_leads_to = Side::primary;
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
}

/// Others have switched over there and back since the agent died: the old journal must not act on the servers of now.
TEST(Recover, TouchesNothingOnceTheServersWereSwitchedOverSince) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.before);
  rig.cluster.primary.restart();
  rig.cluster.primary.override = rig.cluster.primary.written = {};
  for (Database& database : rig.cluster.primary.databases) database.open = true;
  rig.cluster.primary.state.timeline = 3;
  rig.cluster.replay_all();
  for (const Decision decision : {Decision::by_looking, Decision::complete}) {
    EXPECT_EQ(rig.recover(decision).exit_code, 7);
    EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
    EXPECT_TRUE(rig.cluster.primary.writable());
  }
  const Outcome outcome = rig.recover(Decision::abort);
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_EQ(outcome.hint, "agent status shows both servers") << "and does not say which one is the primary as before";
  EXPECT_TRUE(settled(parse_journal(rig.text())));
  EXPECT_THAT(rig.warnings, testing::Contains(HasSubstr("look whether something of it is left: ")));
  EXPECT_TRUE(rig.cluster.primary.writable());
}

/// Somebody starts the replica without standby.signal: it is a primary on the timeline of the old one.
TEST(Recover, SeesAPrimaryThatWasNeverPromoted) {
  Rig rig;
  rig.traffic->on_fence = [&] {
    rig.cluster.replica.state.in_recovery = false;
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  EXPECT_EQ(rig.run().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
  EXPECT_FALSE(rig.cluster.ever_two_writable);
}

/// The replica does not answer before anything is undone, and does a moment later: the drivers were never told.
TEST(Recover, TellsTheDriversWhenTheUndoBeginsLate) {
  Rig rig;
  int refusals = 2, looks = 0;  // the first look sees it
  bool behind = false;
  rig.cluster.before = [&](const std::string& call) {
    const bool asks = call == "replica.identity" || call == "replica.fresh_identity";
    if (!behind || !asks || refusals == 0 || ++looks == 1) return;
    --refusals;
    throw Error(ErrorCode::timeout, "no answer");
  };
  rig.traffic->on_fence = [&] {
    behind = true;
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(refusals, 0);
  EXPECT_EQ(outcome.exit_code, 5) << outcome.message;
  EXPECT_THAT(rig.traffic->given, testing::ElementsAre("stop", "resume_on_old"));
  EXPECT_TRUE(rig.cluster.primary.writable());
}

/// The network drops the session that has the lock, and the server does not know: that is no other agent.
TEST(Recover, TakesTheLockOfItsOwnLostSessionBack) {
  Rig rig;
  rig.cluster.primary.notices = false;
  rig.traffic->on_fence = [&] {
    rig.servers.lock->disconnect();
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_FALSE(rig.traffic->paused);
}

/// A configuration that cannot be loaded any more keeps the fence's settings in force, and nothing else.
TEST(Recover, LiftsEveryLayerOnItsOwn) {
  Rig rig;
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.unloadable = true;
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_TRUE(rig.cluster.primary.open()) << "the gate needs no reload";
  EXPECT_FALSE(rig.traffic->paused);
  EXPECT_EQ(rig.cluster.primary.written, Overrides()) << "for the reload that somebody else makes possible";
  EXPECT_EQ(writable_now(*rig.situation), "none");
  rig.cluster.primary.unloadable = false;
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
}

TEST(Recover, LeavesSettingsAloneThatSomebodyHasChangedMeanwhile) {
  Rig rig;
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.written.standby_names = rig.cluster.primary.override.standby_names = "another";
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(rig.cluster.primary.override, (Overrides{std::nullopt, "another"}));
}

TEST(Recover, ADatabaseThatWasDroppedMeanwhileHoldsNothingUp) {
  Rig rig;
  rig.cluster.primary.databases.push_back({"extra", "app", true, true});
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.databases.pop_back();
    throw Error(ErrorCode::query_failed, "hook says no");
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
}

/// A person promotes the replica, and it cannot be seen any more afterwards: what one agent has seen, the next one
/// knows.
TEST(Recover, KnowsThePromotionThatAnUndoHasSeen) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "replica.attack") rig.cluster.replica_is_promoted();  // right after the look
  };
  rig.traffic->on_fence = [] { throw Error(ErrorCode::query_failed, "hook says no"); };
  EXPECT_EQ(rig.run().exit_code, 7);
  rig.cluster.after = nullptr;
  rig.cluster.replica.up = false;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
}

// What a recovery sees must be in the journal before it asks anything else: it may die at the next question.
TEST(Recover, KnowsThePromotionThatADeadRecoveryHasSeen) {
  Rig rig;
  rig.options.fence = FenceForm::read_only;
  rig.traffic->on_fence = [&] {
    rig.cluster.replica_is_promoted();
    throw Killed();
  };
  EXPECT_THROW(rig.run(), Killed);
  bool seen = false;
  rig.cluster.before = [&seen](const std::string& call) {
    if (seen) throw Killed();
    seen = call == "replica.fresh_identity";
  };
  EXPECT_THROW(rig.recover(), Killed);
  rig.cluster.before = nullptr;
  rig.cluster.replica.up = false;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
}

TEST(Recover, GoesOnlyForwardOnceAPersonHasAcceptedAPromotion) {
  Rig rig;
  rig.traffic->on_fence = [&] {
    rig.cluster.replica_is_promoted();
    throw Killed();
  };
  EXPECT_THROW(rig.run(), Killed);
  rig.cluster.before = [](const std::string& call) {
    if (call == "replica.write_and_read") throw Killed();
  };
  EXPECT_THROW(rig.recover(Decision::complete), Killed);
  rig.cluster.before = nullptr;
  rig.cluster.replica.up = false;
  EXPECT_EQ(rig.recover().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
  rig.cluster.replica.restart();
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_TRUE(rig.cluster.replica.writable());
}

TEST(Recover, LeavesTheFenceOfAnotherCutoverAlone) {
  Rig rig;
  rig.traffic->on_fence = [] { throw Killed(); };
  EXPECT_THROW(rig.run(), Killed);
  auto& primary = rig.cluster.primary;
  primary.written.standby_names = primary.override.standby_names = wedge_of("20270115T080001Z-other");
  const Outcome outcome = rig.recover();
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_THAT(outcome.message, HasSubstr("fence of another cutover"));
  EXPECT_FALSE(primary.open());
}

TEST(Recover, FinishesWhatWasUnfinished) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.write_and_read") throw Error(ErrorCode::timeout, "too slow");
  };
  EXPECT_EQ(rig.run().exit_code, 6);
  rig.cluster.before = nullptr;
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_FALSE(rig.traffic->paused);
}

/// The application waits: no window and no better moment is waited for.
TEST(Recover, GoesForwardOutsideOfTheWindow) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.before);
  rig.options.window = parse_daily_window("23:00-23:01");
  rig.options.wait_for_transactions = std::chrono::minutes(5);
  rig.cluster.primary.facts.oldest_transaction = std::chrono::hours(1);
  const Mono start = rig.clock.now();
  const Outcome outcome = rig.recover();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_LT(rig.clock.now() - start, std::chrono::seconds(30));
}

/// What replaces a reason to wait may be another one.
TEST(Recover, OneFailedLookDoesNotCutTheWaitForAnOrderShort) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.before);
  int looks = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.fresh_identity" && ++looks == 3) throw Error(ErrorCode::unreachable, "a lost packet");
  };
  const Mono start = rig.clock.now();
  EXPECT_EQ(rig.recover(Decision::abort).exit_code, 5);
  EXPECT_GE(rig.clock.now() - start, rig.options.promote_timeout);
}

TEST(Recover, GoesForwardOnceAPromotionWasOrdered) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.before);
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_TRUE(rig.cluster.replica.writable());
}

TEST(Recover, CompletesWithoutTheOldPrimaryOnThePromisedPosition) {
  Rig rig;
  die_at_the_order(rig, rig.cluster.before);
  rig.cluster.primary.up = false;
  EXPECT_EQ(rig.recover().exit_code, 7) << "nobody can see that it is still fenced";
  EXPECT_EQ(rig.recover(Decision::complete).exit_code, 6) << "the old one cannot be demoted";
  EXPECT_TRUE(rig.cluster.replica.writable());
  rig.cluster.primary.restart();
  EXPECT_FALSE(rig.cluster.primary.acknowledges());
  EXPECT_EQ(rig.recover().exit_code, 0);
}

/// An order to promote that may or may not have been given, and an abort that dies when the old primary is open again.
void abort_and_die(Rig& rig) {
  die_at_the_order(rig, rig.cluster.before);
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.await_reload" && rig.cluster.primary.writable()) throw Killed();
  };
  EXPECT_THROW(rig.recover(Decision::abort), Killed);
  rig.cluster.after = nullptr;
  EXPECT_TRUE(rig.cluster.primary.writable());
}

TEST(Recover, GoesOnGoingBack) {
  Rig rig;
  abort_and_die(rig);
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
  EXPECT_FALSE(rig.traffic->paused);
}

TEST(Recover, CompletesAnAbortOnlyBehindANewFence) {
  Rig rig;
  rig.cluster.clients = true;
  abort_and_die(rig);
  rig.cluster.primary.up = false;
  EXPECT_EQ(rig.recover(Decision::complete).exit_code, 7) << "the old primary may have written since";
  EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
  rig.cluster.primary.restart();
  EXPECT_EQ(rig.recover(Decision::complete).exit_code, 0);
  EXPECT_TRUE(rig.cluster.replica.writable());
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  EXPECT_THAT(rig.cluster.lost(rig.cluster.replica), IsEmpty());
}

TEST(Recover, FencesAndAsksWhenAPromotionCameAfterAnUndoHadBegun) {
  Rig rig;
  abort_and_die(rig);
  rig.cluster.replica_is_promoted();
  for (int time = 0; time < 2; ++time) {
    const Outcome outcome = rig.recover();
    EXPECT_EQ(outcome.exit_code, 7);
    EXPECT_THAT(outcome.message, HasSubstr("may have taken writes"));
    EXPECT_FALSE(rig.cluster.primary.acknowledges());
  }
  EXPECT_EQ(rig.recover(Decision::complete).exit_code, 0);
  EXPECT_TRUE(rig.cluster.replica.writable());
  EXPECT_FALSE(rig.cluster.primary.writable());
  EXPECT_THAT(rig.warnings, testing::Contains(HasSubstr("the new one lacks")));
}

TEST(Recover, LeavesAnotherClusterAlone) {
  Rig rig;
  rig.traffic->on_fence = [] { throw Killed(); };
  EXPECT_THROW(rig.run(), Killed);
  rig.cluster.primary.state.system_identifier = "another";
  EXPECT_THROW(rig.recover(), Error);
}

TEST(Recover, RestoresWhatWasThereBeforeTheFirstFence) {
  Rig rig;
  rig.cluster.primary.override.read_only = rig.cluster.primary.written.read_only = "off";
  rig.traffic->on_fence = [] { throw Killed(); };
  EXPECT_THROW(rig.run(), Killed);
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_EQ(rig.cluster.primary.override.read_only, "off");
}

}  // namespace
}  // namespace pgrm::agent
