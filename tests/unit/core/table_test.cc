#include "core/base/table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace pgrm {
namespace {

Table two_lines() { return {{{"name", true}, {"meaning"}}, {{"a", "the `first`"}, {"longer", "**another**"}}}; }

TEST(Table, IsMarkdown) {
  EXPECT_EQ(to_markdown(two_lines()),
            "| name | meaning |\n|---|---|\n| `a` | the `first` |\n| `longer` | **another** |\n");
}

TEST(Table, IsText) { EXPECT_EQ(to_text(two_lines()), "a       the `first`\nlonger  **another**\n"); }

TEST(Table, IsJsonWithoutMarks) {
  EXPECT_EQ(to_json(two_lines()).dump(),
            R"([{"meaning":"the first","name":"a"},{"meaning":"another","name":"longer"}])");
}

TEST(Table, OfMetricsIsPrintedInThreeForms) {
  std::ostringstream text, markdown, json;
  print_catalogue(text, two_lines(), false, false);
  print_catalogue(markdown, two_lines(), true, false);
  print_catalogue(json, two_lines(), false, true);
  EXPECT_EQ(text.str(), to_text(two_lines()));
  EXPECT_EQ(markdown.str(), to_markdown(two_lines()));
  EXPECT_EQ(nlohmann::json::parse(json.str()).at("metrics"), to_json(two_lines()));
}

}  // namespace
}  // namespace pgrm
