#include "agent/view/pairs_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgrm::agent {
namespace {

using testing::ElementsAre;

std::vector<std::string> rendered(const Lines& lines) {
  std::vector<std::string> texts;
  for (const Line& line : lines) texts.push_back(line.render({}));
  return texts;
}

std::vector<std::string> names(std::vector<PairJudged> pairs) {
  sort_worst_first(pairs);
  std::vector<std::string> names;
  for (const PairJudged& pair : pairs) names.push_back(pair.name);
  return names;
}

Finding finding(std::size_t row, Verdict verdict) { return {&checks()[row], std::move(verdict)}; }

PairJudged ready(std::string name) { return {.name = std::move(name), .findings = {finding(0, pass("fine"))}}; }

PairJudged warned(std::string name) {
  PairJudged pair = ready(std::move(name));
  pair.findings.push_back(finding(1, warn("cold", "warm it")));
  return pair;
}

PairJudged refused(std::string name) {
  return {.name = std::move(name),
          .findings = {finding(0, unknown("nobody knows")), finding(1, warn("cold", "")), finding(2, fail("dead", ""))},
          .exit_code = 3};
}

TEST(PairsTable, HasTheWordsOfTheFirstRefusalOrElseOfTheFirstWarning) {
  EXPECT_THAT(rendered(pairs_table({refused("shop"), warned("billing"), ready("a")})),
              ElementsAre("  pair     verdict  refuse  warn  what comes first",
                          "  shop     REFUSED  2       1     " + std::string(checks()[2].name) + ": dead",
                          "  billing  READY    0       1     " + std::string(checks()[1].name) + ": cold",
                          "  a        READY    0       0"));
}

TEST(PairsTable, SaysWhatRefusesWhenNoCheckDoes) {
  PairJudged lagging = warned("late");
  lagging.exit_code = 4;
  lagging.message = "not in sync after 300 s";
  PairJudged unread{.name = "unread", .exit_code = 3, .message = "hooks cannot be read"};
  PairJudged judged = refused("judged");
  judged.message = "2 of 3 checks refuse the cutover";
  EXPECT_THAT(rendered(pairs_table({lagging, unread, judged})),
              ElementsAre("  pair    verdict    refuse  warn  what comes first",
                          "  late    NOT BEGUN  0       1     not in sync after 300 s",
                          "  unread  REFUSED    0       0     hooks cannot be read",
                          "  judged  REFUSED    2       1     " + std::string(checks()[2].name) + ": dead"));
}

TEST(PairsTable, HasThePauseWhenSomebodyPredictsIt) {
  PairJudged quick = ready("quick");
  quick.pause = std::chrono::milliseconds(47);
  EXPECT_THAT(
      rendered(pairs_table({refused("shop"), quick})),
      ElementsAre("  pair   verdict  writes stop for  refuse  warn  what comes first",
                  "  shop   REFUSED  ?                2       1     " + std::string(checks()[2].name) + ": dead",
                  "  quick  READY    47.0 ms          0       0"));
}

TEST(PairsTable, IsWorstFirst) {
  PairJudged worse = refused("z");
  worse.findings.push_back(finding(3, fail("dead, too", "")));
  EXPECT_THAT(names({ready("b"), warned("c"), ready("a"), refused("d"), worse}), ElementsAre("z", "d", "c", "a", "b"));
}

TEST(PairsTotal, CountsThoseThatMayBeCutOver) {
  EXPECT_EQ(pairs_total({ready("a"), refused("b"), warned("c")}), "2 of 3 pairs may be cut over");
  EXPECT_EQ(pairs_total({refused("b")}), "0 of 1 pair may be cut over");
}

}  // namespace
}  // namespace pgrm::agent
