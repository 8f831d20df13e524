#include "exporter/options.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace pgrm::exporter {
namespace {

Options options_with(const Settings::Values& environment) {
  return options_from(Settings({},
                               [environment](const std::string& name) -> std::optional<std::string> {
                                 const auto found = environment.find(name);
                                 if (found == environment.end()) return std::nullopt;
                                 return found->second;
                               },
                               {}));
}

TEST(ExporterOptions, HaveTheDocumentedDefaults) {
  const Options options = options_with({});
  EXPECT_EQ(options.policy.interval, std::chrono::seconds(5));
  EXPECT_EQ(options.policy.required, 3);
  EXPECT_EQ(options.policy.thresholds.bytes, 1024);
  EXPECT_EQ(options.policy.thresholds.seconds, std::chrono::seconds(1));
  EXPECT_EQ(options.listen, "127.0.0.1:9717");
}

TEST(ExporterOptions, KeepOutOfTheDatabaseThatACutoverCloses) {
  const Options options =
      options_with({{"POSTGRES_DB", "shop"}, {"REPLICA_DSN", "host=db2 dbname=shop user=pgrm_monitor"}});
  EXPECT_EQ(options.pair.primary.get("dbname"), "postgres");
  EXPECT_EQ(options.pair.replica.get("dbname"), "postgres");
  EXPECT_EQ(options.pair.replica.address(), "db2:5432");
}

TEST(ExporterOptions, RefuseWhatMakesNoSense) {
  const std::pair<const char*, const char*> refused[] = {
      {"MONITORING_INTERVAL", "0"}, {"MONITORING_INTERVAL", "0.04"}, {"MONITORING_INTERVAL", "soon"},
      {"LAG_THRESHOLD_BYTES", "0"}, {"LAG_THRESHOLD_BYTES", "-1"},   {"LAG_THRESHOLD_SECONDS", "0"},
      {"REQUIRED_SYNC_CHECKS", "0"}};
  for (const auto& [variable, value] : refused) {
    try {
      options_with({{variable, value}});
      ADD_FAILURE() << variable << "=" << value;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      EXPECT_NE(std::string(error.what()).find(variable), std::string::npos) << error.what();
    }
  }
}

TEST(PairsOfTheExporter, MayHaveNoLabelThatTheirTargetsHave) {
  const std::string path = testing::TempDir() + "labels_" + std::to_string(getpid()) + ".yml";
  for (const std::string taken : {"cluster", "instance", "job", "exporter", "node"}) {
    std::ofstream(path) << "pairs: [{name: a, primary: host=a, replica: host=b, labels: {" << taken << ": x}}]\n";
    try {
      pairs_from(Settings({{"PAIRS_FILE", path}}, [](const std::string&) { return std::nullopt; }, {}));
      ADD_FAILURE() << taken;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("the series have a label " + taken), std::string::npos) << error.what();
    }
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace pgrm::exporter
