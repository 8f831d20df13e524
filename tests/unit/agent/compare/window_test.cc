#include "agent/compare/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/compare/record.h"

namespace pgrm::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::Pair;

WorkloadSnapshot look(double at) {
  WorkloadSnapshot look;
  look.version = 160004;
  look.system_identifier = "7300000000000000001";
  look.database = "shop";
  look.at = from_unix(1'800'000'000 + at);
  look.started_at = from_unix(1'700'000'000);
  look.counters = {{"commits", 1000 + 10 * at}, {"wal_bytes", 5e9 + at}, {"connections", 7}, {"checkpoints_timed", 3}};
  look.resets = {{"database", ""}, {"checkpoints", "2027-01-01"}, {"statements", ""}};
  look.settings = {{"shared_buffers", "128MB"}};
  look.statements = Statements{{42, {100, 50, 400, 10}}};
  return look;
}

TEST(WorkloadWindow, HasWhatWasAddedAndOfAGaugeWhatItIs) {
  const WorkloadWindow window = between(look(0), look(10));
  EXPECT_EQ(window.problem, "");
  EXPECT_THAT(window.seconds, Optional(10));
  EXPECT_THAT(window.counter("commits"), Optional(100));
  EXPECT_THAT(window.rate("commits"), Optional(10));
  EXPECT_THAT(window.counter("connections"), Optional(7));
  EXPECT_EQ(window.counter("deadlocks"), std::nullopt) << "a version that does not have it";
}

TEST(WorkloadWindow, SaysNothingWhenItIsTooShortOrTheServerIsAnother) {
  EXPECT_THAT(between(look(0), look(4.9)).problem, HasSubstr("4.9 s are too short to say anything"));
  EXPECT_EQ(between(look(0), look(4.9), std::chrono::seconds(1)).problem, "");
  WorkloadSnapshot other = look(60);
  other.started_at = from_unix(1'800'000'030);
  const WorkloadWindow restarted = between(look(0), other);
  EXPECT_EQ(restarted.problem, "the server was restarted in between");
  EXPECT_THAT(restarted.counters, IsEmpty());
  EXPECT_EQ(restarted.statements, std::nullopt);
  other = look(60);
  other.database = "another";
  EXPECT_THAT(between(look(0), other).problem, HasSubstr("not at the same database"));
}

TEST(WorkloadWindow, DoesNotKnowWhatBeganAnew) {
  WorkloadSnapshot end = look(60);
  end.resets["database"] = "2027-01-15";
  const WorkloadWindow window = between(look(0), end);
  EXPECT_EQ(window.counter("commits"), std::nullopt);
  EXPECT_THAT(window.counter("wal_bytes"), Optional(60)) << "belongs to no statistics";
  EXPECT_THAT(window.counter("checkpoints_timed"), Optional(0)) << "belongs to others";
  EXPECT_THAT(window.notes, ElementsAre(HasSubstr("were reset in between")));
  end = look(60);
  end.counters["commits"] = 5;
  EXPECT_EQ(between(look(0), end).counter("commits"), std::nullopt) << "went back, and nobody tells why";
}

TEST(WorkloadWindow, HasTheStatementsThatWereCalled) {
  WorkloadSnapshot end = look(60);
  (*end.statements)[42] = {150, 100, 600, 10};
  (*end.statements)[43] = {5, 1, 5, 5};
  const WorkloadWindow window = between(look(0), end);
  EXPECT_THAT(*window.statements,
              ElementsAre(Pair(42, StatementCounters{50, 50, 200, 0}), Pair(43, StatementCounters{5, 1, 5, 5})));
  (*end.statements)[42] = {3, 2, 6, 0};
  EXPECT_EQ(between(look(0), end).statements->at(42), (StatementCounters{3, 2, 6, 0}))
      << "it was thrown out in between and came back";
  (*end.statements)[42] = {100, 50, 400, 10};
  EXPECT_FALSE(between(look(0), end).statements->contains(42)) << "was not called";
}

TEST(WorkloadWindow, SaysWhyStatementsAreNotKnown) {
  WorkloadSnapshot begin = look(0), end = look(60);
  begin.statements.reset();
  begin.statements_problem = "pg_stat_statements is not installed in shop";
  EXPECT_EQ(between(begin, end).statements, std::nullopt);
  EXPECT_EQ(between(begin, end).statements_problem, begin.statements_problem);
  end.resets["statements"] = "2027-01-15";
  EXPECT_EQ(between(look(0), end).statements_problem, "pg_stat_statements was reset in between");
}

TEST(WorkloadWindow, OfEverythingHasNoRates) {
  const WorkloadWindow window = whole(look(0));
  EXPECT_THAT(window.counter("commits"), Optional(1000));
  EXPECT_EQ(window.rate("commits"), std::nullopt);
  EXPECT_EQ(window.statements->at(42).calls, 100);
}

TEST(WorkloadRecord, IsReadAsItWasWritten) {
  WorkloadRecord record{.old_primary = "old:5432", .new_primary = "new:5432", .begin = look(0), .end = look(60)};
  record.begin->statements.reset();
  record.begin->statements_problem = "no";
  const WorkloadRecord again = record_from_json(nlohmann::json::parse(to_json(record).dump()));
  EXPECT_EQ(to_json(again), to_json(record));
  EXPECT_EQ(again.end->statements, record.end->statements);
  EXPECT_EQ(again.begin->statements, std::nullopt);
  EXPECT_EQ(again.opened, std::nullopt);
}

TEST(WorkloadRecord, MakesTheWindowBeforeOfWhatItHas) {
  WorkloadRecord record{.begin = look(0), .end = look(60)};
  EXPECT_THAT(window_before(record).rate("commits"), Optional(10));
  record.begin = look(58);
  const WorkloadWindow all = window_before(record);
  EXPECT_EQ(all.problem, "");
  EXPECT_THAT(all.counter("commits"), Optional(1600));
  EXPECT_THAT(all.notes, ElementsAre(HasSubstr("2.0 s are too short")));
  record.begin.reset();
  EXPECT_THAT(window_before(record).notes, ElementsAre(HasSubstr("agent compare --begin")));
  record.end.reset();
  record.problem = "no session";
  EXPECT_EQ(window_before(record).problem, "the old primary was not looked at: no session");
}

TEST(WorkloadRecord, NeedsALookWhenTheCutoverWasDone) {
  WorkloadRecord record;
  EXPECT_THAT(window_after(record, look(60)).problem, HasSubstr("agent compare --over SECONDS"));
  record.opened = look(0);
  EXPECT_THAT(window_after(record, look(60)).seconds, Optional(60));
}

}  // namespace
}  // namespace pgrm::agent
