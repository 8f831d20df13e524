#include "agent/view/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

#include "core/http/client.h"
#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::Each;
using testing::HasSubstr;
using testing::Key;
using testing::Pair;
using testing::UnorderedElementsAre;

/// The series of one family by the value of their only label, "" for a family without labels.
std::map<std::string, double> series(const std::vector<prometheus::MetricFamily>& families, const std::string& name) {
  std::map<std::string, double> values;
  for (const auto& family : families) {
    if (family.name != "pgrm_cutover_" + name) continue;
    for (const auto& metric : family.metric) {
      values[metric.label.empty() ? "" : metric.label.front().value] = metric.gauge.value;
    }
  }
  return values;
}

std::string phase_of(const std::vector<prometheus::MetricFamily>& families) {
  std::string phases;
  for (const auto& [phase, value] : series(families, "phase")) {
    if (value == 1) phases += phase;
  }
  return phases;
}

TEST(CutoverMetrics, HaveEveryPhaseFromTheStart) {
  FakeClock clock;
  const Progress progress(nullptr, false, false, clock);
  const auto families = cutover_families(progress.standing(), clock.now());
  EXPECT_EQ(series(families, "phase").size(), steps().size() + 4);
  EXPECT_EQ(phase_of(families), "");
  EXPECT_THAT(series(families, "write_unavailable_seconds"), UnorderedElementsAre(Pair("", 0)));
  EXPECT_THAT(series(families, "check"), testing::IsEmpty()) << "nothing was judged yet";
  EXPECT_THAT(series(families, "exit_code"), testing::IsEmpty());
}

TEST(CutoverMetrics, TellHowACutoverWent) {
  Rig rig;
  ASSERT_EQ(rig.run().exit_code, 0);
  rig.progress.concluded(0);
  const auto families = cutover_families(rig.progress.standing(), rig.clock.now());
  EXPECT_EQ(phase_of(families), "done");
  EXPECT_EQ(series(families, "step_duration_seconds").size(), steps().size());
  EXPECT_EQ(series(families, "check").size(), checks().size());
  EXPECT_THAT(series(families, "promoted"), UnorderedElementsAre(Pair("", 1)));
  EXPECT_THAT(series(families, "exit_code"), UnorderedElementsAre(Pair("", 0)));
}

TEST(CutoverMetrics, ShowAnUndo) {
  Rig rig;
  std::string phases;
  rig.cluster.replica.state.replay_paused = false;
  rig.traffic->on_fence = [&] {
    phases += phase_of(cutover_families(rig.progress.standing(), rig.clock.now()));
    throw Error(ErrorCode::query_failed, "no");
  };
  ASSERT_EQ(rig.run().exit_code, 5);
  EXPECT_EQ(phases, "fence");
  EXPECT_EQ(phase_of(cutover_families(rig.progress.standing(), rig.clock.now())), "undo");
  rig.progress.concluded(5);
  const auto families = cutover_families(rig.progress.standing(), rig.clock.now());
  EXPECT_EQ(phase_of(families), "failed");
  EXPECT_THAT(series(families, "promoted"), UnorderedElementsAre(Pair("", 0)));
}

TEST(CutoverMetrics, CountTheTimeWithoutWritesWhileItLasts) {
  FakeClock clock;
  Progress progress(nullptr, false, false, clock);
  const Mono stopped = clock.now();
  progress.writes(stopped, std::nullopt);
  clock.advance(std::chrono::seconds(2));
  EXPECT_THAT(series(cutover_families(progress.standing(), clock.now()), "write_unavailable_seconds"),
              UnorderedElementsAre(Pair("", 2)));
  progress.writes(stopped, clock.now());
  clock.advance(std::chrono::seconds(3));
  EXPECT_THAT(series(cutover_families(progress.standing(), clock.now()), "write_unavailable_seconds"),
              UnorderedElementsAre(Pair("", 2)));
}

TEST(CutoverMetrics, GiveAWarningHalfAPoint) {
  FakeClock clock;
  Progress progress(nullptr, false, false, clock);
  progress.checked({{&checks()[0], pass("a")},
                    {&checks()[1], warn("b", "c")},
                    {&checks()[2], fail("d", "e")},
                    {&checks()[3], unknown("f")}});
  const auto name = [](std::size_t i) { return std::string(checks()[i].name); };
  EXPECT_THAT(series(cutover_families(progress.standing(), clock.now()), "check"),
              UnorderedElementsAre(Pair(name(0), 1), Pair(name(1), 0.5), Pair(name(2), 0), Pair(name(3), 0)));
}

TEST(CutoverMetrics, AreServedUntilTheEndWasScraped) {
  FakeClock still;
  Progress progress(nullptr, false, false, still);
  const MetricsServer server("127.0.0.1:0", "", progress, system_clock());
  const auto client = http::make_client("http://127.0.0.1:" + std::to_string(server.port()));
  EXPECT_THAT(http::get_ok(*client, "/metrics", std::chrono::seconds(10)),
              HasSubstr("pgrm_cutover_phase{phase=\"promote\"} 0"));
  progress.concluded(0);
  bool waited = false;
  std::jthread scraper([&] {
    http::get_ok(*client, "/metrics", std::chrono::seconds(10));
    waited = true;
  });
  server.await_last_scrape(std::chrono::minutes(1), {});
  scraper.join();
  EXPECT_TRUE(waited);
}

TEST(CutoverMetrics, StandInTheDocsWordForWord) {
  std::ifstream file(PGRM_TOP "/docs/metrics.md");
  const std::string docs{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(docs, HasSubstr("<!-- agent explain -->\n\n" + to_markdown(metrics_catalogue()) +
                              "\n<!-- end of agent explain -->"))
      << "put the last table of `agent explain` between the two marks of docs/metrics.md";
}

}  // namespace
}  // namespace pgrm::agent
