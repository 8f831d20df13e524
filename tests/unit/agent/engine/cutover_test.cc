#include "agent/engine/walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::array orders{
    ".fill_wal",          ".switch_wal",           ".set_system_settings", ".alter_system",   ".order_reload",
    ".allow_connections", ".enable_subscriptions", ".end_sessions",        ".checkpoint",     ".promote",
    ".flush_wal",         ".end_writers",          ".write_probe",         ".write_and_read", ".attack"};

bool is_order(const std::string& call) {
  return std::ranges::any_of(orders, [&](const char* order) { return call.find(order) != std::string::npos; });
}

/// What must hold whatever went wrong, given the exit code that was reported.
void expect_safe(Rig& rig, const Outcome& outcome, const std::string& when) {
  SCOPED_TRACE(when + " -> exit " + std::to_string(outcome.exit_code) + " " + outcome.message);
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  const bool old_writable = rig.cluster.primary.writable();
  const bool new_writable = rig.cluster.replica.writable();
  switch (outcome.exit_code) {
    case 0:
      EXPECT_TRUE(new_writable);
      EXPECT_FALSE(rig.traffic->paused);
      break;
    case 1:
    case 3:
    case 4:
      EXPECT_TRUE(old_writable);
      EXPECT_THAT(rig.traffic->given, IsEmpty());
      EXPECT_THAT(rig.journal, IsEmpty());
      break;
    case 5:
      EXPECT_TRUE(old_writable);
      EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
      EXPECT_FALSE(rig.traffic->paused);
      break;
    case 6:
      EXPECT_FALSE(rig.cluster.replica.state.in_recovery);
      EXPECT_FALSE(old_writable);
      break;
    case 7:
      EXPECT_FALSE(old_writable);
      break;
    default:
      ADD_FAILURE() << "exit code of no meaning";
  }
}

TEST(Cutover, SwapsTheRolesAndProvesIt) {
  Rig rig;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_TRUE(outcome.promoted);
  EXPECT_TRUE(rig.cluster.replica.writable());
  EXPECT_FALSE(rig.cluster.primary.writable());
  EXPECT_THAT(rig.cluster.primary.sessions, IsEmpty());
  EXPECT_THAT(rig.cluster.replica.rows, ElementsAre("20270115T080000Z-test"));
  EXPECT_THAT(rig.cluster.primary.rows, IsEmpty());
  EXPECT_THAT(rig.traffic->given, ElementsAre("stop", "resume_on_new"));
  EXPECT_THAT(rig.warnings, IsEmpty());
  expect_safe(rig, outcome, "nothing went wrong");
}

TEST(Cutover, JournalHoldsBeginBeforeEveryChangeAndDoneAfterIt) {
  Rig rig;
  std::vector<std::size_t> lines_at_order;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") lines_at_order.push_back(rig.journal.size());
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  std::string text;
  for (const std::string& line : rig.journal) text += line + "\n";
  std::vector<std::string> records;
  for (const JournalRecord& record : parse_journal(text)) records.push_back(record.record + " " + record.step);
  EXPECT_THAT(records,
              ElementsAre("journal ", "begin replica_settings", "done replica_settings", "begin arm_fence",
                          "done arm_fence", "begin stop_traffic", "done stop_traffic", "begin fence", "done fence",
                          "begin promote", "done promote", "begin validate", "done validate", "begin open", "done open",
                          "begin demote_old", "done demote_old", "begin drain_old", "done drain_old", "end "));
  ASSERT_THAT(lines_at_order, ElementsAre(10U));
  EXPECT_THAT(rig.journal[9], HasSubstr("promote"));
}

TEST(DryRun, GivesNoOrderToAnybody) {
  Rig rig;
  const Outcome outcome = rig.dry();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_EQ(outcome.steps.size(), steps().size());
  for (const std::string& call : rig.cluster.calls) EXPECT_FALSE(is_order(call)) << call;
  EXPECT_THAT(rig.traffic->given, IsEmpty());
  EXPECT_THAT(rig.journal, IsEmpty());
}

