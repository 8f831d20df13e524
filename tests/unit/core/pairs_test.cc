#include "core/base/pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace pgrm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class PairsFileTest : public testing::Test {
 protected:
  ~PairsFileTest() override { std::filesystem::remove(path_); }

  std::vector<PairEntry> read(const std::string& text) const {
    std::ofstream(path_) << text;
    return read_pairs(path_);
  }
  /// What is wrong with it, a line each, without the path.
  std::vector<std::string> faults(const std::string& text) const {
    try {
      read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      std::vector<std::string> lines;
      std::istringstream all(error.what());
      for (std::string line; std::getline(all, line);) {
        EXPECT_TRUE(line.starts_with(path_)) << line;
        lines.push_back(line.substr(path_.size()));
      }
      return lines;
    }
    return {};
  }

  const std::string path_ = testing::TempDir() + "pairs_" + std::to_string(getpid()) + ".yml";
};

Settings settings_with(Settings::Values flags, Settings::Values environment) {
  return {std::move(flags),
          [environment = std::move(environment)](const std::string& name) -> std::optional<std::string> {
            const auto found = environment.find(name);
            if (found == environment.end()) return std::nullopt;
            return found->second;
          },
          {}};
}

constexpr auto two = R"(defaults:
  user: pgrm
  lag-threshold-bytes: 4096
pairs:
  - name: billing
    primary: host=old
    replica: postgresql://new:6000/
    lag-threshold-bytes: 8192
    hooks: hooks/billing
    postgres-password-file: /run/secrets/billing
    labels: {team: payments, tier: 1}
  - name: shop
    primary-host: old-shop
    replica-host: new-shop
    replica-port: 5433
)";

TEST_F(PairsFileTest, GivesEachPairItsSettingsAndWhatTheDefaultsSay) {
  const auto pairs = read(two);
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_EQ(pairs[0].name, "billing");
  EXPECT_EQ(pairs[0].origin, path_ + ":5");
  EXPECT_THAT(pairs[0].labels, ElementsAre(Pair("team", "payments"), Pair("tier", "1")));
  const Settings base = settings_with({}, {});
  const Settings billing = base.of_pair(pairs[0]), shop = base.of_pair(pairs[1]);
  EXPECT_EQ(billing.pair_name(), "billing");
  EXPECT_EQ(billing.text("POSTGRES_USER"), "pgrm");
  EXPECT_EQ(billing.integer("LAG_THRESHOLD_BYTES", 1, 10000), 8192);
  EXPECT_EQ(shop.integer("LAG_THRESHOLD_BYTES", 1, 10000), 4096);
  EXPECT_EQ(billing.text("PRIMARY_DSN"), "host=old");
  EXPECT_EQ(shop.text("PRIMARY_PORT"), "5432") << "of a pair it is PostgreSQL's own";
  EXPECT_EQ(shop.text("REPLICA_PORT"), "5433");
}

TEST_F(PairsFileTest, APathIsRelativeToTheFile) {
  const auto pairs = read(two);
  EXPECT_EQ(pairs[0].values.at("HOOKS").text, std::filesystem::path(path_).parent_path() / "hooks/billing");
  EXPECT_EQ(pairs[0].values.at("POSTGRES_PASSWORD_FILE").text, "/run/secrets/billing");
}

