#include "core/base/command_line.h"

#include <gtest/gtest.h>

namespace pgrm {
namespace {

TEST(NumberBetween, TakesNoOtherText) {
  const CLI::Validator validator = number_between(0.5, 2);
  for (const char* const good : {"0.5", "1", "2", "1e0"}) EXPECT_EQ(validator(good), "") << good;
  for (const char* const bad : {"0.4", "3", "nan", "-nan", "inf", "", "1x", "x"}) EXPECT_NE(validator(bad), "") << bad;
}

}  // namespace
}  // namespace pgrm