TEST(DryRun, RefusesForTheReasonsOfTheRealThing) {
  Rig rig;
  rig.cluster.primary.facts.prepared_transactions = 1;
  EXPECT_EQ(rig.dry().exit_code, 3);
}

TEST(Cutover, IsNotDoneWhenTheNewPrimaryDiesInTheEnd) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.attack" && !rig.cluster.replica.state.in_recovery) rig.cluster.replica.up = false;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.message, HasSubstr("new:5432 cannot be seen"));
  rig.cluster.after = nullptr;
  EXPECT_EQ(rig.recover().exit_code, 7);
  rig.cluster.replica.restart();
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_TRUE(rig.cluster.replica.writable());
}

TEST(Cutover, RefusesWhenTheReplicaIsDown) {
  Rig rig;
  rig.cluster.replica.up = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.message, HasSubstr("replica_reachable"));
  expect_safe(rig, outcome, "replica down");
}

TEST(Cutover, RefusesWithoutTheExporter) {
  Rig rig;
  rig.exporter.up = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.message, HasSubstr("exporter_fresh"));
}

TEST(Cutover, WaitsForTheStreakAndGivesUpAfterItsBudget) {
  Rig rig;
  rig.exporter.streak_length = 2;
  const Mono start = rig.clock.now();
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, AllOf(HasSubstr("5 min 0 s"), HasSubstr("2 of 3")));
  EXPECT_EQ(rig.clock.now() - start, std::chrono::seconds(300));
  expect_safe(rig, outcome, "never in sync");
}

TEST(Cutover, DoesNotBelieveAnExporterThatDiesWhileItWaits) {
  Rig rig;
  rig.exporter.streak_length = 1;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.try_lock") rig.exporter.up = false;  // the last question of the preflight
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("no exporter"));
}

TEST(Cutover, UndoesWhenTheReplicaDiesBehindTheFence) {
  Rig rig;
  rig.traffic->on_fence = [&] { rig.cluster.replica.up = false; };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(rig.traffic->given, ElementsAre("stop", "resume_on_old"));
  expect_safe(rig, outcome, "replica died behind the fence");
}

/// One byte is written behind the fence that the replica never gets.
void lose_a_byte(Rig& rig) {
  rig.traffic->on_fence = [&rig] {
    rig.cluster.streams = false;
    rig.cluster.write(1);
  };
}

TEST(Cutover, UndoesWhenAByteIsMissing) {
  Rig rig;
  rig.options.attempts = 1;
  lose_a_byte(rig);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("has not replayed"));
  EXPECT_THAT(rig.cluster.calls, Not(Contains("replica.promote")));
  expect_safe(rig, outcome, "a byte is missing");
}

/// Exit code 4 says that writes were never stopped.
TEST(Cutover, ASecondAttemptThatFindsNoMomentIsUndone) {
  Rig rig;
  lose_a_byte(rig);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("no moment for a short pause"));
  expect_safe(rig, outcome, "no moment for a second attempt");
}

TEST(Cutover, AcceptsAnInsertPositionBehindAPageHeader) {
  Rig rig;
  rig.traffic->on_fence = [&] {
    const std::uint64_t page_end = (rig.cluster.primary.state.wal_flush->bytes() / 8192 + 1) * 8192;
    rig.cluster.write(page_end - rig.cluster.primary.state.wal_flush->bytes());
    rig.cluster.primary.state.wal_insert = Lsn(page_end + 24);
  };
  EXPECT_EQ(rig.run().exit_code, 0);
}

TEST(Cutover, FlushesWhatWasCommittedAsynchronously) {
  Rig rig;
  rig.cluster.primary.facts.rights["pg_switch_wal"] = false;
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.state.wal_insert = Lsn(rig.cluster.primary.state.wal_flush->bytes() + 100);
  };
  std::vector<Duration> slept;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") slept = rig.clock.slept();
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.cluster.calls, Contains("primary.flush_wal"));
  for (const Duration time : slept) EXPECT_LE(time, std::chrono::milliseconds(1));
}

