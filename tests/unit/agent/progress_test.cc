#include "agent/progress.h"

#include <gtest/gtest.h>

#include <sstream>

namespace pgrm::agent {
namespace {

TEST(Progress, IsOneLineAStepInAPipe) {
  std::ostringstream out;
  Progress progress(&out, false, false);
  progress.begins("wait_sync", "why");
  progress.waits("1 of 3");
  progress.waits("1 of 3");
  progress.waits("2 of 3");
  progress.ends("done", std::chrono::milliseconds(1500), "in sync");
  EXPECT_EQ(out.str(),
            "  ..       wait_sync            1 of 3\n"
            "  ..       wait_sync            2 of 3\n"
            "  ok       wait_sync                1.5 s  in sync\n");
}

TEST(Progress, HasNoColourUnlessAsked) {
  std::ostringstream plain;
  Progress(&plain, true, false).ends("failed", {}, "x");
  EXPECT_EQ(plain.str().find("\033[3"), std::string::npos);
  std::ostringstream coloured;
  Progress(&coloured, true, true).ends("failed", {}, "x");
  EXPECT_NE(coloured.str().find("\033[31m"), std::string::npos);
}

TEST(Progress, IsSilentWithoutAnOutput) {
  Progress progress(nullptr, true, true);
  progress.begins("a", "b");
  progress.waits("c");
  progress.ends("done", {}, "d");
  progress.says("e");
}

}  // namespace
}  // namespace pgrm::agent
