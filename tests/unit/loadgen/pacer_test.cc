#include "loadgen/pacer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <future>
#include <thread>
#include <vector>

#include "tests/fakes/fake_clock.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;

constexpr auto soon = 10s;

TEST(Pacer, StartsOperationsOnTimeForHours) {
  const FakeClock clock;
  Pacer pacer(clock, 300);
  pacer.resume();
  const Mono start = clock.now();
  constexpr std::uint64_t two_hours = 2'160'000;
  for (std::uint64_t number = 0; number < two_hours; ++number) {
    const auto turn = pacer.next();
    ASSERT_TRUE(turn);
    ASSERT_EQ(turn->number, number);
    pacer.done();
  }
  // The last one was due one interval before the end of the second hour.
  EXPECT_NEAR(to_seconds(clock.now() - start), 7200 - 1.0 / 300, 1e-6);
}

TEST(Pacer, ASlowServerDoesNotMoveTheSchedule) {
  FakeClock clock;
  Pacer pacer(clock, 10);
  pacer.resume();
  const Mono start = clock.now();
  pacer.next();
  clock.advance(1s);
  pacer.done();
  for (int number = 1; number <= 10; ++number) {
    const auto turn = pacer.next();
    EXPECT_EQ(turn->due, start + number * 100ms) << "latency counts from here";
    EXPECT_EQ(clock.now(), start + 1s) << "what is late is due at once";
    pacer.done();
  }
  pacer.next();
  EXPECT_EQ(clock.now(), start + 1100ms);
}

TEST(Pacer, AClosedLoopNeverWaits) {
  const FakeClock clock;
  Pacer pacer(clock, 0);
  pacer.resume();
  for (std::uint64_t number = 0; number < 1000; ++number) {
    const auto turn = pacer.next();
    EXPECT_EQ(turn->number, number);
    EXPECT_EQ(turn->due, clock.now());
    pacer.done();
  }
  EXPECT_TRUE(clock.slept().empty());
}

TEST(Pacer, ChangesItsRateFromNowOn) {
  FakeClock clock;
  Pacer pacer(clock, 1);
  pacer.resume();
  pacer.next();
  clock.advance(10s);  // ten are late by now, and forgotten
  pacer.set_rate(100);
  const Mono changed = clock.now();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pacer.next()->due, changed + i * 10ms);
  EXPECT_EQ(pacer.rate(), 100);
}

TEST(Pacer, APauseStopsTheScheduleToo) {
  FakeClock clock;
  Pacer pacer(clock, 10);
  pacer.resume();
  const Mono start = clock.now();
  pacer.next();
  pacer.done();
  EXPECT_TRUE(pacer.pause(0s));
  EXPECT_TRUE(pacer.paused());
  clock.advance(1h);
  pacer.resume();
  EXPECT_FALSE(pacer.paused());
  EXPECT_EQ(pacer.next()->due, start + 1h + 100ms);
}

TEST(Pacer, PausingTwiceIsPausingOnce) {
  FakeClock clock;
  Pacer pacer(clock, 10);
  pacer.resume();
  const Mono start = clock.now();
  pacer.pause(0s);
  clock.advance(1s);
  EXPECT_TRUE(pacer.pause(0s));
  clock.advance(1s);
  pacer.resume();
  pacer.resume();
  EXPECT_EQ(pacer.next()->due, start + 2s);
}

TEST(Pacer, PauseReturnsWhenNothingIsInFlight) {
  const FakeClock clock;
  Pacer pacer(clock, 0);
  pacer.resume();
  pacer.next();
  pacer.next();
  EXPECT_EQ(pacer.in_flight(), 2);
  EXPECT_FALSE(pacer.pause(1ms)) << "two are in flight";
  auto paused = std::async(std::launch::async, [&] { return pacer.pause(soon); });
  pacer.done();
  EXPECT_EQ(paused.wait_for(1ms), std::future_status::timeout) << "one is in flight";
  pacer.done();
  EXPECT_TRUE(paused.get());
}

