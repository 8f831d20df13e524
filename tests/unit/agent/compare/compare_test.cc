#include "agent/compare/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Optional;

/// A minute of 100 transactions a second, and one statement of 1 ms that looks at four blocks.
WorkloadWindow minute() {
  WorkloadWindow window;
  window.from = from_unix(1'800'000'000);
  window.to = from_unix(1'800'000'060);
  window.seconds = 60;
  window.counters = {
      {"commits", 5940}, {"rollbacks", 60}, {"blocks_hit", 900}, {"blocks_read", 100}, {"active_ms", 12000}};
  window.statements = Statements{{1, {6000, 6000, 24000, 0}}};
  window.settings = {{"shared_buffers", "128MB"}, {"work_mem", "4MB"}};
  return window;
}

Judgement of(const Comparison& comparison, std::string_view key) { return comparison.measure(key)->judgement; }

TEST(Comparison, OfTheSameIsTheSame) {
  const Comparison same = compare(minute(), minute());
  EXPECT_EQ(same.overall, Judgement::same);
  EXPECT_THAT(same.measure("transactions")->before, Optional(100));
  EXPECT_THAT(same.measure("rolled_back")->after, Optional(1));
  EXPECT_THAT(same.measure("cache_hits")->after, Optional(90));
  EXPECT_THAT(same.measure("active")->after, Optional(2));
  EXPECT_EQ(same.measure("read_time")->after, std::nullopt) << "nobody measures it";
  EXPECT_THAT(same.settings, testing::IsEmpty());
  EXPECT_THAT(same.notes, ElementsAre(HasSubstr("p99 is not known"))) << "and is not made up";
  EXPECT_EQ(same.line,
            "same: a call of the same statements 1.0 ms instead of 1.0 ms; transactions 100/s instead of 100/s; rolled "
            "back 1.00 % instead of 1.00 %");
}

TEST(Comparison, IsAboutTheSameStatementsWhateverElseIsCalled) {
  WorkloadWindow after = minute();
  after.statements = Statements{{1, {6000, 3000, 24000, 0}}, {2, {1000, 90000, 1, 0}}};
  const Comparison faster = compare(minute(), after);
  EXPECT_EQ(faster.overall, Judgement::better);
  EXPECT_THAT(faster.measure("same_statements")->after, Optional(0.5));
  EXPECT_GT(*faster.measure("statement")->after, 10) << "the mean of all is another matter";
}

TEST(Comparison, IsWorseWhenTheTimeTheErrorsOrTheLossOfLoadSaysSo) {
  WorkloadWindow after = minute();
  after.statements->at(1).milliseconds = 8000;
  EXPECT_EQ(compare(minute(), after).overall, Judgement::worse);
  after = minute();
  after.counters["rollbacks"] = 600;
  EXPECT_EQ(compare(minute(), after).overall, Judgement::worse);
  after = minute();
  after.counters["commits"] = 2000;
  after.counters["rollbacks"] = 20;
  EXPECT_EQ(compare(minute(), after).overall, Judgement::worse);
  EXPECT_EQ(of(compare(minute(), after), "transactions"), Judgement::worse);
  after.counters["commits"] = 50000;
  EXPECT_EQ(of(compare(minute(), after), "transactions"), Judgement::same) << "what is asked for is no merit";
}

TEST(Comparison, IsWorseWhenCommitsAreWhichNoStatementHasInIt) {
  WorkloadWindow after = minute();
  after.counters["active_ms"] = 20000;
  EXPECT_EQ(compare(minute(), after).overall, Judgement::same) << "may be another mix";
  after.counters["active_ms"] = 36000;
  EXPECT_EQ(compare(minute(), after).overall, Judgement::worse);
  EXPECT_THAT(compare(minute(), after).line, HasSubstr("; server time of a transaction 6.0 ms instead of 2.0 ms; "));
}

TEST(Comparison, WithoutStatementsGoesByTheTimeOfTransactions) {
  WorkloadWindow before = minute(), after = minute();
  before.statements.reset();
  after.statements.reset();
  before.statements_problem = after.statements_problem = "pg_stat_statements is not installed in shop";
  before.statements_hint = after.statements_hint = "CREATE EXTENSION";
  after.counters["active_ms"] = 6000;
  const Comparison comparison = compare(before, after);
  EXPECT_EQ(comparison.overall, Judgement::better);
  EXPECT_THAT(comparison.line, HasSubstr("server time of a transaction 1.0 ms instead of 2.0 ms"));
  EXPECT_THAT(comparison.notes,
              Contains("statements are not known: pg_stat_statements is not installed in shop; CREATE "
                       "EXTENSION"));
  before.counters.erase("active_ms");
  EXPECT_EQ(compare(before, after).overall, Judgement::unknown) << "13 knows neither";
}

TEST(Comparison, WithoutAWindowIsUnknown) {
  WorkloadWindow none;
  none.problem = "the server was restarted in between";
  const Comparison comparison = compare(minute(), none);
  EXPECT_EQ(comparison.overall, Judgement::unknown);
  EXPECT_THAT(comparison.line, HasSubstr("unknown instead of 100/s"));
  EXPECT_THAT(comparison.notes, Contains("after: the server was restarted in between"));
}

TEST(Comparison, NamesTheStatementsThatGotSlowerFirstAndWhy) {
  WorkloadWindow before = minute(), after = minute();
  before.statements = Statements{{1, {100, 100, 400, 0}}, {2, {100, 100, 400, 0}}, {3, {100, 100, 400, 0}},
                                 {4, {100, 1, 400, 0}},   {5, {4, 1, 4, 0}},       {6, {100, 100, 400, 0}}};
  after.statements = Statements{{1, {100, 110, 400, 0}}, {2, {100, 300, 400, 300}}, {3, {100, 2000, 80000, 0}},
                                {4, {100, 3.0, 400, 0}}, {5, {100, 900, 4, 0}},     {6, {100, 250, 400, 0}}};
  const Comparison comparison = compare(before, after);
  std::vector<std::int64_t> ids;
  for (const StatementChange& one : comparison.statements) ids.push_back(one.id);
  EXPECT_THAT(ids, ElementsAre(3, 2, 6, 1, 4)) << "5 was called too seldom";
  EXPECT_THAT(comparison.statements[0].cause,
              HasSubstr("800 blocks each time instead of 4: its plan may have changed"));
  EXPECT_THAT(comparison.statements[1].cause, HasSubstr("the cache may be cold"));
  EXPECT_THAT(comparison.statements[2].cause, HasSubstr("as many blocks as before"));
  EXPECT_EQ(comparison.statements[4].judgement, Judgement::same) << "10 and 30 us are both nothing";
}

TEST(Comparison, ListsTheSettingsThatDiffer) {
  WorkloadWindow after = minute();
  after.settings = {{"shared_buffers", "1GB"}, {"work_mem", "4MB"}, {"io_method", "worker"}};
  const auto settings = compare(minute(), after).settings;
  ASSERT_EQ(settings.size(), 2);
  EXPECT_EQ(settings[0].name, "io_method");
  EXPECT_EQ(settings[0].before, "");
  EXPECT_EQ(settings[1].after, "1GB");
}

TEST(Comparison, IsJsonWithNullForWhatIsNotKnown) {
  WorkloadWindow before = minute();
  before.seconds.reset();
  const nlohmann::json json = to_json(compare(before, minute()));
  EXPECT_EQ(json.at("verdict"), "same");
  EXPECT_TRUE(json.at("before").at("seconds").is_null());
  EXPECT_EQ(json.at("after").at("seconds"), 60);
  for (const auto& measure : json.at("measures")) {
    if (measure.at("key") != "transactions") continue;
    EXPECT_TRUE(measure.at("before").is_null());
    EXPECT_EQ(measure.at("after"), 100);
  }
  EXPECT_EQ(json.at("statements").at(0).at("queryid"), "1") << "a text: a double has not all of its digits";
}

TEST(ShownStatement, IsOneLineWithoutComments) {
  EXPECT_EQ(shown_statement("/* app */ -- really\n  SELECT  *\n FROM t WHERE id = $1"),
            "SELECT * FROM t WHERE id = $1");
  EXPECT_EQ(shown_statement("(SELECT 1) UNION (SELECT 2)"), "SELECT 1) UNION (SELECT 2)");
  EXPECT_EQ(shown_statement("COMMIT"), "COMMIT");
  EXPECT_LE(shown_statement("select " + std::string(5000, 'x')).size(), 210);
  EXPECT_EQ(shown_statement(""), "");
}

TEST(ShownStatement, ShowsNoConstantsOfWhatIsNoQuery) {
  EXPECT_EQ(shown_statement("ALTER ROLE app PASSWORD 'secret'"), "alter role …");
  EXPECT_EQ(shown_statement("/* x */ create  user a password 'secret'"), "create user …");
  EXPECT_EQ(shown_statement("DO $$ begin perform 'secret'; end $$"), "do  …");
  EXPECT_THAT(shown_statement("VACUUM"), Not(HasSubstr(" ")));
}

}  // namespace
}  // namespace pgrm::agent
