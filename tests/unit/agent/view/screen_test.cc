#include "agent/view/screen.h"

#include <gtest/gtest.h>

#include <sstream>

namespace pgrm::agent {
namespace {

constexpr Style plain{};
constexpr Style narrow{.width = 6};
constexpr Style coloured{.width = 6, .colour = true, .unicode = true};

TEST(Line, IsCutToTheWidthByCharacters) {
  EXPECT_EQ(Line("0123456789").render(narrow), "012345");
  EXPECT_EQ(Line("▁▂▃▄▅▆▇█").render(narrow), "▁▂▃▄▅▆");
  EXPECT_EQ(Line("abc").add("defgh", red).render(narrow), "abcdef");
  EXPECT_EQ(Line("0123456789").render(plain), "0123456789");
}

TEST(Line, HasColourOnlyWhenWanted) {
  EXPECT_EQ(Line("ab").add("cd", red).render(coloured), "ab\033[31mcd\033[0m");
  EXPECT_EQ(Line("ab").add("cd", red).render(plain), "abcd");
}

TEST(Line, LetsNobodyElseControlTheTerminal) { EXPECT_EQ(Line("a\n\033[2Jb").render(plain), "a  [2Jb"); }

TEST(Columns, AreAsWideAsTheirWidestCell) {
  const Lines lines = columns({{{"a"}, {"long heading"}, {"last"}}, {{"wörd", red}, {"b"}, {"as long as it is"}}});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].render(plain), "  a     long heading  last");
  EXPECT_EQ(lines[1].render(plain), "  wörd  b             as long as it is");
  EXPECT_EQ(columns({{{"a"}, {""}, {"b"}}, {{"aa"}, {"x"}, {""}}})[1].render(plain), "  aa  x")
      << "no blanks behind it";
  EXPECT_TRUE(columns({}).empty());
}

TEST(Sparkline, ScalesToTheLargest) {
  EXPECT_EQ(sparkline({0, 1, 500, 1000}, coloured), "▁▂▅█");
  EXPECT_EQ(sparkline({0, 1, 500, 1000}, plain), "_.=#");
  EXPECT_EQ(sparkline({0, 0}, plain), "__");
  EXPECT_EQ(sparkline({}, plain), "");
}

TEST(HumanBytes, HasAUnit) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(16'777'216), "16.8 MB");
  EXPECT_EQ(human_bytes(999'960), "1.0 MB");
}

TEST(Block, IsDrawnOverInPlaceAndCleared) {
  std::ostringstream out;
  Block block(out);
  block.draw({Line("a"), Line("b")}, plain);
  EXPECT_EQ(out.str(), "\ra\033[K\nb\033[K\n\033[J");
  out.str("");
  block.draw({Line("c")}, plain);
  EXPECT_EQ(out.str(), "\033[2Fc\033[K\n\033[J") << "from its first line; what it had more is cleared";
  out.str("");
  block.erase();
  EXPECT_EQ(out.str(), "\033[1F\033[J");
}

}  // namespace
}  // namespace pgrm::agent
