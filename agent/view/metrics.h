// pgrm_cutover_*: what a cutover tells Prometheus while it runs; one row of one table per metric, in metrics.cc.
#pragma once

#include <prometheus/metric_family.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/engine/progress.h"
#include "core/base/table.h"
#include "core/http/server.h"

namespace pgrm::agent {

/// Every family, made anew for each scrape. `now`: for what is still going on.
std::vector<prometheus::MetricFamily> cutover_families(const Standing& standing, Mono now);

/// Name, type, labels and meaning of every metric.
Table metrics_catalogue();

/// Serves /metrics and /healthz for its lifetime. A scrape touches no server and holds up no step.
class MetricsServer {
 public:
  /// `progress` and `clock` must outlive it. Throws Error(configuration) when `listen` is no address or is taken, or
  /// for what is wrong in the file `web_config` (empty: plain HTTP).
  MetricsServer(const std::string& listen, const std::string& web_config, const Progress& progress, const Clock& clock);
  ~MetricsServer();

  int port() const;

  /// Waits until the end of the cutover has been scraped, `patience` at most, so that Prometheus learns how it went.
  /// Returns at once when the outcome has been scraped already, or on `stop`.
  void await_last_scrape(Duration patience, std::stop_token stop) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgrm::agent
