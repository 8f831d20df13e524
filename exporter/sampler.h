// Observes the pair on a timer of its own. A caller gets the last observation at once.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "core/base/clock.h"
#include "core/pg/node.h"
#include "core/replication/sync_streak.h"
#include "exporter/observation.h"
#include "exporter/pool.h"
#include "exporter/watcher.h"

namespace pgrm::exporter {

/// No request ever waits for a server, no server for the other one, and no request changes when a server is observed.
class Sampler {
 public:
  /// Does not observe yet. `name` stands in the log where there are several pairs. `clock` and `pool`, on whose threads
  /// the servers are asked, must outlive the sampler.
  Sampler(std::unique_ptr<Node> primary, std::unique_ptr<Node> replica, const SyncPolicy& policy, const Clock& clock,
          Pool& pool, std::string name = {});
  /// Ends observing; waits for a round that is under way.
  ~Sampler();

  /// Observes at once and then every SyncPolicy::interval, on a thread of its own, until destruction.
  void start();

  /// Thread-safe, never blocks for long, never nullptr.
  std::shared_ptr<const Observation> latest() const;
  /// Thread-safe. The last observation as of now.
  View view() const { return {latest(), clock_.now()}; }

  /// One round, for start(), for a fleet, and for tests that need no thread: both looks, and then the probe, which a
  /// standby that is behind makes last up to LagThresholds::seconds.
  void round(const std::stop_token& stop = {});

 private:
  void run(const std::stop_token& stop);
  void probe(Sample& sample, const std::stop_token& stop);
  /// A server that does not answer here counts as not seen in this round.
  template <class Answer>
  std::optional<Answer> ask(Sample& sample, Side side, std::function<std::optional<Answer>(Node&)> question,
                            Duration patience);

  const Clock& clock_;
  const std::string name_;
  const LagThresholds thresholds_;
  const Duration interval_;
  const Duration patience_;  // of a round, for one server
  Watcher primary_, replica_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Observation> latest_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace pgrm::exporter
