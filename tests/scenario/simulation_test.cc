// The seeded simulation: a fixed number of seeds here, any number with `simulation FIRST COUNT`.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "tests/scenario/simulation.h"

namespace pgrm::agent {
namespace {

class Simulation : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { spdlog::set_level(spdlog::level::off); }
  void TearDown() override { spdlog::set_level(spdlog::level::info); }
};

TEST_P(Simulation, HoldsForEverySeed) {
  constexpr std::uint64_t seeds = 25'000;
  const std::uint64_t first = static_cast<std::uint64_t>(GetParam()) * seeds;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    const Story story = simulate(seed);
    ASSERT_EQ(story.broken, "") << "seed " << seed << "\n" << story.transcript;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Simulation, testing::Range(0, 4));

}  // namespace
}  // namespace pgrm::agent
