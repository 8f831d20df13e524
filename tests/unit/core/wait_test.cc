#include "core/base/wait.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"

namespace pgrm {
namespace {

using std::chrono::milliseconds;

TEST(WaitUntil, LooksAtOnce) {
  const FakeClock clock;
  EXPECT_EQ(wait_until(clock, milliseconds(0), milliseconds(1), {}, [] { return true; }), WaitEnd::reached);
  EXPECT_TRUE(clock.slept().empty());
}

TEST(WaitUntil, LooksOnceMoreAtTheEndOfItsBudget) {
  const FakeClock clock;
  const Mono end = clock.now() + milliseconds(10);
  EXPECT_EQ(wait_until(clock, milliseconds(10), milliseconds(3), {}, [&] { return clock.now() >= end; }),
            WaitEnd::reached);
  EXPECT_EQ(wait_until(clock, milliseconds(10), milliseconds(3), {}, [] { return false; }), WaitEnd::timed_out);
  EXPECT_EQ(clock.slept().back(), milliseconds(1)) << "never beyond the budget";
}

TEST(WaitUntil, EndsWhenAsked) {
  const FakeClock clock;
  std::stop_source stop;
  EXPECT_EQ(wait_until(clock, milliseconds(10), milliseconds(1), stop.get_token(),
                       [&] {
                         stop.request_stop();
                         return false;
                       }),
            WaitEnd::stopped);
}

TEST(WaitUntil, WhatWasReachedCountsEvenWhenAskedToStop) {
  const FakeClock clock;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(wait_until(clock, milliseconds(10), milliseconds(1), stop.get_token(), [] { return true; }),
            WaitEnd::reached);
}

TEST(Human, HasAUnitAtEverySize) {
  EXPECT_EQ(human(std::chrono::microseconds(850)), "850 us");
  EXPECT_EQ(human(std::chrono::microseconds(12300)), "12.3 ms");
  EXPECT_EQ(human(milliseconds(4500)), "4.5 s");
  EXPECT_EQ(human(std::chrono::seconds(200)), "3 min 20 s");
}

TEST(Iso8601, IsUtcWithMilliseconds) {
  EXPECT_EQ(to_iso8601(WallTime(milliseconds(1'769'850'307'123))), "2026-01-31T09:05:07.123Z");
}

}  // namespace
}  // namespace pgrm