TEST(Pacer, PauseGivesUpWhenSomebodyResumes) {
  const FakeClock clock;
  Pacer pacer(clock, 0);
  pacer.resume();
  pacer.next();
  auto paused = std::async(std::launch::async, [&] { return pacer.pause(soon); });
  while (!pacer.paused()) std::this_thread::yield();
  pacer.resume();
  EXPECT_FALSE(paused.get());
}

TEST(Pacer, NothingStartsDuringAPause) {
  FakeClock clock(FakeClock::Sleep::blocks);
  Pacer pacer(clock, 10);
  pacer.resume();
  pacer.next();
  pacer.done();
  auto second = std::async(std::launch::async, [&] { return pacer.next(); });
  clock.wait_for_sleepers(1);
  EXPECT_TRUE(pacer.pause(soon)) << "who waits for the time is not in flight";
  clock.advance(1h);
  EXPECT_EQ(second.wait_for(1ms), std::future_status::timeout);
  EXPECT_EQ(pacer.in_flight(), 0);
  pacer.resume();
  clock.wait_for_sleepers(1);
  clock.advance(100ms);
  EXPECT_EQ(second.get()->number, 1U);
}

TEST(Pacer, AnAttemptLetsAPauseThrough) {
  const FakeClock clock;
  Pacer pacer(clock, 0);
  pacer.resume();
  pacer.next();
  EXPECT_TRUE(pacer.again());
  EXPECT_EQ(pacer.in_flight(), 1);
  EXPECT_FALSE(pacer.pause(0s));
  auto attempt = std::async(std::launch::async, [&] { return pacer.again(); });
  EXPECT_TRUE(pacer.pause(soon)) << "between two attempts it is not in flight";
  EXPECT_EQ(attempt.wait_for(1ms), std::future_status::timeout);
  pacer.resume();
  EXPECT_TRUE(attempt.get());
  EXPECT_EQ(pacer.in_flight(), 1);
}

TEST(Pacer, EndsEverybody) {
  const FakeClock clock(FakeClock::Sleep::blocks);
  Pacer pacer(clock, 0.001);
  pacer.resume();
  EXPECT_TRUE(pacer.next());
  std::deque<std::future<bool>> waiting;
  for (int i = 0; i < 5; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] { return pacer.next().has_value(); }));
  }
  clock.wait_for_sleepers(1);  // one for the time, the others for its place
  pacer.end();
  for (auto& client : waiting) EXPECT_FALSE(client.get());
  EXPECT_FALSE(pacer.again());
  EXPECT_EQ(pacer.in_flight(), 0);
  EXPECT_FALSE(pacer.next());
}

TEST(Pacer, EndsAPauseThatWaits) {
  const FakeClock clock;
  Pacer pacer(clock, 0);
  pacer.resume();
  pacer.next();
  EXPECT_FALSE(pacer.pause(0s));
  auto attempt = std::async(std::launch::async, [&] { return pacer.again(); });
  pacer.end();
  EXPECT_FALSE(attempt.get());
}

TEST(Pacer, GivesEveryNumberOnceToManyClients) {
  Pacer pacer(system_clock(), 20'000);
  constexpr int clients = 8;
  constexpr std::uint64_t wanted = 2'000;
  std::vector<std::vector<std::uint64_t>> got(clients);
  {
    std::deque<std::jthread> threads;
    for (auto& mine : got) {
      threads.emplace_back([&pacer, &mine] {
        while (const auto turn = pacer.next()) {
          mine.push_back(turn->number);
          pacer.done();
          if (turn->number >= wanted) pacer.end();
        }
      });
    }
    pacer.resume();
  }
  std::vector<std::uint64_t> all;
  for (const auto& mine : got) {
    EXPECT_TRUE(std::ranges::is_sorted(mine));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::ranges::sort(all);
  ASSERT_GT(all.size(), wanted);
  for (std::uint64_t number = 0; number < all.size(); ++number) ASSERT_EQ(all[number], number);
}

}  // namespace
}  // namespace pgrm::loadgen
