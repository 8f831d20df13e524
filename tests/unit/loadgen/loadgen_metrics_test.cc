#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "core/metrics/endpoint.h"
#include "loadgen/metrics.h"
#include "tests/fakes/fake_clock.h"

namespace pgrm::loadgen {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class LoadgenMetrics : public testing::Test {
 protected:
  std::string scrape() const { return metrics::response({&metrics_}).body; }

  FakeClock clock_;
  Stats stats_;
  WriteGap gap_{clock_};
  Pacer pacer_{clock_, 100};
  LossCheck loss_check_{{Conninfo::parse("host=127.0.0.1"), Conninfo::parse("host=127.0.0.2")}, 7};
  ReadStats reads_;
  Metrics metrics_{stats_, gap_, pacer_, loss_check_, reads_};
};

TEST_F(LoadgenMetrics, AreThereBeforeAnythingHappened) {
  const std::string text = scrape();
  for (const char* const line : {
           "pgrm_loadgen_operations_total{operation=\"insert\",table=\"users\"} 0\n",
           "pgrm_loadgen_operations_total{operation=\"update\",table=\"orders\"} 0\n",
           "pgrm_loadgen_operations_total{operation=\"delete\",table=\"audit_log\"} 0\n",
           "pgrm_loadgen_operation_errors_total{operation=\"update\",sqlstate_class=\"25\"} 0\n",
           "pgrm_loadgen_operation_duration_seconds_bucket{operation=\"insert\",le=\"+Inf\"} 0\n",
           "pgrm_loadgen_read_duration_seconds_bucket{read=\"join\",le=\"+Inf\"} 0\n",
           "pgrm_loadgen_read_errors_total 0\n",
           "pgrm_loadgen_inflight_operations 0\n",
           "pgrm_loadgen_target_ops_per_second 100\n",
           "pgrm_loadgen_acknowledged_writes_total 0\n",
           "pgrm_loadgen_failed_writes_total 0\n",
           "pgrm_loadgen_in_doubt_writes_total 0\n",
           "pgrm_loadgen_connections_opened_total 0\n",
           "pgrm_loadgen_paused 1\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("pgrm_loadgen_lost_writes"))) << "nobody has looked yet: unknown is not 0";
  EXPECT_THAT(text, Not(HasSubstr("pgrm_loadgen_longest_write_gap_seconds 0"))) << "nothing was committed yet";
}

TEST_F(LoadgenMetrics, FollowTheStats) {
  pacer_.resume();
  pacer_.next();
  const Outcome done{.operation = 0, .result = Result::acknowledged, .latency = 3ms};  // insert_user
  stats_.add({&done, 1});
  stats_.refused(Kind::insert, "25006");
  gap_.commit();
  clock_.advance(1500ms);
  const std::string text = scrape();
  for (const char* const line : {
           "pgrm_loadgen_operations_total{operation=\"insert\",table=\"users\"} 1\n",
           "pgrm_loadgen_operation_errors_total{operation=\"insert\",sqlstate_class=\"25\"} 1\n",
           "pgrm_loadgen_operation_duration_seconds_bucket{operation=\"insert\",le=\"0.0025\"} 0\n",
           "pgrm_loadgen_operation_duration_seconds_bucket{operation=\"insert\",le=\"0.005\"} 1\n",
           "pgrm_loadgen_operation_duration_seconds_bucket{operation=\"insert\",le=\"+Inf\"} 1\n",
           "pgrm_loadgen_operation_duration_seconds_count{operation=\"insert\"} 1\n",
           "pgrm_loadgen_operation_duration_seconds_sum{operation=\"insert\"} 0.003",
           "pgrm_loadgen_inflight_operations 1\n",
           "pgrm_loadgen_acknowledged_writes_total 1\n",
           "pgrm_loadgen_longest_write_gap_seconds 1.5",
           "pgrm_loadgen_paused 0\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(LoadgenCatalogue, StandsInTheDocsWordForWord) {
  std::ifstream file(PGRM_TOP "/docs/metrics.md");
  const std::string docs{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(docs, HasSubstr("\n\n" + to_markdown(catalogue()) + "\n"))
      << "put the output of `loadgen explain --markdown` into docs/metrics.md";
}

}  // namespace
}  // namespace pgrm::loadgen
