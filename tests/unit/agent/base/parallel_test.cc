#include "agent/base/parallel.h"

#include <gtest/gtest.h>

#include <latch>
#include <mutex>
#include <set>
#include <stdexcept>

namespace pgrm::agent {
namespace {

TEST(EachOf, CallsEveryoneOnce) {
  std::mutex mutex;
  std::multiset<std::size_t> called;
  each_of(100, 7, [&](std::size_t i) {
    const std::lock_guard lock(mutex);
    called.insert(i);
  });
  EXPECT_EQ(called.size(), 100U);
  EXPECT_EQ(std::set(called.begin(), called.end()).size(), 100U);
  each_of(0, 7, [](std::size_t) { FAIL() << "there is none"; });
}

TEST(EachOf, RunsSeveralAtOnceAndNoMore) {
  std::latch together(3);  // none of them goes on before there are three
  std::atomic<int> now = 0, most = 0;
  each_of(30, 3, [&](std::size_t i) {
    int seen = most;
    const int mine = ++now;
    while (mine > seen && !most.compare_exchange_weak(seen, mine)) {
    }
    if (i < 3) together.arrive_and_wait();
    --now;
  });
  EXPECT_EQ(most, 3);
}

TEST(EachOf, OneThatWaitsHoldsUpNoOther) {
  std::latch others(9);
  each_of(10, 2, [&](std::size_t i) {
    if (i == 0) {
      others.wait();
    } else {
      others.count_down();
    }
  });
}

TEST(EachOf, PassesOnWhatOneThrowsWhenAllHaveEnded) {
  std::atomic<int> ended = 0;
  const auto work = [&](std::size_t i) {
    if (i == 0) throw std::runtime_error("no");
    ++ended;
  };
  EXPECT_THROW(each_of(5, 2, work), std::runtime_error);
  EXPECT_EQ(ended, 4);
}

}  // namespace
}  // namespace pgrm::agent
