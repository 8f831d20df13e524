// A person or the time of the day says when writes are stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const StepRecord& step(const Outcome& outcome, std::string_view name) {
  return *std::ranges::find_if(outcome.steps, [&](const StepRecord& record) { return record.step->name == name; });
}

/// Minutes after midnight, where the test runs.
int minute_of(const Clock& clock) {
  const auto seconds = static_cast<std::time_t>(to_unix(clock.wall()));
  std::tm local{};
  localtime_r(&seconds, &local);
  return local.tm_hour * 60 + local.tm_min;
}

/// From so many minutes from now on, for so many.
DailyWindow window_in(const Clock& clock, int minutes, int length) {
  const int from = (minute_of(clock) + minutes + 1440) % 1440;
  return {from, (from + length) % 1440};
}

TEST(Hold, WaitsUntilThePersonLetsGo) {
  Rig rig;
  int looks = 0;
  rig.held_by = [&] {
    EXPECT_THAT(rig.journal, IsEmpty()) << "nothing is changed while it is held";
    EXPECT_EQ(rig.cluster.primary.on_hold, looks > 0) << "others can see it";
    return ++looks < 3000 ? std::string("for Enter") : std::string();  // ten minutes
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_FALSE(rig.cluster.primary.on_hold);
  EXPECT_THAT(step(outcome, "hold").evidence,
              testing::ContainsRegex("released, .* checks passed.*, checkpoints written"))
      << "what was ready has aged";
  EXPECT_THAT(step(outcome, "hold").evidence, HasSubstr("consecutive checks in sync"));
}

TEST(Hold, EndsWhenTheLockIsLost) {
  Rig rig;
  int looks = 0;
  rig.held_by = [&] {
    if (++looks == 100) rig.cluster.primary.end_sessions();
    return std::string("for Enter");
  };
  const Outcome outcome = rig.run();
  EXPECT_LT(looks, 1000);
  EXPECT_THAT(outcome.message, HasSubstr("the session that holds the cluster's lock has ended"));
  EXPECT_THAT(rig.journal, IsEmpty());
}

TEST(Hold, GetsOverAReplicaThatIsRestarted) {
  Rig rig;
  int looks = 0;
  rig.held_by = [&] {
    ++looks;
    if (looks == 100) rig.cluster.replica.up = false;
    if (looks == 500) rig.cluster.replica.restart();
    return looks < 1000 ? std::string("for Enter") : std::string();
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(step(outcome, "hold").evidence, HasSubstr("checkpoints written")) << "over new sessions";
}

TEST(Hold, FindsOutAtItsEndThatAReplicaWasRestarted) {
  Rig rig;
  int looks = 0;
  rig.held_by = [&] {
    if (++looks == 10) {
      rig.cluster.replica.up = false;
      rig.cluster.replica.restart();
    }
    return looks < 15 ? std::string("for Enter") : std::string();  // a second later
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_THAT(step(outcome, "hold").evidence, HasSubstr("checkpoints written"));
}

TEST(Hold, LeavesNoTraceWhenItIsInterrupted) {
  Rig rig;
  rig.held_by = [&] {
    rig.stop.request_stop();
    return std::string("for Enter");
  };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 5);
  EXPECT_THAT(rig.journal, IsEmpty());
  EXPECT_THAT(rig.traffic->given, IsEmpty());
  EXPECT_TRUE(rig.cluster.primary.writable());
}

TEST(Hold, BeginsInsideOfTheWindowOnly) {
  Rig rig;
  rig.options.window = window_in(rig.clock, 30, 60);
  const int began = minute_of(rig.clock);
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.message;
  EXPECT_GE((minute_of(rig.clock) - began + 1440) % 1440, 30);
}

TEST(Hold, GivesUpAtTheEndOfTheWindow) {
  Rig rig;
  rig.options.window = window_in(rig.clock, -10, 20);
  rig.held_by = [] { return std::string("for Enter"); };
  const Outcome outcome = rig.run();
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.message, HasSubstr("has ended"));
  EXPECT_THAT(rig.journal, IsEmpty());
}

TEST(Window, IsAPartOfTheDay) {
  EXPECT_EQ(parse_daily_window("23:30-04:00").text(), "23:30-04:00");
  for (const char* const wrong : {"", "2-4", "24:00-25:00", "02:00", "02:00-02:00", "02:00-04:00 "}) {
    EXPECT_THROW(parse_daily_window(wrong), Error) << wrong;
  }
  FakeClock clock;
  EXPECT_TRUE(window_in(clock, 0, 1).contains(clock.wall()));
  EXPECT_FALSE(window_in(clock, 1, 1438).contains(clock.wall())) << "over midnight as well";
  EXPECT_TRUE(window_in(clock, -720, 721).contains(clock.wall()));
}

}  // namespace
}  // namespace pgrm::agent