TEST(Cutover, DoesNotPromoteWhileWalIsNotFlushed) {
  Rig rig;
  rig.cluster.primary.flushes = false;
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.state.wal_insert = Lsn(rig.cluster.primary.state.wal_flush->bytes() + 100);
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(rig.cluster.calls, Not(Contains("replica.promote")));
}

TEST(Cutover, WhatAutovacuumWritesBehindTheFenceHoldsNothingUp) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.wal_end" && rig.cluster.primary.override.read_only == "on") rig.cluster.write(64);
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.warnings, ElementsAre(HasSubstr("transaction ids since the fence"))) << "it is named";
}

/// Each attempt is undone before the next one begins, and the application writes on the old primary in between.
TEST(Cutover, TriesAgainWhenThePauseWasTooLong) {
  Rig rig;
  int fences = 0;
  rig.traffic->on_fence = [&] {
    if (++fences <= 2) rig.clock.advance(rig.options.max_write_pause);
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_EQ(fences, 3);
  EXPECT_THAT(rig.traffic->given,
              ElementsAre("stop", "resume_on_old", "stop", "resume_on_old", "stop", "resume_on_new"));
  EXPECT_FALSE(rig.cluster.ever_two_writable);
}

TEST(Cutover, GivesUpAfterItsLastAttempt) {
  Rig rig;
  rig.options.attempts = 2;
  rig.traffic->on_fence = [&] { rig.clock.advance(rig.options.max_write_pause); };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("writes were stopped for"));
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_FALSE(rig.traffic->paused);
}

TEST(Cutover, ADeathInALaterAttemptUndoesThatOne) {
  Rig rig;
  rig.cluster.primary.override.read_only = rig.cluster.primary.written.read_only = "off";
  int fences = 0;
  rig.traffic->on_fence = [&] {
    if (++fences == 2) throw RecordKilled();
    rig.clock.advance(rig.options.max_write_pause);
  };
  EXPECT_THROW(rig.run(), RecordKilled);
  EXPECT_EQ(rig.recover().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_EQ(rig.cluster.primary.override.read_only, "off");
}

TEST(Cutover, WaitsForAMomentWithoutAnOldTransaction) {
  Rig rig;
  rig.options.wait_for_transactions = std::chrono::seconds(10);
  rig.cluster.primary.facts.oldest_transaction = std::chrono::minutes(1);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("1 min 0 s: pid 4711 of shop"));
  EXPECT_THAT(rig.traffic->given, IsEmpty());
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_EQ(rig.cluster.primary.written, Overrides());
}

TEST(Cutover, EndsAnOldTransactionThatNoDriverWaitsFor) {
  Rig rig;
  rig.cluster.primary.facts.oldest_transaction = std::chrono::hours(1);
  rig.traffic->pooled = {FakeCluster::oldest_pid + 1};
  EXPECT_EQ(rig.run().exit_code, 0);
}

TEST(Cutover, StopsNothingWhileADriverWouldWaitForAnOldTransaction) {
  Rig rig;
  rig.cluster.primary.facts.oldest_transaction = std::chrono::seconds(3);
  rig.traffic->pooled = {FakeCluster::oldest_pid};
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("is open for 3.0 s, allowed: 2.5 s: pid 4711 of shop"));
  EXPECT_THAT(outcome.hint, HasSubstr("end it"));
  EXPECT_THAT(rig.traffic->given, IsEmpty());
}

