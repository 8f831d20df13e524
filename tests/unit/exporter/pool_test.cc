#include "exporter/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>

namespace pgrm::exporter {
namespace {

TEST(Pool, AJobThatHangsHoldsUpNoOther) {
  std::counting_semaphore<> hangs{0}, end{0}, done{0};
  Pool pool;
  for (int i = 0; i < 3; ++i) {
    pool.post([&] {
      hangs.release();
      end.acquire();
    });
  }
  for (int i = 0; i < 3; ++i) hangs.acquire();
  pool.post([&] { done.release(); });
  done.acquire();
  EXPECT_EQ(pool.threads(), 4U);
  end.release(3);
}

TEST(Pool, HasNoMoreThreadsThanThereWereJobsAtOnce) {
  std::counting_semaphore<> done{0};
  Pool pool;
  for (int i = 0; i < 100; ++i) {
    pool.post([&] { done.release(); });
    done.acquire();
  }
  EXPECT_LT(pool.threads(), 100U) << "one that is done takes the next";
}

TEST(Pool, EndsWhenEveryJobIsDoneAndWhatTheyGaveMeanwhile) {
  std::atomic<int> done = 0;
  {
    Pool pool;
    pool.post([&] {
      ++done;
      pool.post([&] { ++done; });
    });
  }
  EXPECT_EQ(done, 2);
}

}  // namespace
}  // namespace pgrm::exporter
