#include "core/pg/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/fakes/listener.h"
#include "tests/integration/lab_pair.h"

namespace pgrm {
namespace {

constexpr auto soon = std::chrono::seconds(10);

class SessionTest : public testing::Test {
 protected:
  void SetUp() override { session_.open(soon); }

  Session session_{LabPair::get().as("postgres").primary, "session_test"};
};

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

TEST_F(SessionTest, CarriesValuesBothWays) {
  const Statement statement{"values",
                            "SELECT $1::text AS t, $2::text AS n, $3::int8 AS i, $4::float8 AS f, "
                            "'16/B374D848'::pg_lsn AS l, true AS b, extract(epoch FROM $5::timestamptz) AS at"};
  const Rows rows =
      session_.execute(statement, {"o'hara \\", std::nullopt, "-5", "0.25", "2026-01-31 09:05:07.123+00"}, soon);
  const auto row = rows.one();
  EXPECT_EQ(row.text("t"), "o'hara \\");
  EXPECT_EQ(row.text("n"), std::nullopt);
  EXPECT_EQ(row.integer("n"), std::nullopt);
  EXPECT_EQ(row.integer("i"), -5);
  EXPECT_EQ(row.real("f"), 0.25);
  EXPECT_EQ(row.lsn("l"), Lsn::parse("16/B374D848"));
  EXPECT_EQ(row.boolean("b"), true);
  EXPECT_EQ(to_iso8601(row.time("at").value()), "2026-01-31T09:05:07.123Z");
  EXPECT_THROW(row.text("nothing"), Error);
  EXPECT_THROW(row.integer("t"), Error);
}

TEST_F(SessionTest, CopiesRows) {
  session_.script("CREATE TEMPORARY TABLE copied (n integer CHECK (n >= 0), t text)", soon);
  const std::vector<std::string> texts{"", "plain", "tab\tline\nreturn\rback\\slash", "\\N", "\\.", "żółw"};
  session_.copy("copied", {"n", "t"}, soon, [&texts](const PutRow& put) {
    for (std::size_t i = 0; i < texts.size(); ++i) put({std::to_string(i), texts[i]});
  });
  const Rows rows = session_.script("SELECT t FROM copied ORDER BY n", soon);
  ASSERT_EQ(rows.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(rows[i].text("t"), texts[i]);
}

TEST_F(SessionTest, CopiesMoreThanFitsOneMessageAndNothingAtAll) {
  session_.script("CREATE TEMPORARY TABLE copied (t text)", soon);
  session_.copy("copied", {"t"}, soon, [](const PutRow&) {});
  const auto count = [this] { return session_.script("SELECT count(*) AS n FROM copied", soon).one().integer("n"); };
  EXPECT_EQ(count(), 0);
  const std::string longer(20'000, 'x');
  session_.copy("copied", {"t"}, soon, [&longer](const PutRow& put) {
    put({""});
    put({longer});
    for (int i = 0; i < 10'000; ++i) put({"short"});
    put({""});
  });
  EXPECT_EQ(count(), 10'003);
  EXPECT_EQ(session_.script("SELECT sum(length(t)) AS n FROM copied", soon).one().integer("n"), 20'000 + 5 * 10'000);
}

TEST_F(SessionTest, ACopyWithOneWrongRowTakesNone) {
  session_.script("CREATE TEMPORARY TABLE copied (n integer CHECK (n >= 0))", soon);
  try {
    session_.copy("copied", {"n"}, soon, [](const PutRow& put) {
      put({"1"});
      put({"-1"});
    });
    ADD_FAILURE() << "nothing was thrown";
  } catch (const SqlError& refusal) {
    EXPECT_EQ(refusal.sqlstate(), "23514");
  }
  EXPECT_THROW(session_.copy("nowhere", {"n"}, soon, [](const PutRow&) {}), SqlError);
  EXPECT_EQ(session_.script("SELECT FROM copied", soon).affected(), 0) << "the session goes on";
}

TEST_F(SessionTest, ACopyTakesNamesAsTheyAre) {
  session_.script("CREATE TEMPORARY TABLE \"Odd one\" (\"A column\" integer)", soon);
  session_.copy("Odd one", {"A column"}, soon, [](const PutRow& put) { put({"7"}); });
  EXPECT_EQ(session_.script("SELECT \"A column\" AS n FROM \"Odd one\"", soon).one().integer("n"), 7);
}

TEST_F(SessionTest, ASessionThatIsLostInACopyIsSeen) {
  session_.script("CREATE TEMPORARY TABLE copied (n integer)", soon);
  const int pid = session_.backend_pid();
  Session other(LabPair::get().as("postgres").primary, "session_test_killer");
  other.open(soon);
  const Statement kill{"kill", "SELECT pg_terminate_backend($1::int, 20000)"};
  EXPECT_EQ(code_of([&] {
              session_.copy("copied", {"n"}, soon, [&](const PutRow& put) {
                put({"1"});
                other.execute(kill, {std::to_string(pid)}, soon);
              });
            }),
            ErrorCode::connection_lost);
  EXPECT_FALSE(session_.is_open());
}

TEST_F(SessionTest, AMissingRightIsToldFromOtherRefusals) {
  try {
    session_.script("CREATE TABLE pg_catalog.nothing ()", soon);
    FAIL();
  } catch (const SqlError& refusal) {
    EXPECT_EQ(refusal.code(), ErrorCode::permission_denied);
    EXPECT_EQ(refusal.sqlstate(), "42501");
  }
}

TEST_F(SessionTest, PreparesBeforeTheFirstUse) {
  const Statement later{"later", "SELECT 1"};
  const auto known = [&] {
    return session_
        .execute({"known", "SELECT count(*) AS n FROM pg_prepared_statements WHERE name = 'later'"}, {}, soon)
        .one()
        .integer("n");
  };
  EXPECT_EQ(known(), 0);
  session_.prepare(later, soon);
  EXPECT_EQ(known(), 1);
  EXPECT_EQ(session_.execute(later, {}, soon).size(), 1U);
}

TEST_F(SessionTest, CountsWhatWasAffected) {
  session_.script("CREATE TEMP TABLE t (i int)", soon);
  EXPECT_EQ(session_.execute({"fill", "INSERT INTO t SELECT generate_series(1, $1::int)"}, {"7"}, soon).affected(), 7);
  EXPECT_THROW(session_.execute({"all", "SELECT i FROM t"}, {}, soon).one(), Error);
}

TEST_F(SessionTest, ARefusalKeepsTheSession) {
  try {
    session_.execute({"nonsense", "SELECT * FROM nothing"}, {}, soon);
    FAIL();
  } catch (const SqlError& refusal) {
    EXPECT_EQ(refusal.sqlstate(), "42P01");
    EXPECT_THAT(refusal.what(), testing::HasSubstr("relation \"nothing\" does not exist"));
  }
  EXPECT_TRUE(session_.is_open());
  EXPECT_EQ(session_.execute({"one", "SELECT 1 AS one"}, {}, soon).one().integer("one"), 1);
}

TEST_F(SessionTest, ADeadlineEndsItAndTheSession) {
  EXPECT_EQ(code_of([&] {
              session_.execute({"sleep", "SELECT pg_sleep(5)"}, {}, std::chrono::milliseconds(50));
            }),
            ErrorCode::timeout);
  EXPECT_FALSE(session_.is_open());
  EXPECT_EQ(code_of([&] {
              session_.execute({"one", "SELECT 1"}, {}, soon);
            }),
            ErrorCode::unreachable)
      << "never reconnects by itself";
  session_.open(soon);
  EXPECT_EQ(session_.execute({"one", "SELECT 1 AS one"}, {}, soon).one().integer("one"), 1);
}

TEST_F(SessionTest, ALostSessionIsSeen) {
  Session other(LabPair::get().as("postgres").primary, "session_test_killer");
  other.open(soon);
  other.execute({"kill", "SELECT pg_terminate_backend($1::int)"}, {std::to_string(session_.backend_pid())}, soon);
  EXPECT_EQ(code_of([&] {
              for (;;) session_.execute({"one", "SELECT 1"}, {}, soon);
            }),
            ErrorCode::connection_lost);
  EXPECT_FALSE(session_.is_open());
}

TEST(SessionOpen, KeepsAShortDeadlineWhereNobodyAnswers) {
  const Listener silent;
  const Conninfo server = LabPair::get().as("postgres").primary.with("port", std::to_string(silent.port()));
  const auto deadline = std::chrono::milliseconds(300);
  const Mono since = system_clock().now();
  EXPECT_EQ(code_of([&] { Session(server, "x").open(deadline); }), ErrorCode::unreachable);
  EXPECT_EQ(ping(server, deadline), Ping::silent);
  EXPECT_LT(system_clock().now() - since, std::chrono::milliseconds(1500)) << "libpq's own limit is two seconds";
}

TEST(SessionOpen, ASecondIsEnoughForAServerThatAnswers) {
  const Conninfo good = LabPair::get().as("postgres").primary;
  EXPECT_EQ(ping(good, soon), Ping::accepts);
  EXPECT_NO_THROW(Session(good, "x").open(std::chrono::seconds(1)));
  EXPECT_EQ(ping(good.with("port", "1"), soon), Ping::silent);
  EXPECT_EQ(code_of([&] { Session(good.with("password", "wrong"), "x").open(std::chrono::seconds(1)); }),
            ErrorCode::authentication);
}

TEST_F(SessionTest, LogsInWithWhatThePasswordFileSaysByThen) {
  session_.script("DROP ROLE IF EXISTS rotated; CREATE ROLE rotated LOGIN PASSWORD 'old'", soon);
  const std::string file = testing::TempDir() + "session-" + std::to_string(getpid());
  const auto write = [&file](const std::string& text) { std::ofstream(file) << text; };
  write("old");
  Session rotated(session_.conninfo().with("user", "rotated").with_password(Secret("old", file)), "rotated");
  rotated.open(soon);
  session_.script("ALTER ROLE rotated PASSWORD 'new'", soon);
  write("new\n");
  rotated.close();
  rotated.open(soon);
  rotated.close();
  session_.script("DROP ROLE rotated", soon);
  std::filesystem::remove(file);
}

TEST(SessionOpen, SaysWhyItCannot) {
  const Conninfo good = LabPair::get().as("postgres").primary;
  EXPECT_EQ(code_of([&] { Session(good.with("password", "wrong"), "x").open(soon); }), ErrorCode::authentication);
  EXPECT_EQ(code_of([&] { Session(good.with("port", "1"), "x").open(soon); }), ErrorCode::unreachable);
  EXPECT_EQ(code_of([&] { Session(good.with("dbname", "nothing"), "x").open(soon); }), ErrorCode::unreachable);
}

}  // namespace
}  // namespace pgrm
