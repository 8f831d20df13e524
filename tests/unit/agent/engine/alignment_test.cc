#include "agent/engine/alignment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t segment = 16 << 20;
static_assert(left_in_segment(Lsn(2 * segment), segment) == 0);
static_assert(left_in_segment(Lsn(2 * segment + 40), segment) == segment - 40);
static_assert(left_in_segment(Lsn(3 * segment - 8), segment) == 8);

std::ptrdiff_t index_of(const Rig& rig, const std::string& call) {
  return std::ranges::find(rig.cluster.calls, call) - rig.cluster.calls.begin();
}

TEST(Alignment, ThePromotionBeginsWhereASegmentDoes) {
  Rig rig;
  std::optional<Lsn> replayed;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") replayed = rig.cluster.replica.state.wal_replay;
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_EQ(left_in_segment(replayed.value(), segment), 0);
  EXPECT_LT(index_of(rig, "primary.fill_wal"), index_of(rig, "primary.alter_system(on)")) << "while writes are stopped";
}

TEST(Alignment, ASegmentThatHasEndedMeanwhileIsNotGivenUp) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "primary.alter_system(on)") rig.cluster.write(segment / 4);
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.switch_wal")));
}

TEST(Alignment, NeedsItsRights) {
  for (const Side side : both_sides) {
    Rig rig;
    rig.cluster[side].facts.rights["pg_switch_wal"] = rig.cluster[side].facts.rights["ALTER SYSTEM wal_init_zero"] =
        false;
    ASSERT_EQ(rig.run().exit_code, 0);
    EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.fill_wal")));
    EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.switch_wal")));
    EXPECT_THAT(rig.cluster.calls, Not(Contains(HasSubstr("wal_init_zero"))));
  }
}

TEST(Alignment, LargeSegmentsAreNotFilled) {
  Rig rig;
  rig.cluster.primary.facts.settings["wal_segment_size"] = "1073741824";
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.cluster.calls, Not(Contains("primary.fill_wal")));
}

TEST(Alignment, ABusyApplicationFindsMoreRoom) {
  const auto left_after_filling = [](std::uint64_t written_meanwhile) {
    Rig rig;
    std::int64_t left = 0;
    rig.cluster.after = [&](const std::string& call) {
      if (call == "replica.checkpoint") {
        rig.clock.advance(std::chrono::seconds(1));
        rig.cluster.write(written_meanwhile);
      }
      if (call == "primary.fill_wal") left = left_in_segment(*rig.cluster.primary.state.wal_insert, segment);
    };
    EXPECT_EQ(rig.run().exit_code, 0);
    return left;
  };
  EXPECT_EQ(left_after_filling(100), segment / 64);
  EXPECT_NEAR(static_cast<double>(left_after_filling(4 << 20)), (4 << 20) / 10, 1000);
  EXPECT_EQ(left_after_filling(40 << 20), segment / 8);
}

TEST(Alignment, AnApplicationThatGetsIntoTheNextSegmentFindsThatOneFilled) {
  Rig rig;
  std::optional<Lsn> replayed;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") replayed = rig.cluster.replica.state.wal_replay;
  };
  bool written = false;
  rig.cluster.after = [&](const std::string& call) {
    if (call == "primary.fill_wal" && left_in_segment(*rig.cluster.primary.state.wal_insert, segment) == segment / 64 &&
        !std::exchange(written, true)) {
      rig.cluster.write(segment / 4);
    }
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_TRUE(written);
  EXPECT_EQ(left_in_segment(replayed.value(), segment), 0);
}

}  // namespace
}  // namespace pgrm::agent
