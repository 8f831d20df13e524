#include "agent/engine/marker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Marker, StandsOnBothServersFromBeforeTheFenceToTheEnd) {
  Rig rig;
  std::vector<std::string> at_promotion;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") at_promotion = rig.cluster.replica.markers;
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  ASSERT_EQ(at_promotion.size(), 1U);
  EXPECT_TRUE(is_marker_of(at_promotion.front(), rig.id)) << at_promotion.front();
  EXPECT_THAT(at_promotion.front(), HasSubstr("STATE_DIR " + rig.options.state_dir));
  EXPECT_THAT(rig.cluster.replica.markers, IsEmpty());
  EXPECT_EQ(rig.cluster.primary.markers, at_promotion) << "the demoted server tells by which cutover";
}

TEST(Marker, GoesWithAnUndo) {
  Rig rig;
  rig.cluster.primary.refusal = "P0001";
  ASSERT_EQ(rig.run().exit_code, 5);
  EXPECT_THAT(rig.cluster.primary.markers, IsEmpty());
  EXPECT_THAT(rig.cluster.calls, Contains("primary.set_marker"));
}

TEST(Marker, StaysWithAnAgentThatDiesAndGoesWithItsRecovery) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "replica.promote") throw Killed();
  };
  EXPECT_THROW(rig.run(), Killed);
  EXPECT_EQ(rig.cluster.primary.markers.size(), 1U);
  rig.cluster.before = nullptr;
  EXPECT_EQ(rig.recover().exit_code, 0);
  EXPECT_THAT(rig.cluster.replica.markers, IsEmpty());
}

TEST(Marker, IsLeftOutWithoutTheRight) {
  Rig rig;
  rig.cluster.primary.may_mark = false;
  EXPECT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(rig.warnings, Contains(HasSubstr("run roles.sql again")));
}

TEST(Marker, OfAnotherCutoverIsLeftAlone) {
  Rig rig;
  rig.cluster.before = [&](const std::string& call) {
    if (call == "primary.alter_system(on)") rig.cluster.primary.markers = {"other on host b, STATE_DIR /s"};
  };
  rig.cluster.primary.refusal = "P0001";
  ASSERT_EQ(rig.run().exit_code, 5);
  EXPECT_THAT(rig.cluster.primary.markers, ElementsAre(HasSubstr("other")));
}

}  // namespace
}  // namespace pgrm::agent
