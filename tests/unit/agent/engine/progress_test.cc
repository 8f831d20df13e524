#include "agent/engine/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/fakes/fake_clock.h"

namespace pgrm::agent {
namespace {

void fail_a_step(Progress&& progress) {
  progress.begins("a", "b");
  progress.ends("failed", {}, "x");
}

TEST(Progress, IsOneLineAStepInAPipe) {
  std::ostringstream out;
  FakeClock clock;
  Progress progress(&out, false, false, clock);
  progress.begins("wait_sync", "why");
  progress.waits("1 of 3");
  progress.waits("1 of 3");
  clock.advance(std::chrono::milliseconds(1));
  progress.waits("2 of 3");
  progress.ends("done", std::chrono::milliseconds(1500), "in sync");
  EXPECT_EQ(out.str(),
            "  ..       wait_sync                0 us  1 of 3\n"
            "  ..       wait_sync              1.0 ms  2 of 3\n"
            "  ok       wait_sync               1.5 s  in sync\n");
}

TEST(Progress, HasNoColourUnlessAsked) {
  std::ostringstream plain;
  fail_a_step(Progress(&plain, true, false));
  EXPECT_EQ(plain.str().find("\033[3"), std::string::npos);
  std::ostringstream coloured;
  fail_a_step(Progress(&coloured, true, true));
  EXPECT_NE(coloured.str().find("\033[31m"), std::string::npos);
}

TEST(Progress, IsSilentWithoutAnOutput) {
  Progress progress(nullptr, true, true);
  progress.begins("a", "b");
  progress.waits("c");
  progress.ends("done", {}, "d");
  progress.says("e");
}

TEST(Progress, KnowsWhenNothingMayTakeTimeFromTheCutover) {
  Progress progress(nullptr, false, false);
  progress.begins("preflight", "why");
  EXPECT_FALSE(on_critical_path(progress.standing()));
  progress.ends("done", {}, "");
  progress.begins("replica_settings", "why");
  EXPECT_FALSE(on_critical_path(progress.standing())) << "it may wait for long after that";
  progress.ends("done", {}, "");
  progress.begins("arm_fence", "why");
  EXPECT_TRUE(on_critical_path(progress.standing()));
  progress.ends("done", {}, "");
  progress.writes(Mono{}, std::nullopt);
  EXPECT_TRUE(on_critical_path(progress.standing()));
  progress.writes(Mono{}, Mono{});
  EXPECT_FALSE(on_critical_path(progress.standing())) << "until writes go on";
}

TEST(LagHistory, KeepsThePeaksInBoundedMemory) {
  LagHistory history;
  for (int i = 0; i < 100'000; ++i) history.add(Mono(std::chrono::milliseconds(i)), i == 31'337 ? 1'000'000 : i % 7);
  const auto points = history.points();
  EXPECT_LT(points.size(), 4000U);
  EXPECT_GT(points.size(), 1000U);
  EXPECT_EQ(std::ranges::max(points, {}, &LagHistory::Point::bytes).bytes, 1'000'000);
  EXPECT_TRUE(std::ranges::is_sorted(points, {}, &LagHistory::Point::at));
}

}  // namespace
}  // namespace pgrm::agent