/// The journal's disk hangs, and somebody lifts the fence meanwhile, so the proof is out of date.
TEST(Cutover, GivesNoOrderOnAProofThatHasAged) {
  Rig rig;
  bool lifted = false;
  rig.on_record = [&](const std::string& line) {
    if (line.find("\"promote\"") == std::string::npos || std::exchange(lifted, true)) return;
    rig.clock.sleep_for(std::chrono::milliseconds(500), {});
    rig.cluster.write(100);
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(std::ranges::count(rig.cluster.calls, "replica.promote"), 1) << "of the second attempt";
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.traffic->given, ElementsAre("stop", "resume_on_old", "stop", "resume_on_new"));
}

TEST(Cutover, GivesNoOrderAfterItsBudgetHoweverSlowTheJournalIs) {
  Rig rig;
  rig.options.attempts = 1;
  rig.on_record = [&](const std::string& line) {
    if (line.find("\"promote\"") != std::string::npos) rig.clock.sleep_for(std::chrono::seconds(30), {});
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(std::ranges::count(rig.cluster.calls, "replica.promote"), 0);
  EXPECT_TRUE(rig.cluster.primary.writable());
}

/// The order is on its way: whatever fails here then, nothing is undone.
TEST(Cutover, UndoesNothingWhenTheMachineFailsBehindTheOrder) {
  Rig rig;
  rig.cluster.replica.promotes_after = 1'000'000;
  rig.cluster.after = [&](const std::string& call) { rig.cluster.no_threads = call == "replica.promote"; };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 7) << outcome.message;
  EXPECT_FALSE(rig.cluster.primary.writable());
}

/// A driver that fails on the way back has had its time: a guard or a person tries again.
TEST(Cutover, TellsADriverOnceToGoBack) {
  Rig rig;
  rig.traffic->fails = "resume_on_old";
  rig.traffic->on_fence = [] { throw Error(ErrorCode::query_failed, "hook says no"); };
  EXPECT_EQ(rig.run().exit_code, 7);
  EXPECT_THAT(rig.traffic->given, ElementsAre("stop", "resume_on_old"));
}

TEST(Cutover, TriesAgainWhenTheFenceHasUsedUpItsShareOfTheBudget) {
  Rig rig;
  bool failed = false;
  rig.cluster.before = [&](const std::string& call) {
    const bool fenced = rig.cluster.primary.written.read_only == "on";
    if (call != "primary.end_sessions" || !fenced || std::exchange(failed, true)) return;
    throw Error(ErrorCode::timeout, "a lock on a catalog");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.traffic->given, ElementsAre("stop", "resume_on_old", "stop", "resume_on_new"));
}

/// The replica dies behind the fence.
TEST(Cutover, LetsTheApplicationGoOnWithinASecondAfterTheReplicaHasGone) {
  Rig rig;
  rig.options.blind_patience = std::chrono::seconds(10);
  rig.traffic->on_fence = [&] { rig.cluster.replica.up = false; };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.message;
  EXPECT_TRUE(rig.cluster.primary.writable());
  const Standing standing = rig.progress.standing();
  EXPECT_LE(*standing.writes_resumed - *standing.writes_stopped, std::chrono::milliseconds(1500));
}

TEST(Cutover, GivesNoOrderThatComesAfterTheBudget) {
  Rig rig;
  rig.options.attempts = 1;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.wal_replayed" && !rig.cluster.primary.writable())
      rig.clock.advance(rig.options.max_write_pause);
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
}

TEST(Cutover, ADryRunHoldsThePredictionToTheBudget) {
  Rig rig;
  rig.options.max_write_pause = std::chrono::milliseconds(1);
  Cutover cutover = rig.context();
  const Outcome outcome = dry_run(cutover);
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("is predicted, allowed: 1.0 ms"));
  EXPECT_TRUE(cutover.prediction);
}

