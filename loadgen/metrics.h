// pgrm_loadgen_*: what a run of loadgen tells Prometheus.
#pragma once

#include <prometheus/collectable.h>

#include <string>
#include <vector>

#include "core/base/table.h"
#include "loadgen/loss_check.h"
#include "loadgen/pacer.h"
#include "loadgen/reads.h"
#include "loadgen/stats.h"

namespace pgrm::loadgen {

/// Built anew for every scrape; a scrape touches no database. Thread-safe. Everything outlives it.
class Metrics final : public prometheus::Collectable {
 public:
  Metrics(const Stats& stats, const WriteGap& write_gap, const Pacer& pacer, const LossCheck& loss_check,
          const ReadStats& reads)
      : stats_(stats), write_gap_(write_gap), pacer_(pacer), loss_check_(loss_check), reads_(reads) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Stats& stats_;
  const WriteGap& write_gap_;
  const Pacer& pacer_;
  const LossCheck& loss_check_;
  const ReadStats& reads_;
};

/// Name, type, labels and meaning of every metric.
Table catalogue();

}  // namespace pgrm::loadgen
