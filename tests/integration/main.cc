// All integration tests share one pair: without it, none can run.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>

#include "tests/integration/lab_pair.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (testing::GTEST_FLAG(list_tests)) return RUN_ALL_TESTS();
  try {
    pgrm::LabPair::get();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
  }
  return RUN_ALL_TESTS();
}
