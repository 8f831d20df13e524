// From prometheus-cpp's families to an HTTP answer in Prometheus' text format 0.0.4.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "core/http/server.h"
#include "core/metrics/text.h"

namespace pgrm::metrics {

/// An empty family; fill it with add().
prometheus::MetricFamily family(std::string name, std::string help, prometheus::MetricType type);
/// Appends one series to a gauge or counter family.
void add(prometheus::MetricFamily& family, const Labels& labels, double value);

/// The text of all families of all sources, gathered at this moment. Families without a series are left out.
http::Response response(const std::vector<const prometheus::Collectable*>& sources);

}  // namespace pgrm::metrics
