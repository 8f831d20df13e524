#include "agent/engine/steps.h"

#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "agent/view/explain.h"

namespace pgrm::agent {
namespace {

constexpr Step good{.name = "good",
                    .why = "",
                    .mutates = true,
                    .commits = true,
                    .preview = [](Cutover&) { return std::string(); },
                    .run = [](Cutover&) { return std::string(); }};

constexpr Step changed(void (*change)(Step&)) {
  Step step = good;
  change(step);
  return step;
}

constexpr Step other = changed([](Step& step) {
  step.name = "other";
  step.mutates = step.commits = false;
});
constexpr Step no_undo = changed([](Step& step) {
  step.name = "no_undo";
  step.commits = false;
});
constexpr Step mutating_dry_run = changed([](Step& step) { step.in_dry_run = true; });

// Not at compile time: with the undefined behaviour sanitizer the address of a function of another file is no constant.
TEST(Steps, AreWellFormed) { EXPECT_TRUE(well_formed(steps())); }

static_assert(well_formed(std::array{good}));
static_assert(well_formed(std::array{other, good}));
static_assert(!well_formed(std::array{other}), "nothing commits");
static_assert(!well_formed(std::array{good, good}), "the same name twice, two that commit");
static_assert(!well_formed(std::array{no_undo, good}), "changes something before the commit without an undo");
static_assert(well_formed(std::array{good, no_undo}), "after the commit there is no undo");
static_assert(!well_formed(std::array{mutating_dry_run}), "a dry run must not change anything");

TEST(Explain, StandsInTheGuideWordForWord) {
  std::ostringstream explained;
  explain(explained);
  std::ifstream file(PGRM_TOP "/docs/cutover.md");
  const std::string guide{std::istreambuf_iterator<char>(file), {}};
  constexpr std::string_view begin = "<!-- agent explain -->\n\n";
  constexpr std::string_view end = "\n<!-- end of agent explain -->";
  const std::size_t from = guide.find(begin);
  const std::size_t to = guide.find(end);
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos);
  const std::string text = explained.str();
  EXPECT_EQ(guide.substr(from + begin.size(), to - from - begin.size()),
            text.substr(0, text.find("\n### Metrics of a cutover")))
      << "put the output of `agent explain` between the two marks of docs/cutover.md";
}

TEST(Explain, SaysTheSameAsJson) {
  const nlohmann::json all = explain_json();
  EXPECT_EQ(all.at("steps").size(), steps().size());
  EXPECT_EQ(all.at("exit_codes").at(7).at("code"), "7");
  EXPECT_EQ(all.at("recovery").dump().find('`'), std::string::npos);
  for (const char* const key : {"checks", "metrics"}) EXPECT_GT(all.at(key).size(), 5U) << key;
}

}  // namespace
}  // namespace pgrm::agent
