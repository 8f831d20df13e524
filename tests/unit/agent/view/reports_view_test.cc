#include "agent/view/reports_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/view/report.h"
#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using nlohmann::json;
using testing::ElementsAre;

std::vector<std::string> rendered(const Lines& lines) {
  std::vector<std::string> texts;
  for (const Line& line : lines) texts.push_back(line.render({}));
  return texts;
}

json report_of(int exit_code, std::optional<double> pause) {
  json report{{"exit_code", exit_code},
              {"message", exit_code == 0 ? "" : "something is wrong"},
              {"began_at", "2026-11-30T05:01:02.345Z"},
              {"rehearsal", false},
              {"promoted", exit_code == 0},
              {"warnings", json::array()}};
  if (pause) report["write_unavailable_seconds"] = *pause;
  if (exit_code == 0) report["fence"] = {{"lsn", "0/4000000"}};
  return report;
}

PairReport done(std::string name, double pause) { return {.name = std::move(name), .report = report_of(0, pause)}; }

TEST(ReportsTable, SaysOfEachPairWhatIsKnown) {
  PairReport verified = done("billing", 0.0123);
  verified.report["client_write_gap_seconds"] = 0.05;
  verified.report["left_behind"] = json::array({1, 2});
  verified.report["warnings"] = {"a hook said no"};
  verified.verified = {{"acknowledged", 500}, {"missing", 0}, {"proven", true}};
  PairReport lost = done("shop", 0.2);
  lost.verified = {{"acknowledged", 500}, {"missing", 3}, {"proven", false}};
  PairReport odd = done("odd", 0.1);
  odd.verified = {{"acknowledged", 500}, {"missing", 0}, {"proven", false}};
  EXPECT_THAT(
      rendered(reports_table({{.name = "undone", .report = report_of(5, std::nullopt)},
                              {.name = "new", .missing = "nothing there"},
                              verified,
                              lost,
                              odd,
                              done("plain", 0.1)})),
      ElementsAre(
          "  pair     began (UTC)          outcome    exit  writes stopped  clients' gap  lost         left by hand",
          "  undone   2026-11-30 05:01:02  UNDONE     5     ?               ?             ?            something is "
          "wrong",
          "  new      ?                    NO REPORT  ?     ?               ?             ?            nothing there",
          "  billing  2026-11-30 05:01:02  DONE       0     12.3 ms         50.0 ms       none of 500  sessions on the "
          "old primary: 2; a hook said no",
          "  shop     2026-11-30 05:01:02  DONE       0     200.0 ms        ?             3 of 500",
          "  odd      2026-11-30 05:01:02  DONE       0     100.0 ms        ?             not proven",
          "  plain    2026-11-30 05:01:02  DONE       0     100.0 ms        ?             no WAL"));
}

TEST(ReportsTable, ShowsTheReportOfARealCutover) {
  Rig rig;
  Cutover cutover = rig.context();
  const Outcome outcome = run_cutover(cutover, [&](const Cutover&) {
    return std::make_unique<Journal>(rig.journal_file(), rig.clock, json::object(), json::object());
  });
  const PairReport pair{.name = "real", .report = make_report(cutover, outcome, false, {})};
  EXPECT_THAT(rendered(reports_table({pair}))[1], testing::HasSubstr("DONE"));
  EXPECT_THAT(rendered(reports_table({pair}))[1], testing::HasSubstr("no WAL"));
  EXPECT_EQ(reports_to_json({pair}).at("outcomes"), (json{{"DONE", 1}}));
}

TEST(ReportsTable, ShowsFirstWhatSomebodyHasToLookAfter) {
  std::vector<PairReport> pairs{done("b", 0.1),
                                done("a", 0.1),
                                {.name = "none", .missing = "nothing there"},
                                {.name = "refused", .report = report_of(3, std::nullopt)},
                                {.name = "unfinished", .report = report_of(6, std::nullopt)}};
  sort_unfinished_first(pairs);
  std::vector<std::string> names;
  for (const PairReport& pair : pairs) names.push_back(pair.name);
  EXPECT_THAT(names, ElementsAre("unfinished", "refused", "none", "a", "b"));
}

TEST(ReportsTotal, CountsAndTellsThePausesOfThoseThatAreDone) {
  PairReport rehearsed = done("r", 9);
  rehearsed.report["rehearsal"] = true;
  EXPECT_THAT(rendered(reports_total({done("a", 0.1),
                                      done("b", 0.3),
                                      done("c", 0.4),
                                      done("d", 0.2),
                                      rehearsed,
                                      {.name = "u", .report = report_of(5, 8)},
                                      {.name = "n"}})),
              ElementsAre("7 pairs: 4 DONE, 1 NO REPORT, 1 REHEARSED, 1 UNDONE",
                          "writes stopped for: min 100.0 ms, median 250.0 ms, max 400.0 ms, of those that are done"));
  EXPECT_THAT(rendered(reports_total({{.name = "n"}})), ElementsAre("1 pair: 1 NO REPORT"));
}

TEST(ReportsJson, HasNullForWhatIsNotKnown) {
  const json said = reports_to_json({{.name = "n", .missing = "nothing there"}});
  EXPECT_EQ(said.at("pairs")[0], (json{{"name", "n"},
                                       {"outcome", "NO REPORT"},
                                       {"by_hand", {"nothing there"}},
                                       {"report", nullptr},
                                       {"verified", nullptr}}));
  EXPECT_EQ(said.at("pause_seconds"), (json{{"min", nullptr}, {"median", nullptr}, {"max", nullptr}}));
  EXPECT_EQ(reports_to_json({done("a", 0.1), done("b", 0.3)}).at("pause_seconds").at("median"), 0.2);
}

}  // namespace
}  // namespace pgrm::agent