TEST(Cutover, JudgesTheReplicaAfterTheLastTransactionThatItHasWaitedFor) {
  Rig rig;
  rig.options.wait_for_transactions = std::chrono::minutes(10);
  int looks = 0, probes = 0;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "primary.try_to_close") ++probes;
    if (call != "primary.oldest_transaction") return;
    EXPECT_EQ(probes, 0) << "what is judged before it has aged";
    rig.cluster.primary.facts.oldest_transaction =
        ++looks < 10 ? std::optional<Duration>(std::chrono::minutes(1)) : std::nullopt;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_GE(looks, 10);
  EXPECT_EQ(probes, 1);
}

TEST(Cutover, CountsOnlyTheTimeThatItWaitsForTransactions) {
  Rig rig;
  rig.options.wait_for_transactions = std::chrono::seconds(10);
  int tries = 0, looks = 0;
  rig.cluster.before = [&](const std::string& call) {
    auto& oldest = rig.cluster.primary.facts.oldest_transaction;
    if (call == "primary.oldest_transaction" && oldest && ++looks == 3) oldest.reset();
    if (call != "primary.try_to_close") return;
    rig.cluster.primary.locked_databases = ++tries < 300;  // half a minute
    if (tries == 299) oldest = std::chrono::minutes(1);
  };
  const Mono since = rig.clock.now();
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_GT(rig.clock.now() - since, rig.options.wait_for_transactions);
}

TEST(Cutover, GoesBackWhenTheServerCannotWriteItsOrderToPromote) {
  Rig rig;
  rig.cluster.before = [](const std::string& call) {
    if (call == "replica.promote") throw Error(ErrorCode::file_failed, "no space left on device (SQLSTATE 53100)");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("no space left"));
  EXPECT_TRUE(rig.cluster.primary.writable());
}

TEST(Cutover, OpensAllDatabasesAtOnceWhenItGoesBack) {
  Rig rig;
  for (const char* const name : {"a", "b", "c"}) rig.cluster.primary.databases.push_back({name, "app", true, true});
  rig.traffic->on_fence = [] { throw Error(ErrorCode::query_failed, "hook says no"); };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(std::ranges::count(rig.cluster.calls, "primary.allow_connections(true)"), 1);
  EXPECT_TRUE(std::ranges::all_of(rig.cluster.primary.databases, &Database::open));
}

TEST(Cutover, DoesNotStopWritesWhileALockWouldHoldUpTheFence) {
  Rig rig;
  rig.cluster.primary.locked_databases = true;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("could not be closed now: canceling statement due to lock timeout"));
  EXPECT_THAT(rig.traffic->given, IsEmpty());
  EXPECT_EQ(rig.cluster.primary.written, Overrides());
}

TEST(Cutover, DoesNotStopWritesForAReplicaThatIsFarBehind) {
  Rig rig;
  rig.options.sync_timeout = std::chrono::seconds(5);
  rig.cluster.primary.facts.rights["pg_switch_wal"] = false;  // the WAL is not aligned
  rig.cluster.after = [&](const std::string& call) {
    if (call != "primary.prepare_orders") return;
    rig.cluster.streams = false;
    rig.cluster.write(1 << 20);
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("to catch up"));
  EXPECT_THAT(rig.traffic->given, IsEmpty());
}

TEST(Cutover, SaysSoWhenTheOldPrimaryIsWrittenToAfterThePromotion) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "replica.promote") ++rig.cluster.primary.next_xid;
  };
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.warnings, ElementsAre(HasSubstr("2 transaction ids since the fence, and this agent used 1")));
}

TEST(Cutover, NamesTheSessionsThatDoNotEnd) {
  Rig rig;
  rig.cluster.primary.obeys_terminate = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("pid 1 of app"));
  expect_safe(rig, outcome, "sessions stay");
}

TEST(Cutover, EndsASessionThatWasBeingLetInWhenTheGateWasShut) {
  Rig rig;
  rig.cluster.primary.being_let_in.push_back({99, "app", "testdb", "", "being let in", false, false});
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.cluster.primary.sessions, IsEmpty());
}

