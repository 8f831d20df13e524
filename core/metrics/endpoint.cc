#include "core/metrics/endpoint.h"

#include <prometheus/text_serializer.h>

#include <iterator>
#include <sstream>

namespace pgrm::metrics {

prometheus::MetricFamily family(std::string name, std::string help, prometheus::MetricType type) {
  return {std::move(name), std::move(help), type, {}};
}

void add(prometheus::MetricFamily& family, const Labels& labels, double value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label.reserve(labels.size());
  for (const auto& [name, text] : labels) metric.label.push_back({name, text});
  if (family.type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
}

http::Response response(const std::vector<const prometheus::Collectable*>& sources) {
  std::vector<prometheus::MetricFamily> families;
  for (const prometheus::Collectable* const source : sources) {
    std::vector<prometheus::MetricFamily> more = source->Collect();
    // A HELP and a TYPE line that announce nothing are noise, and promtool complains about them.
    std::erase_if(more, [](const prometheus::MetricFamily& candidate) { return candidate.metric.empty(); });
    families.insert(families.end(), std::move_iterator(more.begin()), std::move_iterator(more.end()));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return {200, text.str(), "text/plain; version=0.0.4; charset=utf-8"};
}

}  // namespace pgrm::metrics
