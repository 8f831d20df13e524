#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "agent/base/state_dir.h"
#include "agent/commands/commands.h"
#include "agent/engine/journal.h"
#include "core/base/error.h"

namespace pgrm::agent {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// A folder with a folder a pair.
class ReportAll : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// STATE_DIR/NAME of each, of which a file of pairs tells.
  std::vector<Settings> pairs(const std::vector<std::string>& names) const {
    const Settings settings({{"STATE_DIR", folder}}, [](const std::string&) { return std::nullopt; }, {});
    std::vector<Settings> pairs;
    for (const std::string& name : names)
      pairs.push_back(settings.of_pair({.name = name, .origin = {}, .values = {}, .labels = {}}));
    return pairs;
  }

  std::string cutover_of(const std::string& name, int second) const {
    return make_cutover_directory(folder + "/" + name, WallTime(std::chrono::seconds(1'769'850'300 + second)), "73");
  }

  static void write_report_in(const std::string& directory) {
    std::filesystem::create_directories(directory);
    write_file(
        directory + "/report.json",
        json{{"exit_code", 0}, {"message", ""}, {"began_at", "2026-11-30T05:01:02.345Z"}, {"warnings", json::array()}}
            .dump());
  }

  static void write_journal_in(const std::string& directory, std::optional<int> ended_with) {
    Journal journal(create_journal_file(directory + "/journal.jsonl"), system_clock(), json::object(), json::object());
    journal.begin("fence", {});
    if (ended_with) journal.end(*ended_with);
  }

  json said(const std::vector<Settings>& pairs) {
    arguments.json = true;
    testing::internal::CaptureStdout();
    EXPECT_EQ(report_all(pairs, arguments), 0);
    return json::parse(testing::internal::GetCapturedStdout());
  }

  std::string folder = testing::TempDir() + "reports-" + std::to_string(getpid());
  Arguments arguments;
};

TEST_F(ReportAll, TakesTheNewestOfEachPairOfTheFile) {
  write_report_in(cutover_of("a", 1));
  const std::string newest = cutover_of("a", 2);
  write_report_in(newest);
  write_file(newest + "/verify.json", R"({"acknowledged": 5, "missing": 0, "proven": true})");
  write_report_in(cutover_of("not-in-the-file", 1));
  const json all = said(pairs({"a", "b"})).at("pairs");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].at("name"), "b");
  EXPECT_EQ(all[0].at("outcome"), "NO REPORT");
  EXPECT_THAT(all[0].at("by_hand")[0].get<std::string>(), HasSubstr("no cutover has left a report in " + folder));
  EXPECT_EQ(all[1].at("outcome"), "DONE");
  EXPECT_EQ(all[1].at("verified").at("acknowledged"), 5);
}

TEST_F(ReportAll, TakesNoOlderReportForTheCutoverOfAnAgentThatDied) {
  write_report_in(cutover_of("died", 1));
  write_journal_in(cutover_of("died", 2), std::nullopt);
  write_report_in(cutover_of("recovered", 1));
  write_journal_in(cutover_of("recovered", 2), 5);
  const json all = said(pairs({"died", "recovered"})).at("pairs");
  EXPECT_EQ(all[0].at("outcome"), "NO REPORT");
  EXPECT_THAT(all[0].at("by_hand")[0].get<std::string>(), HasSubstr("agent recover --dry-run --pair died"));
  EXPECT_EQ(all[1].at("outcome"), "NO REPORT");
  EXPECT_THAT(all[1].at("by_hand")[0].get<std::string>(), HasSubstr("a recovery has settled it"));
}

TEST_F(ReportAll, OneThatCannotBeReadHidesNoOther) {
  write_report_in(cutover_of("a", 1));
  write_file(cutover_of("torn", 1) + "/report.json", R"({"exit_code": )");
  write_file(cutover_of("odd", 1) + "/report.json", R"({"exit_code": "none"})");
  const json all = said(pairs({"a", "torn", "odd"})).at("pairs");
  EXPECT_EQ(all[0].at("name"), "odd");
  EXPECT_THAT(all[0].at("by_hand")[0].get<std::string>(), HasSubstr("cannot be read"));
  EXPECT_EQ(all[1].at("name"), "torn");
  EXPECT_EQ(all[2].at("outcome"), "DONE");
}

TEST_F(ReportAll, TakesWhatWasCollectedInAFolder) {
  write_report_in(folder + "/paris");
  write_report_in(cutover_of("berlin", 1));  // a whole STATE_DIR/NAME will do
  arguments.from = folder;
  const json all = said({}).at("pairs");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].at("name"), "berlin");
  EXPECT_EQ(all[0].at("outcome"), "DONE");
  EXPECT_EQ(all[1].at("outcome"), "DONE");
  EXPECT_EQ(said(pairs({"paris", "rome"})).at("outcomes"), (json{{"DONE", 1}, {"NO REPORT", 1}}));
}

TEST_F(ReportAll, SaysWhenThereIsNothingInTheFolder) {
  arguments.from = folder;
  EXPECT_THROW(report_all({}, arguments), Error);
  arguments.from = folder + "/none";
  EXPECT_THROW(report_all({}, arguments), Error);
}

}  // namespace
}  // namespace pgrm::agent