TEST(Cutover, CannotTellWhenThePromotionDoesNotEnd) {
  Rig rig;
  rig.cluster.replica.obeys_promote = false;
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable()) << "it may still be promoted: nothing may write to the old one";
  EXPECT_TRUE(rig.traffic->paused);
}

TEST(Cutover, RestoresAReadOnlyDefaultThatWasThereBefore) {
  Rig rig;
  rig.cluster.primary.override.read_only = rig.cluster.primary.written.read_only = "off";
  rig.traffic->on_fence = [] { throw Error(ErrorCode::query_failed, "hook says no"); };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(rig.cluster.primary.override.read_only, "off");
}

TEST(Cutover, IsNotDoneWhileTheApplicationIsPaused) {
  Rig rig;
  rig.traffic->fails = "resume_on_new";
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 6) << "the new primary is open, and somebody has to go on trying";
  EXPECT_TRUE(rig.cluster.replica.writable());
  EXPECT_THAT(rig.warnings, ElementsAre(HasSubstr("fake was not resumed")));
  rig.traffic->fails.clear();
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_FALSE(rig.traffic->paused);
}

TEST(Cutover, AnAttackThatCannotLogInIsFoundBeforeAnythingIsChanged) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call != "primary.log_in") return;
    for (Database& database : rig.cluster.primary.databases) database.open = false;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.name, "proof_failed") << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("the login that the attack on the fence needs fails"));
  EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.fill_wal")));
  EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.alter_system(on)")));
}

/// Somebody restarts the old primary, and all sessions there are gone: the lock is taken again before anything is
/// undone.
TEST(Cutover, UndoesWithTheLockAfterARestartOfTheOldPrimary) {
  Rig rig;
  std::vector<bool> locked;
  rig.traffic->on_fence = [&] {
    rig.cluster.primary.restart();
    rig.cluster.before = [&](const std::string& call) {
      if (call == "primary.allow_connections(true)") locked.push_back(rig.cluster.primary.lock_owner != nullptr);
    };
    throw Error(ErrorCode::query_failed, "a hook says no");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5) << outcome.message;
  EXPECT_THAT(locked, ElementsAre(true));
  expect_safe(rig, outcome, "after a restart");
}

TEST(Cutover, AFenceThatSomebodyTakesAwayAfterTheOrderIsRaisedAgain) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call != "replica.promote") return;
    rig.cluster.primary.written = {};
    rig.cluster.primary.restart();
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(rig.warnings, Contains(HasSubstr("it was raised again")));
  EXPECT_FALSE(rig.cluster.ever_two_writable);
  EXPECT_FALSE(rig.cluster.primary.acknowledges());
}

TEST(Rehearsal, IsNoneWhenTheOldPrimaryIsGoneInTheEnd) {
  Rig rig;
  rig.options.rehearsal = true;
  rig.cluster.before = [&](const std::string& call) {
    const bool undone = std::ranges::find(rig.traffic->given, "resume_on_old") != rig.traffic->given.end();
    if (undone && call == "primary.fresh_identity") rig.cluster.primary.up = false;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 7) << outcome.message;
  EXPECT_THAT(outcome.message, HasSubstr("in the end old:5432 cannot be seen"));
}

TEST(Cutover, AStopBeforeThePromotionUndoes) {
  for (const std::string at :
       {"primary.alter_system(on)", "primary.order_reload", "primary.end_sessions", "replica.wal_replayed"}) {
    Rig rig;
    rig.cluster.after = [&](const std::string& call) {
      if (call == at && rig.cluster.primary.written.read_only == "on") rig.stop.request_stop();
    };
    const Outcome outcome = rig.run();
    EXPECT_EQ(outcome.exit_code, 5) << at;
    expect_safe(rig, outcome, at);
  }
}

TEST(Cutover, AStopAfterThePromotionFinishes) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") rig.stop.request_stop();
  };
  EXPECT_EQ(rig.run().exit_code, 0);
}

