#include "loadgen/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <string>
#include <thread>

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;

Next judge_sqlstate(const std::string& sqlstate) {
  return judge(SqlError(ErrorCode::query_failed, "refused", sqlstate));
}

TEST(Judge, AServerThatTurnedReadOnlyIsLeftAndTheOperationTriedElsewhere) {
  EXPECT_EQ(judge_sqlstate("25006"), Next::retry_elsewhere);
}

TEST(Judge, WhatAServerRolledBackIsTriedAgain) {
  EXPECT_EQ(judge_sqlstate("40001"), Next::retry_here);
  EXPECT_EQ(judge_sqlstate("40P01"), Next::retry_here);
}

TEST(Judge, WhatWouldBeRefusedAgainIsNot) {
  for (const char* const sqlstate : {"23505", "42P01", "53100", "57014", "XX000"}) {
    EXPECT_EQ(judge_sqlstate(sqlstate), Next::give_up) << sqlstate;
  }
}

TEST(Judge, WithoutAnAnswerItIsInDoubtAndNeverSentTwice) {
  EXPECT_EQ(judge(Error(ErrorCode::connection_lost, "lost")), Next::doubt);
  EXPECT_EQ(judge(Error(ErrorCode::timeout, "late")), Next::doubt);
  EXPECT_EQ(judge(Error(ErrorCode::query_failed, "whatever it was")), Next::doubt);
  for (const char* const sqlstate : {"08007", "40003", "57P01"}) {
    EXPECT_EQ(judge_sqlstate(sqlstate), Next::doubt) << sqlstate;
  }
}

TEST(Backoff, BeginsAtOnceAndStaysBelowItsCap) {
  Backoff backoff(Random(1, 1));
  EXPECT_EQ(backoff.next(), 0ms);
  EXPECT_GE(backoff.next(), 1ms);
  Duration longest{};
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const Duration wait = backoff.next();
    EXPECT_GT(wait, 0ms);
    longest = std::max(longest, wait);
  }
  EXPECT_LE(longest, 100ms);
  EXPECT_GT(longest, 90ms);
  backoff.reset();
  EXPECT_EQ(backoff.next(), 0ms);
}

TEST(Backoff, DiffersFromClientToClient) {
  Backoff one(Random(1, 1));
  Backoff two(Random(1, 2));
  one.next();
  two.next();
  EXPECT_NE(one.next(), two.next());
}

TEST(Turnstile, LetsFewThroughAtATimeAndEverybodyInTheEnd) {
  Turnstile turnstile;
  std::atomic<int> passed = 0;
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  {
    std::deque<std::jthread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back([&] {
        for (int round = 0; round < 100; ++round) {
          turnstile.pass([&] {
            const int now = ++inside;
            int before = most;
            while (before < now && !most.compare_exchange_weak(before, now)) continue;
            ++passed;
            --inside;
          });
        }
      });
    }
  }
  EXPECT_EQ(passed, 800);
  EXPECT_LE(most, 2);
}

TEST(Turnstile, WhoHasWaitedLongEnoughGoesAnyway) {
  Turnstile turnstile;
  int passed = 0;
  turnstile.pass([&] { turnstile.pass([&] { turnstile.pass([&] { ++passed; }); }); });
  EXPECT_EQ(passed, 1);
}

TEST(Turnstile, IsLeftAlsoByAnException) {
  Turnstile turnstile;
  for (int i = 0; i < 10; ++i) {
    EXPECT_THROW(turnstile.pass([] { throw Error(ErrorCode::unreachable, "nobody there"); }), Error);
  }
  std::atomic<int> passed = 0;
  turnstile.pass([&] { ++passed; });
  EXPECT_EQ(passed, 1);
}

}  // namespace
}  // namespace pgrm::loadgen
