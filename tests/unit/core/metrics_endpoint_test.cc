#include "core/metrics/endpoint.h"

#include <gtest/gtest.h>

namespace pgrm::metrics {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

class Source final : public prometheus::Collectable {
 public:
  explicit Source(std::vector<MetricFamily> families) : families_(std::move(families)) {}
  std::vector<MetricFamily> Collect() const override { return families_; }

 private:
  std::vector<MetricFamily> families_;
};

TEST(MetricsResponse, IsTheTextFormatWithItsVersion) {
  MetricFamily writes = family("x_writes_total", "Writes", MetricType::Counter);
  add(writes, {{"table", "a \"b\" \\ c\nd"}}, 3);
  MetricFamily lsn = family("x_lsn_bytes", "LSN", MetricType::Gauge);
  add(lsn, {}, 9007199254740991.0);
  const Source first({writes});
  const Source second({lsn});

  const http::Response answer = response({&first, &second});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer.body,
            "# HELP x_writes_total Writes\n"
            "# TYPE x_writes_total counter\n"
            "x_writes_total{table=\"a \\\"b\\\" \\\\ c\\nd\"} 3\n"
            "# HELP x_lsn_bytes LSN\n"
            "# TYPE x_lsn_bytes gauge\n"
            "x_lsn_bytes 9007199254740991\n");
}

TEST(MetricsResponse, LeavesOutFamiliesWithoutSeries) {
  const Source source({family("x_nothing", "Nothing", MetricType::Gauge)});
  EXPECT_EQ(response({&source}).body, "");
}

}  // namespace
}  // namespace pgrm::metrics
