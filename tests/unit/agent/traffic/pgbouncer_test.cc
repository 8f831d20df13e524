#include "agent/traffic/pgbouncer.h"

#include <gtest/gtest.h>

namespace pgrm::agent {
namespace {

const Conninfo old_primary = Conninfo::parse("host=10.0.0.1 port=5432");
const Conninfo new_primary = Conninfo::parse("host=10.0.0.2 port=5433");

std::string moved(const std::string& line) { return repoint(line, old_primary, new_primary); }

TEST(Repoint, MovesWhatIsSentToTheOldPrimary) {
  EXPECT_EQ(moved("shop = host=10.0.0.1 port=5432 dbname=shop\n"), "shop = host=10.0.0.2 port=5433 dbname=shop\n");
  EXPECT_EQ(moved("shop = port=5432 dbname=shop host=10.0.0.1"), "shop = port=5433 dbname=shop host=10.0.0.2");
  EXPECT_EQ(moved("shop=host=10.0.0.1 port=5432"), "shop=host=10.0.0.2 port=5433");
  EXPECT_EQ(moved("* = host='10.0.0.1' port = 5432"), "* = host=10.0.0.2 port = 5433");
}

TEST(Repoint, TakesNoNameForASetting) {
  EXPECT_EQ(moved("host = host=10.0.0.1 port=5432"), "host = host=10.0.0.2 port=5433");
  EXPECT_EQ(moved("port = port=5432 host=10.0.0.1"), "port = port=5433 host=10.0.0.2");
}

TEST(Repoint, ReadsQuotesAsPgBouncerDoes) {
  EXPECT_EQ(moved("shop = password='it''s host=10.0.0.9' host='10.0.0.1'"),
            "shop = password='it''s host=10.0.0.9' host=10.0.0.2 port=5433");
  EXPECT_EQ(moved("shop = host=10.0.0.9 password='x host=10.0.0.1 port=5432'"),
            "shop = host=10.0.0.9 password='x host=10.0.0.1 port=5432'");
  EXPECT_EQ(moved("shop = host=10.0.0.9 password=a=b host=10.0.0.1"),
            "shop = host=10.0.0.9 password=a=b host=10.0.0.2 port=5433");
  EXPECT_EQ(repointed("\"the \"\"shop\"\" = 1\" = host=10.0.0.1", old_primary),
            (std::set<std::string>{"the \"shop\" = 1"}));
}

TEST(Repoint, TellsWhichDatabasesThatAre) {
  EXPECT_EQ(repointed("[databases]\nshop=host=10.0.0.1\n\"my log\" = host=10.0.0.9\n * = host=10.0.0.1 port=5432\n",
                      old_primary),
            (std::set<std::string>{"shop", "*"}));
}

TEST(Repoint, KnowsTheDefaultPort) {
  EXPECT_EQ(moved("shop = host=10.0.0.1 dbname=shop"), "shop = host=10.0.0.2 port=5433 dbname=shop");
  EXPECT_EQ(repoint("shop = host=10.0.0.2", new_primary, old_primary), "shop = host=10.0.0.2");
}

TEST(Repoint, KnowsEverySpellingOfAHost) {
  const auto move = [](const std::string& line, const std::string& host) {
    return repoint(line, Conninfo::parse("host=" + host), new_primary);
  };
  EXPECT_EQ(move("shop = host=DB1.example.com", "db1.Example.com"), "shop = host=10.0.0.2 port=5433");
  EXPECT_EQ(move("shop = host=FD00:0::1", "fd00::1"), "shop = host=10.0.0.2 port=5433");
  EXPECT_EQ(move("shop = host=fd00::2", "fd00::1"), "shop = host=fd00::2");
}

TEST(Repoint, LeavesEverythingElseAlone) {
  for (const char* const line :
       {"", "\n", "[databases]\n", "; shop = host=10.0.0.1 port=5432\n", "# host=10.0.0.1\n",
        "shop = host=10.0.0.1 port=6000\n", "shop = host=10.0.0.10 port=5432\n", "shop = dbname=shop\n",
        "shop = host=db.example port=5432\r\n", "shop = host=10.0.0.2 port=5433 application_name=ghost=10.0.0.1\n"}) {
    EXPECT_EQ(moved(line), line);
  }
}

TEST(Repoint, IsItsOwnUndoing) {
  const std::string file = "; ours\n[databases]\nshop = host=10.0.0.1 port=5432\nlog = host=10.0.0.9\n";
  const std::string there = moved(file);
  EXPECT_NE(there, file);
  EXPECT_EQ(moved(there), there);
  EXPECT_EQ(repoint(there, new_primary, old_primary), file);
}

}  // namespace
}  // namespace pgrm::agent
