#include "core/pg/conninfo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace pgrm {
namespace {

using testing::HasSubstr;
using testing::Not;

Settings settings(Settings::Values flags, Settings::Values variables) {
  return {std::move(flags),
          [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            if (found == variables.end()) return std::nullopt;
            return found->second;
          },
          {}};
}

TEST(Conninfo, ReadsBothForms) {
  for (const char* text : {"host=db1 port=5433 user=me dbname=shop", "postgresql://me@db1:5433/shop"}) {
    EXPECT_EQ(Conninfo::parse(text).describe(), "me@db1:5433/shop") << text;
  }
  EXPECT_EQ(Conninfo::parse("host=db1").address(), "db1:5432");
}

TEST(Conninfo, QuotesWhatNeedsIt) {
  const Conninfo hard = Conninfo::parse("").with("user", "o'hara \\ co").with("password", "p'\\ w");
  const Conninfo again = Conninfo::parse(hard.text().reveal());
  EXPECT_EQ(again.get("user"), "o'hara \\ co");
  EXPECT_EQ(again.get("password"), "p'\\ w");
}

TEST(Conninfo, NeverShowsThePassword) {
  EXPECT_THAT(Conninfo::parse("postgresql://me:secret@db1/shop").describe(), Not(HasSubstr("secret")));
  try {
    Conninfo::parse("postgresql://me:secret@db1/shop?nonsense=1");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(to_text(error), Not(HasSubstr("secret")));
  }
}

TEST(PairFrom, FillsADsnUpFromTheRest) {
  const Pair pair = pair_from(settings({}, {{"PRIMARY_DSN", "host=db1"},
                                            {"REPLICA_HOST", "db2"},
                                            {"POSTGRES_USER", "me"},
                                            {"POSTGRES_PASSWORD", "secret"}}));
  EXPECT_EQ(pair.primary.describe(), "me@db1:5432/testdb");
  EXPECT_EQ(pair.replica.describe(), "me@db2:5433/testdb");
  EXPECT_EQ(pair.primary.get("password"), "secret");
}

TEST(PairFrom, APasswordFileIsReadAgainForEveryLogin) {
  const std::string folder = testing::TempDir() + "conninfo_" + std::to_string(getpid()), file = folder + "/password";
  std::filesystem::create_directory(folder);
  const auto write = [&file](const std::string& text) { std::ofstream(file) << text; };
  write("old\n");
  const Conninfo server = pair_from(settings({}, {{"POSTGRES_PASSWORD_FILE", file}})).replica;
  const auto at_login = [](const Conninfo& one) { return Conninfo::parse(one.text().reveal()).get("password"); };
  EXPECT_EQ(at_login(server), "old");
  write("new\n");
  EXPECT_EQ(at_login(server.with("dbname", "other").without("port")), "new");
  EXPECT_EQ(at_login(server.with("password", "its own")), "its own");
  EXPECT_EQ(at_login(server.without("password")), "");
  EXPECT_THAT(server.text().reveal(), Not(HasSubstr(file)));

  write("");
  EXPECT_EQ(at_login(server), "old") << "it is being written";
  std::filesystem::remove(file);
  EXPECT_EQ(at_login(server), "old");
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  EXPECT_EQ(at_login(server), "old") << "nobody writes to it a second time";
  std::filesystem::remove_all(folder);
}

TEST(PairFrom, RefusesAPasswordOnTheCommandLineOnly) {
  const std::string dsn = "postgresql://me:secret@db1/shop";
  EXPECT_EQ(pair_from(settings({}, {{"PRIMARY_DSN", dsn}})).primary.get("password"), "secret");
  try {
    pair_from(settings({{"PRIMARY_DSN", dsn}}, {}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    EXPECT_THAT(to_text(error), Not(HasSubstr("secret")));
  }
}

TEST(WritableOneOf, NamesBothHosts) {
  const Conninfo both = writable_one_of({Conninfo::parse("host=a port=1"), Conninfo::parse("host=b")});
  EXPECT_EQ(both.get("host"), "a,b");
  EXPECT_EQ(both.get("port"), "1,5432");
  EXPECT_EQ(both.get("target_session_attrs"), "read-write");
  EXPECT_EQ(both.get("hostaddr"), "");
}

TEST(WritableOneOf, HasAnAddressForEachHostOrForNone) {
  const Conninfo both = writable_one_of({Conninfo::parse("host=a hostaddr=10.0.0.1"), Conninfo::parse("host=b")});
  EXPECT_EQ(both.get("hostaddr"), "10.0.0.1,");
}

}  // namespace
}  // namespace pgrm
