#include "core/base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "core/base/error.h"

namespace pgrm {
namespace {

using testing::HasSubstr;

Settings::Environment environment(Settings::Values values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

Settings only_default() { return {{}, environment({}), {}}; }

TEST(Settings, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const Settings::Values flag{{"PRIMARY_HOST", "flag"}};
  const Settings::Values variable{{"PRIMARY_HOST", "environment"}};
  const Settings::Values file{{"PRIMARY_HOST", "file"}};
  EXPECT_EQ(Settings(flag, environment(variable), file).text("PRIMARY_HOST"), "flag");
  EXPECT_EQ(Settings({}, environment(variable), file).text("PRIMARY_HOST"), "environment");
  EXPECT_EQ(Settings({}, environment({}), file).text("PRIMARY_HOST"), "file");
  EXPECT_EQ(only_default().text("PRIMARY_HOST"), "localhost");
  EXPECT_EQ(Settings({}, environment({{"PRIMARY_HOST", ""}}), {}).text("PRIMARY_HOST"), "localhost");
  EXPECT_FALSE(only_default().given("PRIMARY_HOST"));
  EXPECT_TRUE(Settings({}, environment({}), file).given("PRIMARY_HOST"));
}

TEST(Settings, ABadValueNamesItsOriginItselfAndWhatIsAllowed) {
  const auto message = [](const Settings& settings, auto read) {
    try {
      read(settings);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  const auto interval = [](const Settings& settings) { settings.number("MONITORING_INTERVAL", 0.05, 3600); };
  for (const char* bad : {"0.01", "abc", "5s", "nan", "inf", "-1", "1e9", "5 "}) {
    EXPECT_THAT(message({{}, environment({{"MONITORING_INTERVAL", bad}}), {}}, interval),
                testing::AllOf(HasSubstr("MONITORING_INTERVAL"), HasSubstr(bad), HasSubstr("0.05")));
  }
  EXPECT_THAT(message({{{"MONITORING_INTERVAL", "x"}}, environment({}), {}}, interval), HasSubstr("--interval"));
  EXPECT_THAT(message({{}, environment({}), {{"MONITORING_INTERVAL", "x"}}}, interval), HasSubstr("--config"));
  EXPECT_THAT(message({{}, environment({{"PRIMARY_PORT", "70000"}}), {}},
                      [](const Settings& settings) { settings.integer("PRIMARY_PORT", 1, 65535); }),
              HasSubstr("70000"));
  EXPECT_THAT(message({{}, environment({{"PRIMARY_PORT", "99999999999999999999"}}), {}},
                      [](const Settings& settings) { settings.integer("PRIMARY_PORT", 1, 65535); }),
              HasSubstr("whole number"));
  EXPECT_THAT(message({{}, environment({{"LOG_FORMAT", "xml"}}), {}},
                      [](const Settings& settings) {
                        settings.one_of("LOG_FORMAT", {"text", "json"});
                      }),
              HasSubstr("text, json"));
}

TEST(Settings, ASecretComesFromItsVariableOrFromAFile) {
  const std::string path = testing::TempDir() + "secret-" + std::to_string(getpid());
  std::ofstream(path) << "from file\n";
  EXPECT_EQ(Settings({}, environment({{"POSTGRES_PASSWORD_FILE", path}}), {}).secret("POSTGRES_PASSWORD").reveal(),
            "from file");
  EXPECT_EQ(Settings({}, environment({{"POSTGRES_PASSWORD", "direct"}, {"POSTGRES_PASSWORD_FILE", path}}), {})
                .secret("POSTGRES_PASSWORD")
                .reveal(),
            "direct");
  EXPECT_TRUE(only_default().secret("POSTGRES_PASSWORD").empty());
  std::remove(path.c_str());
  EXPECT_THROW(Settings({}, environment({{"POSTGRES_PASSWORD_FILE", path}}), {}).secret("POSTGRES_PASSWORD"), Error);
}

TEST(SettingsTable, NamesEachVariableOnceAndNeverOffersAPasswordAsAFlag) {
  std::set<std::string_view> names;
  for (const Setting& row : settings_table) {
    EXPECT_TRUE(names.insert(row.variable).second) << row.variable;
    const bool secret =
        row.variable.find("PASSWORD") != std::string_view::npos || row.variable.find("TOKEN") != std::string_view::npos;
    if (secret) {
      EXPECT_EQ(row.flag, "") << row.variable;
    }
  }
}

TEST(SettingsTable, EveryDefaultIsValid) {
  const Settings settings = only_default();
  settings.number("MONITORING_INTERVAL", 0.05, 3600);
  settings.integer("REQUIRED_SYNC_CHECKS", 1, 1000);
  settings.one_of("LOG_LEVEL", {"trace", "debug", "info", "warn", "error"});
  EXPECT_EQ(settings.seconds("PROMOTE_TIMEOUT", 0, 60), std::chrono::seconds(30));
}

}  // namespace
}  // namespace pgrm
