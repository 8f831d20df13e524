#include "core/metrics/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pgrm::metrics {
namespace {

TEST(MetricsText, IsPrometheusFormat) {
  Text text;
  text.family("x_writes_total", "Writes", "counter");
  text.series(label_text({{"table", "a \"b\" \\ c\nd"}}), {}, 3);
  text.series(label_text({{"table", "e"}}), {{"why", "f"}}, 0.1);
  text.family("x_nothing", "Nothing", "gauge");
  text.family("x_lsn_bytes", "LSN", "gauge");
  text.series("", {}, 9007199254740991.0);
  text.series("", {{"why", "g"}}, 1e100);
  text.family("x_odd", "Odd", "gauge");
  text.series("", {}, std::numeric_limits<double>::infinity());
  text.series("", {}, std::nan(""));
  EXPECT_EQ(std::move(text).response().body,
            "# HELP x_writes_total Writes\n"
            "# TYPE x_writes_total counter\n"
            "x_writes_total{table=\"a \\\"b\\\" \\\\ c\\nd\"} 3\n"
            "x_writes_total{table=\"e\",why=\"f\"} 0.1\n"
            "# HELP x_lsn_bytes LSN\n"
            "# TYPE x_lsn_bytes gauge\n"
            "x_lsn_bytes 9007199254740991\n"
            "x_lsn_bytes{why=\"g\"} 1e+100\n"
            "# HELP x_odd Odd\n"
            "# TYPE x_odd gauge\n"
            "x_odd +Inf\n"
            "x_odd NaN\n");
}

}  // namespace
}  // namespace pgrm::metrics
