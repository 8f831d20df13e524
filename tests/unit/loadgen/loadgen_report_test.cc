#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "loadgen/report.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// 80 inserts and 20 updates acknowledged in 1 ms each, one insert in doubt, three refusals.
Totals some_totals() {
  Stats stats;
  const Outcome insert{.operation = 0, .result = Result::acknowledged, .latency = 1ms};
  const Outcome update{.operation = 3, .result = Result::acknowledged, .latency = 1ms};
  const Outcome doubt{.operation = 0, .result = Result::in_doubt};
  for (int i = 0; i < 80; ++i) stats.add({&insert, 1});
  for (int i = 0; i < 20; ++i) stats.add({&update, 1});
  stats.add({&doubt, 1});
  for (int i = 0; i < 3; ++i) stats.refused(Kind::insert, "25006");
  return stats.totals();
}

TEST(WithCommas, GroupsByThousands) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(12345678), "12,345,678");
}

TEST(IntervalLine, SaysWhatAPersonWantsToKnow) {
  const WriteGap::Gap gap{21ms, {}, false};
  EXPECT_EQ(interval_line(some_totals(), 10s, 30s, gap, false),
            "    30 s  10.0 ops/s (insert 8.0, update 2.0, delete 0.0)  p50 1.0 ms  p99 1.0 ms  max 1.0 ms  errors 3  "
            "in doubt 1  longest gap 21.0 ms");
}

TEST(IntervalLine, SaysThatNothingWasWritten) {
  const std::string line = interval_line({}, 10s, 10s, WriteGap::Gap{12s, {}, true}, true);
  EXPECT_THAT(line, HasSubstr("0.0 ops/s"));
  EXPECT_THAT(line, HasSubstr("p50 -"));
  EXPECT_THAT(line, HasSubstr("longest gap 12.0 s and counting"));
  EXPECT_THAT(line, HasSubstr("[paused]"));
  EXPECT_THAT(interval_line({}, 10s, 10s, std::nullopt, false), HasSubstr("longest gap -"));
}

TEST(Summary, NamesEveryResult) {
  const std::string text = summary(some_totals(), 10s, WriteGap::Gap{21ms, from_unix(1'800'000'000), false});
  EXPECT_THAT(text, HasSubstr("acknowledged 100, failed 0, in doubt 1; refused or lost attempts 3"));
  EXPECT_THAT(text, HasSubstr("longest write gap 21.0 ms, from 2027-01-15T08:00:00.000Z"));
}

TEST(ReportJson, HasTheSameNumbers) {
  const nlohmann::json json = to_json(some_totals(), 10s);
  EXPECT_EQ(json.at("acknowledged"), 100);
  EXPECT_EQ(json.at("in_doubt"), 1);
  EXPECT_EQ(json.at("ops_per_second"), 10.0);
  EXPECT_EQ(json.at("by_operation").at("insert").at("acknowledged"), 80);
  EXPECT_EQ(json.at("by_operation").at("insert").at("percent"), 80.0);
  EXPECT_EQ(json.at("by_operation").at("delete").at("percent"), 0.0);
  EXPECT_EQ(json.at("refusals_by_sqlstate_class"), (nlohmann::json{{"25", 3}}));
  EXPECT_NEAR(json.at("latency_seconds").at("p50").get<double>(), 0.001, 0.00001);
  EXPECT_TRUE(to_json(std::optional<WriteGap::Gap>()).is_null());
}

}  // namespace
}  // namespace pgrm::loadgen