TEST_F(PairsFileTest, APairWinsOverTheEnvironmentAndAFlagOverThePair) {
  const auto pairs = read(two);
  const Settings::Values environment{{"LAG_THRESHOLD_BYTES", "1"},
                                     {"MAX_WRITE_PAUSE", "2"},
                                     {"POSTGRES_PASSWORD", "direct"},
                                     {"PRIMARY_DSN", "host=elsewhere"},
                                     {"REPLICA_HOST", "elsewhere"}};
  const Settings billing = settings_with({{"REQUIRED_SYNC_CHECKS", "9"}}, environment).of_pair(pairs[0]);
  EXPECT_EQ(billing.text("LAG_THRESHOLD_BYTES"), "8192");
  EXPECT_EQ(billing.text("MAX_WRITE_PAUSE"), "2");
  EXPECT_EQ(billing.text("REQUIRED_SYNC_CHECKS"), "9");
  EXPECT_THROW(billing.secret("POSTGRES_PASSWORD"), Error) << "its own file, which is not there";
  const Settings shop = settings_with({}, environment).of_pair(pairs[1]);
  EXPECT_EQ(shop.optional_text("PRIMARY_DSN"), std::nullopt) << "where its servers are, the pair alone says";
  EXPECT_EQ(shop.text("REPLICA_HOST"), "new-shop");
  EXPECT_EQ(shop.secret("POSTGRES_PASSWORD").reveal(), "direct");
  EXPECT_THROW(settings_with({{"PRIMARY_HOST", "x"}}, {}).of_pair(pairs[0]), Error);
}

TEST_F(PairsFileTest, ABadValueSaysWhereItStands) {
  const auto pairs = read("pairs:\n  - name: a\n    primary: host=x\n    replica: host=y\n    required-checks: many\n");
  try {
    settings_with({}, {}).of_pair(pairs[0]).integer("REQUIRED_SYNC_CHECKS", 1, 10);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              path_ + ":5: required-checks of a is \"many\", allowed is a whole number from 1 to 10");
  }
}

TEST_F(PairsFileTest, EveryFaultOfTheFileIsALine) {
  EXPECT_THAT(faults(R"(defaults: {interval: 1, listen: 0.0.0.0:1, interval: 2}
pairs:
  - name: a/b
    primary: host=x
    replica-host: y
  - name: twice
    primary: host=x
    primary-port: 1
    replica: host=y
    postgres-password: secret
    colour: red
    hooks:
    labels: {__x: 1, y: [1]}
  - name: twice
    primary: host=x
  - just text
more: 1
)"),
              ElementsAre(":1: \"listen\" of the defaults is not a setting of a pair",
                          ":1: interval of the defaults stands there twice",
                          ":17: \"more\" is not known here, allowed are defaults and pairs",
                          HasSubstr(":3: a pair has no name of letters, digits"),
                          ":10: postgres-password of twice is a secret: name its file with postgres-password-file",
                          ":11: \"colour\" of twice is not a setting of a pair", ":12: hooks of twice has no value",
                          ":13: \"__x\" of twice is no name of a label", ":13: label y of twice has no value",
                          HasSubstr(":6: twice has primary, and primary-host or primary-port besides"),
                          ":14: twice names no replica: it needs replica or replica-host",
                          ":14: two pairs have the name twice", ":16: a pair is not a map of keys to values"));
}

TEST_F(PairsFileTest, WhatIsNoSuchFileIsRefused) {
  for (const auto& [text, said] : {std::pair("", ":1: the file is not a map with the key pairs"),
                                   {"- a\n", ":1: the file is not a map with the key pairs"},
                                   {"pairs: []\n", ":1: pairs is not a list of at least one pair"},
                                   {"defaults: {}\n", ":1: pairs is not a list of at least one pair"},
                                   {"pairs: [\n", ":2: "},
                                   {"pairs: [{name: \xff}]\n---\n", ""}}) {
    EXPECT_THAT(faults(text), ElementsAre(HasSubstr(said))) << text;
  }
  EXPECT_THROW(read_pairs("/nonexistent/pairs.yml"), Error);
  EXPECT_THROW(read_pairs("/tmp"), Error);
}

TEST_F(PairsFileTest, AnUnknownNameIsAnsweredWithThoseThatThereAre) {
  const auto pairs = read(two);
  EXPECT_EQ(pair_named(pairs, "shop").name, "shop");
  try {
    pair_named(pairs, "shoe");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_EQ(error.hint(), "it has billing, shop");
  }
}

}  // namespace
}  // namespace pgrm
