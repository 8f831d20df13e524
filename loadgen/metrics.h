// pgrm_loadgen_*: what a run of loadgen tells Prometheus.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

#include "loadgen/pacer.h"
#include "loadgen/stats.h"

namespace pgrm::loadgen {

/// Built anew for every scrape; a scrape touches no database. Thread-safe. Everything outlives it.
class Metrics final : public prometheus::Collectable {
 public:
  Metrics(const Stats& stats, const WriteGap& write_gap, const Pacer& pacer)
      : stats_(stats), write_gap_(write_gap), pacer_(pacer) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Stats& stats_;
  const WriteGap& write_gap_;
  const Pacer& pacer_;
};

}  // namespace pgrm::loadgen
