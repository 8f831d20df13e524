#include "agent/base/state_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace pgrm::agent {
namespace {

class StateDir : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(path_); }
  std::string path_ = testing::TempDir() + "state-" + std::to_string(getpid());
};

TEST_F(StateDir, KeepsASecondAgentOutAndSaysWhoHoldsIt) {
  const StateLock first(path_);
  try {
    const StateLock second(path_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 3);
    EXPECT_THAT(error.what(), testing::HasSubstr("pid " + std::to_string(getpid())));
  }
}

TEST_F(StateDir, IsFreeAgainAfterwards) {
  { const StateLock first(path_); }
  const StateLock second(path_);
}

TEST_F(StateDir, FindsTheNewestCutoverThatHasTheFile) {
  EXPECT_EQ(newest_with(path_, "report.json"), std::nullopt);
  const WallTime now(std::chrono::seconds(1'769'850'307));
  const std::string old = make_cutover_directory(path_, now, "73");
  const std::string recent = make_cutover_directory(path_, now + std::chrono::seconds(1), "73");
  EXPECT_EQ(recent, path_ + "/20260131T090508Z-73");
  EXPECT_EQ(std::filesystem::status(old).permissions(), std::filesystem::perms::owner_all);
  write_file(old + "/report.json", "{}");
  EXPECT_EQ(newest_with(path_, "report.json"), old);
  write_file(recent + "/report.json", "{}");
  EXPECT_EQ(newest_with(path_, "report.json"), recent);
  EXPECT_EQ(newest_with(path_, "report.json", "no such cluster"), std::nullopt);
  EXPECT_EQ(read_file(recent + "/report.json"), "{}");
}

TEST_F(StateDir, TwoCutoversOfOneSecondHaveADirectoryEach) {
  const WallTime now(std::chrono::seconds(1'769'850'307));
  EXPECT_EQ(make_cutover_directory(path_, now, "73"), path_ + "/20260131T090507Z-73");
  EXPECT_EQ(make_cutover_directory(path_, now, "73"), path_ + "/20260131T090508Z-73");
  EXPECT_EQ(make_cutover_directory(path_, now, "74"), path_ + "/20260131T090507Z-74");
}

TEST_F(StateDir, ACutoverAfterTheClockWasPutBackIsTheNewest) {
  const WallTime now(std::chrono::seconds(1'769'850'307));
  make_cutover_directory(path_, now + std::chrono::hours(24), "73");
  EXPECT_EQ(make_cutover_directory(path_, now, "73"), path_ + "/20260201T090508Z-73");
  EXPECT_EQ(make_cutover_directory(path_, now, "74"), path_ + "/20260131T090507Z-74") << "of another cluster";
}

TEST_F(StateDir, IsTriedByManyAtOnceAndNothingStays) {
  std::filesystem::create_directories(path_);
  std::vector<std::future<void>> pairs;
  for (int pair = 0; pair < 8; ++pair) {
    pairs.push_back(std::async(std::launch::async, [this] {
      for (int round = 0; round < 50; ++round) try_to_write(path_);
    }));
  }
  for (std::future<void>& pair : pairs) EXPECT_NO_THROW(pair.get());
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST(StateDirOnNothing, IsAClearError) {
  EXPECT_THROW(StateLock("/proc/nothing"), Error);
  EXPECT_THROW(try_to_write("/proc/nothing"), Error);
  EXPECT_THROW(make_cutover_directory("/proc/nothing", WallTime(), "z"), Error);
  EXPECT_THROW(write_file("/proc/nothing", ""), Error);
  EXPECT_THROW(read_file("/proc/nothing"), Error);
}

TEST(CutoverId, BeginsWithTheTime) {
  EXPECT_THAT(new_cutover_id(WallTime(std::chrono::seconds(1'769'850'307))),
              testing::MatchesRegex("20260131T090507Z-[0-9a-f]+"));
}

}  // namespace
}  // namespace pgrm::agent