TEST(Cutover, AJournalThatCannotBeWrittenIsSafeAtEveryLine) {
  Rig whole;
  ASSERT_EQ(whole.run().exit_code, 0);
  for (int line = 0; line < static_cast<int>(whole.journal.size()); ++line) {
    Rig rig;
    rig.journal_fails_at = line;
    const Outcome outcome = rig.run();
    SCOPED_TRACE("line " + std::to_string(line));
    EXPECT_FALSE(rig.cluster.ever_two_writable);
    EXPECT_FALSE(rig.traffic->paused);
    EXPECT_TRUE(outcome.promoted ? rig.cluster.replica.writable() : rig.cluster.primary.writable());
    if (outcome.promoted) {
      EXPECT_EQ(outcome.exit_code, 0);
      EXPECT_THAT(rig.warnings, Not(IsEmpty()));
    }
  }
}

TEST(Cutover, DoesNotPromoteWhileATransactionIsOpenBehindTheFence) {
  Rig rig;
  rig.traffic->on_fence = [&] { rig.cluster.primary.idle = false; };  // prepared after the preflight, or no client's
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("transaction is still open"));
  EXPECT_THAT(rig.cluster.calls, Not(Contains("replica.promote")));
}

TEST(Cutover, ARoleThatTheFenceDoesNotHoldIsNoticedBehindIt) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.checkpoint") rig.cluster.primary.read_only_exceptions = {"app in every database"};
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("app in every database"));
}

TEST(Cutover, AWriteRefusedForAnotherReasonProvesNothing) {
  Rig rig;
  rig.cluster.primary.refusal = "P0001";
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(outcome.message, HasSubstr("P0001"));
}

TEST(Cutover, OrdersNothingFromAServerThatOnlyItsSessionsOutlive) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "primary.alter_system(on)") rig.cluster.replica.orphan = true;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(rig.cluster.calls, Not(Contains("replica.promote")));
}

TEST(Cutover, AReplicaThatLetsNobodyInIsAskedOverTheOpenSession) {
  Rig rig;
  rig.options.attempts = 1;
  Mono failed{};
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.fresh_identity") throw Error(ErrorCode::unreachable, "timeout expired");
    const bool fenced = rig.cluster.primary.written.read_only == "on";
    if (call != "primary.end_sessions" || !fenced || failed != Mono{}) return;
    failed = rig.clock.now();
    throw Error(ErrorCode::timeout, "a lock on a catalog");
  };
  EXPECT_EQ(rig.run().exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_LT(rig.clock.now() - failed, rig.options.blind_patience);
}

TEST(Cutover, AServerThatDiesAfterItWasAskedCannotBeToldToPromote) {
  Rig rig;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "replica.accepts_connections") rig.cluster.replica.orphan = true;
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_TRUE(rig.cluster.primary.writable());
  EXPECT_TRUE(rig.cluster.replica.state.in_recovery);
}

TEST(Cutover, AnUnexpectedRefusalOfThePromotionUndoesNothing) {
  Rig rig;
  rig.cluster.replica.obeys_promote = false;
  rig.cluster.after = [](const std::string& call) {
    if (call == "replica.promote") throw Error(ErrorCode::query_failed, "conflict with recovery");
  };
  EXPECT_EQ(rig.run().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
}

TEST(Cutover, ASurpriseIsUndoneLikeAnyFailure) {
  Rig rig;
  rig.traffic->on_fence = [] { throw std::runtime_error("a bug"); };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  expect_safe(rig, outcome, "a surprise behind the fence");
}

TEST(Cutover, ASurpriseWhilePromotingUndoesNothing) {
  Rig rig;
  rig.cluster.replica.obeys_promote = false;
  rig.cluster.after = [](const std::string& call) {
    if (call == "replica.promote") throw std::runtime_error("a bug");
  };
  EXPECT_EQ(rig.run().exit_code, 7);
  EXPECT_FALSE(rig.cluster.primary.writable());
}

}  // namespace
}  // namespace pgrm::agent
