#include "agent/view/status_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/agent/rig.h"

namespace pgrm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr Style terminal{.width = 80};

std::string text_of(const Lines& lines, const Style& style) {
  std::string text;
  for (const Line& line : lines) text += line.render(style) + "\n";
  return text;
}

/// What a person sees of the rig's pair.
PairSnapshot snapshot(Rig& rig) {
  return look_at_pair(*rig.servers.old_primary.admin, *rig.servers.new_primary.admin, rig.exporter, "/api/v1/state",
                      rig.clock, std::chrono::seconds(1));
}

std::string status_of(Rig& rig) { return text_of(status_lines(snapshot(rig), {}, terminal), terminal); }

TEST(Status, SaysFirstWhetherACutoverCouldBegin) {
  Rig rig;
  EXPECT_THAT(status_of(rig), testing::StartsWith("  READY: 3 in-sync checks in a row, 3 required"));
  rig.exporter.streak_length = 2;
  EXPECT_THAT(status_of(rig), HasSubstr("SOON: 2 in-sync checks in a row, 3 required"));
  rig.exporter.age = std::chrono::minutes(1);
  EXPECT_THAT(status_of(rig), HasSubstr("UNKNOWN: the exporter's observation is"));
  rig.exporter.up = false;
  EXPECT_THAT(status_of(rig), HasSubstr("UNKNOWN: the exporter does not answer"));
}

TEST(Status, ShowsRolesAndPositions) {
  Rig rig;
  const std::string status = status_of(rig);
  EXPECT_THAT(status, testing::ContainsRegex("primary +old:5432 +primary"));
  EXPECT_THAT(status, testing::ContainsRegex("replica +new:5432 +standby"));
  for (const char* const stage : {"inserted", "flushed", "sent", "received", "replayed"}) {
    EXPECT_THAT(status, HasSubstr(stage));
  }
}

TEST(Status, SaysWhatIsUnreachableAndWhatBlocks) {
  Rig rig;
  rig.cluster.replica.up = false;
  const std::string status = status_of(rig);
  EXPECT_THAT(status, testing::ContainsRegex("replica +new:5432 +unreachable"));
  EXPECT_THAT(status, HasSubstr("NOT IN SYNC"));
  EXPECT_THAT(status, HasSubstr("no WAL flows"));
}

TEST(Status, KnowsACutoverThatHasHappened) {
  Rig rig;
  ASSERT_EQ(rig.run().exit_code, 0);
  const std::string status = status_of(rig);
  EXPECT_THAT(status, HasSubstr("CUT OVER: the replica is the primary now"));
  EXPECT_THAT(status, testing::ContainsRegex("primary +old:5432 +read-only"));
  EXPECT_THAT(status, testing::ContainsRegex("replica +new:5432 +primary"));
}

TEST(Status, FitsATerminalOf80By24) {
  Rig rig;
  std::vector<LagHistory::Point> history;
  for (int i = 0; i < 500; ++i) history.push_back({Mono(std::chrono::seconds(i)), i * 1000});
  const Lines lines = status_lines(snapshot(rig), history, terminal);
  EXPECT_LT(lines.size(), 24U);
  EXPECT_THAT(text_of(lines, {}), testing::ContainsRegex("lag +0 B.*#  peak 499.0 kB in 8 min 19 s\n"))
      << "the whole line must fit, not only what is left of it after the cut";
  for (const Line& line : lines) {
    EXPECT_LE(line.render({}).size(), 80U) << line.render({});
  }
}

TEST(Status, IsOneLineInAPipe) {
  Rig rig;
  const std::string line = status_line(snapshot(rig));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, HasSubstr("primary primary"));
  EXPECT_THAT(line, HasSubstr("lag 0 B"));
  EXPECT_THAT(line, HasSubstr("READY"));
}

TEST(Status, IsJsonWithNullForUnknown) {
  Rig rig;
  rig.exporter.up = false;
  rig.cluster.replica.up = false;
  const auto status = status_to_json(snapshot(rig));
  EXPECT_EQ(status.at("nodes").at("primary").at("role"), "primary");
  EXPECT_EQ(status.at("nodes").at("replica").at("role"), "unreachable");
  EXPECT_TRUE(status.at("nodes").at("replica").at("wal_lsn").is_null());
  EXPECT_TRUE(status.at("lag_bytes").is_null());
  EXPECT_TRUE(status.at("sync").is_null());
}

TEST(CutoverView, ShowsWhatIsDoneWhatRunsAndWhatIsToCome) {
  Rig rig;
  std::string view;
  rig.traffic->on_fence = [&] {
    const PairSnapshot now = snapshot(rig);
    const Lines lines = cutover_lines("cutover x", rig.progress.standing(), &now, {}, rig.clock.now(), terminal);
    EXPECT_LT(lines.size(), 24U);
    view = text_of(lines, terminal);
  };
  ASSERT_EQ(rig.run().exit_code, 0);
  EXPECT_THAT(view, testing::ContainsRegex("ok +prepare"));
  EXPECT_THAT(view, testing::ContainsRegex("\\.\\. +fence"));
  EXPECT_THAT(view, testing::ContainsRegex("\n +promote +the point of no return"));
}

}  // namespace
}  // namespace pgrm::agent
