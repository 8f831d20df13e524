#include "core/base/error.h"

#include <gtest/gtest.h>

#include <set>

namespace pgrm {
namespace {

TEST(ErrorTable, HasARowForEveryCodeInOrderWithANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < error_table.size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(error_table[i].code), i) << error_table[i].name;
    EXPECT_TRUE(names.insert(error_table[i].name).second) << error_table[i].name;
  }
  EXPECT_EQ(error_table.back().code, ErrorCode::undecided) << "a code was added without a row";
}

TEST(Error, TakesTheTablesHintUnlessItHasABetterOne) {
  EXPECT_EQ(to_text(Error(ErrorCode::usage, "what")), "what\nhint: see --help");
  EXPECT_EQ(to_text(Error(ErrorCode::usage, "what", "do this")), "what\nhint: do this");
  EXPECT_EQ(to_text(Error(ErrorCode::proof_failed, "what")), "what");
}

TEST(Error, IsShownWithItsLinesAndWithoutControlCharacters) {
  EXPECT_EQ(to_text(Error(ErrorCode::configuration, "one\ntwo\x1b[2J", "a\thint")), "one\ntwo [2J\nhint: a hint");
}

}  // namespace
}  // namespace pgrm
