// The catalogue of the exporter's metrics: one row of one table per metric, in gauges.cc.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "core/base/table.h"
#include "core/http/server.h"
#include "exporter/observation.h"

namespace pgrm::exporter {

/// Every family, made anew from the view: what is not there any more leaves no series behind. A value that is not known
/// has no series.
std::vector<prometheus::MetricFamily> families(const View& view);

/// families() as the answer to GET /metrics.
http::Response metrics_response(const View& view);

/// The same of many pairs, where each series has the pair's name as `cluster`, and the pair's labels.
http::Response metrics_response(const std::vector<NamedView>& pairs);

/// Name, type, labels, versions of PostgreSQL, meaning and source of every metric.
Table catalogue();

}  // namespace pgrm::exporter
